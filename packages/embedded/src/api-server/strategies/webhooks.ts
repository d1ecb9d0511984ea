/** Configurations of admission webhooks (admissionregistration.k8s.io/v1): defaults, and what is wrong with one. */
import { messageOf } from "@drayage/base";
import { type ApiObject, type JsonObject, numberAt, objectAt, objectsAt, setDefault, textAt, textsAt } from "../json.ts";
import { compileExpression } from "../schema/cel-rules.ts";
import { duplicate, type FieldError, invalid, notSupported, required } from "../status-error.ts";
import type { Strategy } from "./strategy.ts";

export const webhookConfigurations: Strategy = {
  generation: true,
  defaults(object) {
    for (const webhook of objectsAt(object, "webhooks")) defaultWebhook(webhook, object.kind === "MutatingWebhookConfiguration");
  },
  validate: validateWebhooks,
  validateUpdate: validateWebhooks,
};

function defaultWebhook(webhook: JsonObject, mutating: boolean): void {
  const defaults = {
    failurePolicy: "Fail",
    matchPolicy: "Equivalent",
    namespaceSelector: {},
    objectSelector: {},
    timeoutSeconds: 10,
    ...(mutating ? { reinvocationPolicy: "Never" } : {}),
  };
  for (const [field, value] of Object.entries(defaults)) setDefault(webhook, field, value);
  for (const rule of objectsAt(webhook, "rules")) setDefault(rule, "scope", "*");
  const service = objectAt(webhook, "clientConfig", "service");
  if (service !== undefined) setDefault(service, "port", 443);
}

function validateWebhooks(configuration: ApiObject): FieldError[] {
  const names = new Set<string>();
  return objectsAt(configuration, "webhooks").flatMap((webhook, index) => {
    const path = `webhooks[${index}]`;
    const name = textAt(webhook, "name");
    const errors: FieldError[] = [];
    if (name === "") errors.push(required(`${path}.name`));
    else if (name.split(".").length < 3) errors.push(invalid(`${path}.name`, name, "should be a domain with at least three segments separated by dots"));
    else if (names.has(name)) errors.push(duplicate(`${path}.name`, name));
    names.add(name);
    return [...errors, ...validateWebhook(webhook, path)];
  });
}

const SIDE_EFFECTS = ["None", "NoneOnDryRun"] as const;

function validateWebhook(webhook: JsonObject, path: string): FieldError[] {
  const errors: FieldError[] = [];
  const sideEffects = webhook["sideEffects"];
  if (sideEffects === undefined || sideEffects === null) errors.push(required(`${path}.sideEffects`, `must specify one of ${SIDE_EFFECTS.join(", ")}`));
  else if (!(SIDE_EFFECTS as readonly unknown[]).includes(sideEffects)) errors.push(notSupported(`${path}.sideEffects`, sideEffects, SIDE_EFFECTS));
  if (textsAt(webhook, "admissionReviewVersions").length === 0) errors.push(required(`${path}.admissionReviewVersions`, "must specify one of v1, v1beta1"));
  const timeoutSeconds = numberAt(webhook, "timeoutSeconds") ?? 1;
  if (timeoutSeconds < 1 || timeoutSeconds > 30)
    errors.push(invalid(`${path}.timeoutSeconds`, timeoutSeconds, "the timeout value must be between 1 and 30 seconds"));
  const policy = textAt(webhook, "failurePolicy");
  if (policy !== "Fail" && policy !== "Ignore") errors.push(notSupported(`${path}.failurePolicy`, policy, ["Fail", "Ignore"]));
  errors.push(...validateClient(objectAt(webhook, "clientConfig") ?? {}, `${path}.clientConfig`));
  for (const [index, rule] of objectsAt(webhook, "rules").entries())
    for (const field of ["operations", "apiGroups", "apiVersions", "resources"])
      if (textsAt(rule, field).length === 0) errors.push(required(`${path}.rules[${index}].${field}`));
  for (const [index, condition] of objectsAt(webhook, "matchConditions").entries()) {
    const at = `${path}.matchConditions[${index}]`;
    const expression = textAt(condition, "expression");
    if (expression.trim() === "") errors.push(required(`${at}.expression`));
    else errors.push(...expressionErrors(expression, `${at}.expression`));
    if (textAt(condition, "name") === "") errors.push(required(`${at}.name`));
  }
  return errors;
}

function expressionErrors(expression: string, path: string): FieldError[] {
  try {
    compileExpression(expression);
    return [];
  } catch (error) {
    return [invalid(path, expression, `compilation failed: ${messageOf(error)}`)];
  }
}

function validateClient(config: JsonObject, path: string): FieldError[] {
  const url = config["url"];
  const service = objectAt(config, "service");
  if ((url === undefined) === (service === undefined)) return [required(path, "exactly one of url or service is required")];
  if (service !== undefined) {
    const errors = ["name", "namespace"].flatMap((field) =>
      textAt(service, field) === "" ? [required(`${path}.service.${field}`, `service ${field} is required`)] : [],
    );
    const servicePath = textAt(service, "path");
    if (servicePath === "" || servicePath === "/") return errors;
    if (!servicePath.startsWith("/")) errors.push(invalid(`${path}.service.path`, servicePath, "must start with a '/'"));
    for (const [index, segment] of servicePath.slice(1).split("/").entries())
      if (segment === "") errors.push(invalid(`${path}.service.path`, servicePath, `segment[${index}] may not be empty`));
    return errors;
  }
  const parsed = typeof url === "string" && URL.canParse(url) ? new URL(url) : undefined;
  const format = "desired format: https://host[/path]";
  if (parsed === undefined) return [required(`${path}.url`, `url must be a valid URL; ${format}`)];
  if (parsed.protocol !== "https:") return [invalid(`${path}.url`, parsed.protocol.slice(0, -1), `'https' is the only allowed URL scheme; ${format}`)];
  return [];
}
