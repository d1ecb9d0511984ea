/**
 * ValidatingWebhookConfigurations: which webhooks want to see a write, and what they say of it (admissionregistration.k8s.io/v1).
 *
 *   rules ► namespaceSelector ► objectSelector ► matchConditions ► the call ► allowed, with warnings
 *                                                                     ├────► denied: the answer's status, and nothing is stored
 *                                                                     └────► no answer: failurePolicy says whether that matters
 *
 * Webhooks are asked one after the other, in the order of their configurations' names, until one refuses; a real server asks all at once. Objects are shown in the version of the request,
 * whatever `matchPolicy` says. Configurations themselves are never shown, so that a broken one can be taken away.
 */
import { type Logger, messageOf, type RandomSource, randomUuid } from "@drayage/base";
import { type ApiObject, type Json, type JsonObject, numberAt, objectAt, objectsAt, textAt, textsAt } from "../json.ts";
import { compileExpression } from "../schema/cel-rules.ts";
import { matchesLabelSelector } from "../selectors.ts";
import { apiVersionOf, type ServedResource } from "../served-resource.ts";
import { badRequest, forbidden, internalError, StatusError } from "../status-error.ts";
import type { Storage } from "../storage.ts";
import type { User } from "../tokens.ts";
import { callWebhook } from "./call-webhook.ts";

export type Operation = "CREATE" | "UPDATE" | "DELETE";

export interface AdmissionAttributes {
  readonly resource: ServedResource;
  readonly subresource: string | undefined;
  readonly operation: Operation;
  readonly object: ApiObject | undefined;
  readonly old: ApiObject | undefined;
  readonly user: User;
  readonly dryRun: boolean;
}

export interface WebhookAdmissionOptions {
  readonly storage: Storage;
  readonly random: RandomSource;
  readonly logger: Logger;
}

type Condition = (values: Readonly<Record<string, Json | undefined>>) => unknown;

const CONFIGURATIONS = "admissionregistration.k8s.io/validatingwebhookconfigurations";
const NEVER_SHOWN: ReadonlySet<string> = new Set([CONFIGURATIONS, "admissionregistration.k8s.io/mutatingwebhookconfigurations"]);
/** Compiled conditions that are kept. */
const CONDITIONS_MAX = 200;

export class WebhookAdmission {
  readonly #it: WebhookAdmissionOptions;
  readonly #conditions = new Map<string, Condition>();

  constructor(options: WebhookAdmissionOptions) {
    this.#it = options;
  }

  /** Whether a webhook may want to see such a write. */
  wants(resource: ServedResource, subresource: string | undefined, operation: Operation): boolean {
    return this.#webhooks().some((webhook) => hasRule(webhook, resource, subresource, operation));
  }

