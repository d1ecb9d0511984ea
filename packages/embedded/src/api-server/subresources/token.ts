/** TokenRequest: a token for a service account, bound to a pod where that is asked for. */
import { formatTime } from "@drayage/base";
import { ensureObject, type JsonObject, numberAt, objectAt, setDefault, textAt, textsAt } from "../json.ts";
import { trackManagers } from "../managed-fields.ts";
import { readObject } from "../object-reader.ts";
import type { WriteOptions } from "../operations.ts";
import type { ResourceRequest } from "../request-info.ts";
import type { ServedResource } from "../served-resource.ts";
import { conflict, invalid, invalidObject, notFound } from "../status-error.ts";
import type { World } from "../strategies/strategy.ts";
import { ISSUER, type TokenIssuer } from "../tokens.ts";

const SECONDS_MIN = 600;
const SECONDS_DEFAULT = 3600;
const BOUND_RESOURCES: Readonly<Record<string, string>> = { Pod: "pods", Secret: "secrets", Node: "nodes" };

interface Context {
  readonly world: World;
  readonly tokens: TokenIssuer;
}

/** What is sent as a token request, for telling who owns its fields; nothing serves it but this subresource. */
const TOKEN_REQUEST: ServedResource = {
  group: "authentication.k8s.io",
  version: "v1",
  plural: "tokenrequests",
  singular: "tokenrequest",
  kind: "TokenRequest",
  listKind: "TokenRequestList",
  namespaced: true,
  verbs: ["create"],
  shortNames: [],
  categories: [],
  subresources: [],
  storedAs: "authentication.k8s.io/tokenrequests",
  strategy: { statusFields: ["status"] },
  schemaName: "io.k8s.api.authentication.v1.TokenRequest",
  custom: undefined,
};

export function requestToken(it: Context, info: ResourceRequest, given: JsonObject, options: WriteOptions): JsonObject {
  const body = readObject(TOKEN_REQUEST, given, options);
  const now = formatTime(it.world.clock.nowMs());
  const spec = ensureObject(body, "spec");
  setDefault(spec, "expirationSeconds", SECONDS_DEFAULT);
  trackManagers(TOKEN_REQUEST, undefined, body, { manager: options.manager, apiVersion: "authentication.k8s.io/v1", time: now, subresource: "token" });

  const name = info.name ?? "";
  const namespace = info.namespace ?? "";
  const account = it.world.storage.get("serviceaccounts", `${namespace}/${name}`);
  if (account === undefined) throw notFound({ group: "", name: "serviceaccounts" }, name);
  const seconds = numberAt(spec, "expirationSeconds") ?? SECONDS_DEFAULT;
  if (seconds < SECONDS_MIN)
    throw invalidObject({ group: "authentication.k8s.io", name: "TokenRequest" }, "", [
      invalid("spec.expirationSeconds", seconds, "may not specify a duration less than 10 minutes"),
    ]);
  const audiences = textsAt(body, "spec", "audiences");
  const bound = boundObject(it.world, namespace, objectAt(body, "spec", "boundObjectRef"));
  const issued = it.tokens.issueForAccount({ namespace, name, uid: account.metadata.uid ?? "" }, audiences, seconds, bound);
  return {
    kind: "TokenRequest",
    apiVersion: "authentication.k8s.io/v1",
    metadata: {
      name,
      namespace,
      uid: account.metadata.uid ?? "",
      creationTimestamp: now,
      ...(body.metadata.managedFields === undefined ? {} : { managedFields: body.metadata.managedFields }),
    },
    spec: {
      audiences: audiences.length === 0 ? [ISSUER] : audiences,
      expirationSeconds: seconds,
      boundObjectRef: objectAt(body, "spec", "boundObjectRef") ?? null,
    },
    status: { token: issued.token, expirationTimestamp: formatTime(issued.expiresAtMs) },
  };
}

function boundObject(world: World, namespace: string, reference: JsonObject | undefined): { kind: string; name: string; uid: string } | undefined {
  if (reference === undefined) return undefined;
  const kind = textAt(reference, "kind");
  const name = textAt(reference, "name");
  const resource = BOUND_RESOURCES[kind];
  if (resource === undefined)
    throw invalidObject({ group: "authentication.k8s.io", name: "TokenRequest" }, "", [
      invalid("spec.boundObjectRef", reference, `cannot bind token for serviceaccount to type ${kind}`),
    ]);
  const found = world.storage.get(resource, kind === "Node" ? name : `${namespace}/${name}`);
  if (found === undefined) throw notFound({ group: "", name: resource }, name);
  const uid = textAt(reference, "uid");
  if (uid !== "" && uid !== found.metadata.uid)
    throw conflict(
      { group: "", name: resource },
      name,
      `the UID in the bound object reference (${uid}) does not match the UID in record. The object might have been deleted and then recreated`,
    );
  return { kind, name, uid: found.metadata.uid ?? "" };
}
