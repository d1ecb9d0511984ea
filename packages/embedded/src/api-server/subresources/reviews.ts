/** Questions about access: who am I, may I, may they, whose token is this. */
import { formatTime } from "@drayage/base";
import type { Access, Authorizer } from "../authorization.ts";
import { type JsonObject, objectAt, textAt, textsAt } from "../json.ts";
import { trackManagers } from "../managed-fields.ts";
import { readObject } from "../object-reader.ts";
import type { WriteOptions } from "../operations.ts";
import type { ResourceRequest } from "../request-info.ts";
import { apiVersionOf, type ServedResource } from "../served-resource.ts";
import { badRequest } from "../status-error.ts";
import type { World } from "../strategies/strategy.ts";
import { ISSUER, type TokenIssuer, type User } from "../tokens.ts";

interface Context {
  readonly world: World;
  readonly authorizer: Authorizer;
  readonly tokens: TokenIssuer;
}

export function review(it: Context, resource: ServedResource, info: ResourceRequest, body: JsonObject, user: User, options: WriteOptions): JsonObject {
  const object = readObject(resource, body, options);
  const spec = objectAt(object, "spec") ?? {};
  const edit = { manager: options.manager, apiVersion: apiVersionOf(resource), time: formatTime(it.world.clock.nowMs()), subresource: undefined };
  if (resource.group === "authorization.k8s.io") trackManagers(resource, undefined, object, edit);
  const named = { kind: resource.kind, apiVersion: apiVersionOf(resource) };
  const answer = (status: JsonObject): JsonObject => ({
    ...named,
    metadata: object.metadata.managedFields === undefined ? {} : { managedFields: object.metadata.managedFields },
    spec,
    status,
  });
  switch (resource.kind) {
    case "SelfSubjectReview":
      return { ...named, metadata: { creationTimestamp: edit.time }, status: { userInfo: userInfo(user) } };
    case "TokenReview":
      return answer(tokenStatus(it.tokens, spec));
    case "SelfSubjectAccessReview":
      return answer(accessStatus(it.authorizer, user, spec));
    case "SubjectAccessReview":
      return answer(accessStatus(it.authorizer, subjectOf(spec), spec));
    case "LocalSubjectAccessReview":
      if (textAt(spec, "resourceAttributes", "namespace") !== info.namespace)
        throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${info.namespace}`);
      return answer(accessStatus(it.authorizer, subjectOf(spec), spec));
    case "SelfSubjectRulesReview":
      // The only one that does not say again what was asked.
      return { ...named, metadata: {}, spec: {}, status: rulesStatus(it.authorizer, user, textAt(spec, "namespace")) };
    default:
      throw badRequest(`${resource.kind} cannot be reviewed`);
  }
}

function userInfo(user: User): JsonObject {
  return {
    username: user.name,
    ...(user.uid === undefined ? {} : { uid: user.uid }),
    groups: [...user.groups],
    ...(user.extra === undefined ? {} : { extra: Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]])) }),
  };
}

function tokenStatus(tokens: TokenIssuer, spec: JsonObject): JsonObject {
  const audiences = textsAt(spec, "audiences");
  const found = tokens.verify(textAt(spec, "token"), audiences.length === 0 ? [ISSUER] : audiences);
  if (found === undefined) return { user: {}, error: "[invalid bearer token, the token is not one of this cluster, or has expired]" };
  return { authenticated: true, user: userInfo(found.user), audiences: [...found.audiences] };
}

function subjectOf(spec: JsonObject): User {
  return { name: textAt(spec, "user"), groups: textsAt(spec, "groups") };
}

function accessStatus(authorizer: Authorizer, user: User, spec: JsonObject): JsonObject {
  const resource = objectAt(spec, "resourceAttributes");
  const path = objectAt(spec, "nonResourceAttributes");
  if ((resource === undefined) === (path === undefined)) throw badRequest("exactly one of nonResourceAttributes or resourceAttributes must be specified");
  const access: Access =
    resource === undefined
      ? { verb: textAt(path, "verb"), path: textAt(path, "path") }
      : {
          verb: textAt(resource, "verb"),
          group: textAt(resource, "group"),
          resource: textAt(resource, "resource"),
          subresource: textAt(resource, "subresource"),
          namespace: textAt(resource, "namespace"),
          name: textAt(resource, "name"),
        };
  const decision = authorizer.decide(user, access);
  return { allowed: decision.allowed, ...(decision.reason === "" ? {} : { reason: decision.reason }) };
}

function rulesStatus(authorizer: Authorizer, user: User, namespace: string): JsonObject {
  const everything = { verbs: ["*"], apiGroups: ["*"], resources: ["*"] };
  const rules = authorizer.unlimited(user)
    ? [everything, { verbs: ["*"], nonResourceURLs: ["*"] }]
    : [...authorizer.grants(user, namespace)].map((grant) => grant.rule);
  const isPath = (rule: JsonObject): boolean => textsAt(rule, "nonResourceURLs").length > 0;
  return {
    resourceRules: rules.filter((rule) => !isPath(rule)).map((rule) => ({ ...rule })),
    nonResourceRules: rules.filter(isPath).map((rule) => ({ verbs: textsAt(rule, "verbs"), nonResourceURLs: textsAt(rule, "nonResourceURLs") })),
    incomplete: false,
  };
}