  /** What the webhooks warn of. Throws a StatusError where one refuses, or cannot be asked and must be. */
  async judge(attributes: AdmissionAttributes): Promise<string[]> {
    const warnings: string[] = [];
    for (const webhook of this.#webhooks()) {
      if (!hasRule(webhook, attributes.resource, attributes.subresource, attributes.operation)) continue;
      if (!this.#selects(webhook, attributes)) continue;
      const request = reviewRequest(attributes, randomUuid(this.#it.random));
      if (!this.#meetsConditions(webhook, attributes, request)) continue;
      const sideEffects = textAt(webhook, "sideEffects");
      const name = textAt(webhook, "name");
      if (attributes.dryRun && sideEffects !== "None" && sideEffects !== "NoneOnDryRun")
        throw badRequest(`admission webhook "${name}" does not support dry run`);
      const response = await this.#call(webhook, request);
      if (response === undefined) continue;
      warnings.push(...textsAt(response, "warnings"));
      if (response["allowed"] !== true) throw denial(name, objectAt(response, "status") ?? {});
    }
    return warnings;
  }

  #webhooks(): JsonObject[] {
    return this.#it.storage.list(CONFIGURATIONS).flatMap((configuration) => objectsAt(configuration, "webhooks"));
  }

  #selects(webhook: JsonObject, { resource, object, old }: AdmissionAttributes): boolean {
    const shown = [object, old].filter((it) => it !== undefined);
    const objectSelector = objectAt(webhook, "objectSelector") ?? {};
    if (!shown.some((it) => matchesLabelSelector(objectSelector, it.metadata.labels ?? {}))) return false;
    const isNamespace = resource.storedAs === "namespaces";
    if (!resource.namespaced && !isNamespace) return true;
    const [first] = shown;
    const namespace = isNamespace ? first : this.#it.storage.get("namespaces", first?.metadata.namespace ?? "");
    return matchesLabelSelector(objectAt(webhook, "namespaceSelector") ?? {}, namespace?.metadata.labels ?? {});
  }

  /** All must hold. One that is false decides before one that fails. */
  #meetsConditions(webhook: JsonObject, { resource, object, old }: AdmissionAttributes, request: JsonObject): boolean {
    let failure: string | undefined;
    for (const condition of objectsAt(webhook, "matchConditions")) {
      try {
        if (this.#condition(textAt(condition, "expression"))({ object, oldObject: old, request }) !== true) return false;
      } catch (error) {
        failure ??= messageOf(error);
      }
    }
    if (failure === undefined) return true;
    if (textAt(webhook, "failurePolicy") === "Ignore") return false;
    throw forbidden({ group: resource.group, name: resource.plural }, (object ?? old)?.metadata.name ?? "", failure);
  }

  #condition(expression: string): Condition {
    const known = this.#conditions.get(expression);
    if (known !== undefined) return known;
    const compiled = compileExpression(expression);
    if (this.#conditions.size >= CONDITIONS_MAX) this.#conditions.clear();
    this.#conditions.set(expression, compiled);
    return compiled;
  }

  /** The answer; undefined where there is none and that does not matter. */
  async #call(webhook: JsonObject, request: JsonObject): Promise<JsonObject | undefined> {
    const name = textAt(webhook, "name");
    try {
      return await callWebhook(webhook, request, this.#it.storage);
    } catch (error) {
      const why = `failed calling webhook "${name}": ${messageOf(error)}`;
      if (textAt(webhook, "failurePolicy") !== "Ignore") throw internalError(why);
      this.#it.logger.warn("A webhook was not asked", { why });
      return undefined;
    }
  }
}

function hasRule(webhook: JsonObject, resource: ServedResource, subresource: string | undefined, operation: Operation): boolean {
  if (NEVER_SHOWN.has(resource.storedAs)) return false;
  const allows = (list: readonly string[], value: string): boolean => list.includes("*") || list.includes(value);
  const scope = resource.namespaced ? "Namespaced" : "Cluster";
  return objectsAt(webhook, "rules").some(
    (rule) =>
      allows(textsAt(rule, "operations"), operation) &&
      allows(textsAt(rule, "apiGroups"), resource.group) &&
      allows(textsAt(rule, "apiVersions"), resource.version) &&
      ["*", scope].includes(textAt(rule, "scope") || "*") &&
      textsAt(rule, "resources").some((pattern) => fitsResource(pattern, resource.plural, subresource)),
  );
}

/** `pods`, `*`, `pods/status`, `pods/*`, `*` + `/scale`, `*` + `/*`. */
function fitsResource(pattern: string, plural: string, subresource: string | undefined): boolean {
  const [name = "", sub] = pattern.split("/");
  return (name === "*" || name === plural) && (sub === "*" || sub === subresource);
}

/** An AdmissionReview's request (admission.k8s.io/v1). */
function reviewRequest({ resource, subresource, operation, object, old, user, dryRun }: AdmissionAttributes, uid: string): JsonObject {
  const { group, version, plural } = resource;
  const kind = { group, version, kind: resource.kind };
  const served = { group, version, resource: plural };
  const sub = subresource === undefined ? {} : { subResource: subresource, requestSubResource: subresource };
  const { name = "", namespace } = (object ?? old)?.metadata ?? {};
  const options = { CREATE: "CreateOptions", UPDATE: "UpdateOptions", DELETE: "DeleteOptions" }[operation];
  return {
    uid,
    kind,
    resource: served,
    requestKind: kind,
    requestResource: served,
    ...sub,
    name,
    ...(namespace === undefined ? {} : { namespace }),
    operation,
    userInfo: {
      username: user.name,
      ...(user.uid === undefined ? {} : { uid: user.uid }),
      groups: [...user.groups],
      ...(user.extra === undefined ? {} : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }),
    },
    object: object === undefined ? null : { ...object, apiVersion: apiVersionOf(resource), kind: resource.kind },
    oldObject: old === undefined ? null : { ...old, apiVersion: apiVersionOf(resource), kind: resource.kind },
    dryRun,
    options: { kind: options, apiVersion: "meta.k8s.io/v1" },
  };
}

/** A refusal is the webhook's own status, made a failure where it is none. */
function denial(name: string, status: JsonObject): StatusError {
  const by = `admission webhook "${name}" denied the request`;
  const [message, reason] = [textAt(status, "message"), textAt(status, "reason")];
  const code = numberAt(status, "code") ?? 0;
  const text = message !== "" ? `${by}: ${message}` : reason !== "" ? `${by}: ${reason}` : `${by} without explanation`;
  return new StatusError(Math.max(code, 400), reason, text, objectAt(status, "details"));
}
