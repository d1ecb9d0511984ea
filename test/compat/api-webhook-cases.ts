/** Admission by webhooks, which a real API server and ours must do alike: the webhook is the same for both, and answers by what is in the object. */
import type { WebhookServer } from "../../packages/embedded/src/api-server/testing/webhook-server.ts";
import type { ConformanceCase } from "./api-conformance-cases.ts";
import type { Answer, Exchange, Json, JsonObject } from "./api-exchange.ts";

const NS = "webhooks";
const CM = `/api/v1/namespaces/${NS}/configmaps`;
const HOOKS = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";
const MERGE = { "content-type": "application/merge-patch+json" };

/** What the webhook says of a ConfigMap: its `verdict` decides. Also notes what it was shown, for the objects that ask for it. */
export function verdictOf(request: JsonObject): JsonObject | number {
  const data = ((request["object"] ?? request["oldObject"]) as JsonObject | null)?.["data"] as Record<string, string> | undefined;
  switch (data?.["verdict"]) {
    case "refuse":
      return { allowed: false, status: { code: 422, reason: "Invalid", message: "data.verdict: is refuse", details: { causes: [{ field: "data.verdict" }] } } };
    case "refuse-silently":
      return { allowed: false };
    case "refuse-as-success":
      return { allowed: false, status: { status: "Success", code: 200, reason: "Sorry" } };
    case "warn":
      return { allowed: true, warnings: ["data.verdict: is warn"] };
    case "break":
      return 500;
    case "show":
      // Everything that is shown and not new in every run, in the refusal's message.
      return { allowed: false, status: { code: 403, message: JSON.stringify(shown(request)) } };
    default:
      return { allowed: true };
  }
}

function shown({
  kind,
  resource,
  subResource,
  requestKind,
  requestResource,
  name,
  namespace,
  operation,
  userInfo,
  dryRun,
  object,
  oldObject,
}: JsonObject): Json {
  // Of a map, whose order nobody promises.
  const dataOf = (it: Json | undefined): Json => Object.entries(((it as JsonObject | null)?.["data"] as JsonObject | undefined) ?? {}).sort() as Json;
  const { username, groups } = userInfo as JsonObject;
  return JSON.parse(
    JSON.stringify({
      ...{ kind, resource, subResource, requestKind, requestResource, name, namespace, operation, dryRun },
      ...{ user: { username, groups: [...((groups as string[] | undefined) ?? [])].sort() }, object: dataOf(object), oldObject: dataOf(oldObject) },
    }),
  ) as Json;
}

const map = (name: string, data: JsonObject, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...metadata },
  data,
});
const post = (path: string, body: Json): Exchange => ({ method: "POST", path, body });
const patch = (path: string, body: Json): Exchange => ({ method: "PATCH", path, body, headers: MERGE });
const configuration = (name: string, ...webhooks: JsonObject[]): JsonObject => ({
  apiVersion: "admissionregistration.k8s.io/v1",
  kind: "ValidatingWebhookConfiguration",
  metadata: { name },
  webhooks,
});

/** A configuration takes effect by and by: asked without storing anything until it does, or does no more. */
const tried = (verdict: string, until: (answer: Answer) => boolean): Exchange => ({ ...post(`${CM}?dryRun=All`, map("tried", { verdict })), until });

type Webhook = (more?: JsonObject) => JsonObject;

export function webhookCases(hook: WebhookServer): readonly ConformanceCase[] {
  const webhook = (more: JsonObject = {}): JsonObject => ({
    name: "maps.conformance.example.com",
    clientConfig: { url: `${hook.url}/admit`, caBundle: hook.caBundle },
    rules: [{ operations: ["CREATE", "UPDATE", "DELETE"], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }],
    admissionReviewVersions: ["v1"],
    sideEffects: "None",
    namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": NS } },
    ...more,
  });
  return [wrongConfigurations(webhook), ...answers(webhook)];
}

function wrongConfigurations(webhook: Webhook): ConformanceCase {
  const without = (field: string): JsonObject => Object.fromEntries(Object.entries(webhook()).filter(([name]) => name !== field));
  return {
    name: "configurations of webhooks that are wrong",
    requests: [
      post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: NS } }),
      ...[
        webhook({ name: "short" }),
        webhook({ name: "" }),
        without("sideEffects"),
        webhook({ sideEffects: "Some" }),
        without("admissionReviewVersions"),
        webhook({ timeoutSeconds: 31 }),
        webhook({ failurePolicy: "Perhaps" }),
        webhook({ clientConfig: {} }),
        webhook({ clientConfig: { url: "https://127.0.0.1/", service: { namespace: "a", name: "b" } } }),
        webhook({ clientConfig: { url: "http://127.0.0.1/" } }),
        webhook({ clientConfig: { service: { namespace: "a", name: "b", path: "c" } } }),
        webhook({ rules: [{ operations: [], apiGroups: [""], apiVersions: ["v1"], resources: ["configmaps"] }] }),
        webhook({ matchConditions: [{ name: "empty", expression: "" }] }),
      ].map((wrong) => post(HOOKS, configuration("wrong", wrong))),
      post(HOOKS, configuration("wrong", webhook(), webhook())),
    ],
  };
}

function answers(webhook: Webhook): readonly ConformanceCase[] {
  return [
    {
      name: "a webhook refuses, warns, and is shown what is asked",
      requests: [
        post(HOOKS, configuration("conformance", webhook())),
        tried("refuse", (answer) => answer.code === 422),
        ...["refuse", "refuse-silently", "refuse-as-success", "warn", "show"].map((verdict) => post(CM, map(verdict, { verdict }))),
        post(CM, map("kept", { a: "1" })),
        patch(`${CM}/kept`, { data: { verdict: "show" } }),
        { method: "PUT", path: `${CM}/kept`, body: map("kept", { verdict: "refuse" }) },
        { method: "PATCH", path: `${CM}/kept?dryRun=All`, body: { data: { verdict: "show", b: "2" } }, headers: MERGE },
        { method: "GET", path: `${CM}/kept` },
        { method: "DELETE", path: `${CM}/warn` },
        post("/api/v1/namespaces/default/configmaps?dryRun=All", map("elsewhere", { verdict: "refuse" })),
      ],
    },
    {
      name: "a webhook that cannot be asked",
      requests: [
        post(CM, map("broken", { verdict: "break" })),
        patch(`${HOOKS}/conformance`, { webhooks: [webhook({ failurePolicy: "Ignore" })] }),
        tried("break", (answer) => answer.code === 201),
        post(CM, map("broken", { verdict: "break" })),
        patch(`${HOOKS}/conformance`, { webhooks: [webhook({ clientConfig: { service: { namespace: NS, name: "absent" } } })] }),
        tried("allow", (answer) => answer.code === 500),
      ],
    },
    {
      name: "conditions and selectors choose what a webhook sees",
      requests: [
        patch(`${HOOKS}/conformance`, {
          webhooks: [
            webhook({
              objectSelector: { matchExpressions: [{ key: "skip", operator: "DoesNotExist" }] },
              matchConditions: [
                { name: "holds-text", expression: "has(object.data) && object.data.exists(key, object.data[key].contains('volumePolicies'))" },
                { name: "is-new", expression: "request.operation == 'CREATE' || object.data != oldObject.data" },
                { name: "is-of-others", expression: "request.userInfo.username != 'system:serviceaccount:a:b'" },
                { name: "not-restored", expression: "!has(object.metadata.labels) || !('example.com/restore' in object.metadata.labels)" },
              ],
            }),
          ],
        }),
        { ...post(`${CM}?dryRun=All`, map("tried", { verdict: "refuse", text: "volumePolicies" })), until: (answer) => answer.code === 422 },
        post(`${CM}?dryRun=All`, map("a", { verdict: "refuse" })),
        post(`${CM}?dryRun=All`, map("a", { verdict: "refuse", text: "volumePolicies" }, { labels: { skip: "" } })),
        post(`${CM}?dryRun=All`, map("a", { verdict: "refuse", text: "volumePolicies" }, { labels: { "example.com/restore": "r" } })),
        post(CM, map("policy", { text: "volumePolicies" })),
        patch(`${CM}/policy`, { metadata: { labels: { a: "b" } } }),
        patch(`${CM}/policy`, { data: { verdict: "refuse" } }),
        // An expression that fails, for an object without what it asks for.
        patch(`${HOOKS}/conformance`, {
          webhooks: [webhook({ failurePolicy: "Ignore", matchConditions: [{ name: "fails", expression: "object.absent.a == 'b'" }] })],
        }),
        tried("refuse", (answer) => answer.code === 201),
      ],
    },
    {
      name: "a configuration that is gone asks nothing",
      requests: [
        { method: "DELETE", path: `${HOOKS}/conformance` },
        tried("refuse", (answer) => answer.code === 201),
        post(CM, map("refuse", { verdict: "refuse" })),
      ],
    },
  ];
}
