/** Requests that a real API server and ours must answer alike. Each case runs in order on both; its requests may use what earlier answers of the same server said. */
import type { Answer, Exchange, Json, JsonObject } from "./api-exchange.ts";

export interface ConformanceCase {
  readonly name: string;
  /** Each is sent after the one before was answered; a function gets the answers so far. */
  readonly requests: readonly (Exchange | ((answers: readonly Answer[]) => Exchange))[];
}

const NS = "/api/v1/namespaces/conformance";
const CM = `${NS}/configmaps`;
const TABLE = { accept: "application/json;as=Table;v=v1;g=meta.k8s.io,application/json" };
const MERGE = { "content-type": "application/merge-patch+json" };
const JSON_PATCH = { "content-type": "application/json-patch+json" };
const STRATEGIC = { "content-type": "application/strategic-merge-patch+json" };
const APPLY = { "content-type": "application/apply-patch+yaml" };
const DEPLOYMENTS = "/apis/apps/v1/namespaces/conformance/deployments";
const CRDS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const WIDGETS = "/apis/conformance.example.com/v1/namespaces/conformance/widgets";

const get = (path: string, headers?: Record<string, string>): Exchange => ({ method: "GET", path, ...(headers === undefined ? {} : { headers }) });
const post = (path: string, body: Json, headers?: Record<string, string>): Exchange => ({
  method: "POST",
  path,
  body,
  ...(headers === undefined ? {} : { headers }),
});
const put = (path: string, body: Json): Exchange => ({ method: "PUT", path, body });
const patch = (path: string, body: Json, headers: Record<string, string>): Exchange => ({ method: "PATCH", path, body, headers });
const del = (path: string, body?: Json): Exchange => ({ method: "DELETE", path, ...(body === undefined ? {} : { body }) });

const configMap = (name: string, data: JsonObject = {}, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, ...metadata },
  data,
});
const container = (more: JsonObject = {}): JsonObject => ({ name: "main", image: "nginx:1.27", ...more });
const pod = (name: string, spec: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name },
  spec: { containers: [container()], ...spec },
});
const template = { metadata: { labels: { app: "web" } }, spec: { containers: [container()] } };
const deployment = (name: string, spec: JsonObject = {}): JsonObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name },
  spec: { selector: { matchLabels: { app: "web" } }, template, ...spec },
});
const managed = (manager: string, fieldsV1: JsonObject, apiVersion = "v1"): JsonObject => ({
  manager,
  operation: "Update",
  apiVersion,
  time: "2026-01-02T03:04:05Z",
  fieldsType: "FieldsV1",
  fieldsV1,
});
const bodyOf = (answer: Answer | undefined): JsonObject => (answer?.body ?? {}) as JsonObject;
const claim = (name: string, spec: JsonObject = {}, metadata: JsonObject = {}): JsonObject => ({
  apiVersion: "v1",
  kind: "PersistentVolumeClaim",
  metadata: { name, ...metadata },
  spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1024Mi" } }, ...spec },
});

const widgetSchema: JsonObject = {
  type: "object",
  required: ["spec"],
  properties: {
    spec: {
      type: "object",
      required: ["size"],
      properties: {
        size: { type: "integer", minimum: 1, maximum: 10 },
        color: { type: "string", enum: ["red", "green"], default: "red" },
        name: { type: "string", pattern: "^[a-z]+$", minLength: 2, maxLength: 5 },
        tags: { type: "array", items: { type: "string" }, maxItems: 2, "x-kubernetes-list-type": "set" },
        ports: {
          type: "array",
          "x-kubernetes-list-type": "map",
          "x-kubernetes-list-map-keys": ["port"],
          items: { type: "object", required: ["port"], properties: { port: { type: "integer" }, label: { type: "string" } } },
        },
        either: { "x-kubernetes-int-or-string": true },
        free: { type: "object", "x-kubernetes-preserve-unknown-fields": true },
        maybe: { type: "string", nullable: true },
        when: { type: "string", format: "date-time" },
        fixed: { type: "string", "x-kubernetes-validations": [{ rule: "self == oldSelf", message: "fixed may not change" }] },
        labels: { type: "object", additionalProperties: { type: "string" } },
      },
      "x-kubernetes-validations": [{ rule: "!has(self.name) || self.size > 1", message: "a named widget is larger than 1" }],
    },
    status: { type: "object", properties: { phase: { type: "string" }, replicas: { type: "integer" }, ready: { type: "boolean" } } },
  },
};
const widgets: JsonObject = {
  apiVersion: "apiextensions.k8s.io/v1",
  kind: "CustomResourceDefinition",
  metadata: { name: "widgets.conformance.example.com" },
  spec: {
    group: "conformance.example.com",
    scope: "Namespaced",
    names: { plural: "widgets", singular: "widget", kind: "Widget", shortNames: ["wd"], categories: ["all"] },
    versions: [
      {
        name: "v1",
        served: true,
        storage: true,
        schema: { openAPIV3Schema: widgetSchema },
        subresources: { status: {}, scale: { specReplicasPath: ".spec.size", statusReplicasPath: ".status.replicas" } },
        additionalPrinterColumns: [
          { name: "Size", type: "integer", jsonPath: ".spec.size" },
          { name: "Phase", type: "string", jsonPath: ".status.phase", priority: 1 },
          { name: "Ready", type: "boolean", jsonPath: ".status.ready" },
          { name: "Age", type: "date", jsonPath: ".metadata.creationTimestamp" },
        ],
        selectableFields: [{ jsonPath: ".spec.color" }],
      },
    ],
  },
};
const widget = (name: string, spec: JsonObject, more: JsonObject = {}): JsonObject => ({
  apiVersion: "conformance.example.com/v1",
  kind: "Widget",
  metadata: { name },
  spec,
  ...more,
});

const webhook = {
  name: "hook.example.com",
  clientConfig: { url: "https://hook.example.com" },
  sideEffects: "None",
  admissionReviewVersions: ["v1"],
  rules: [{ operations: ["CREATE"], apiGroups: [""], apiVersions: ["v1"], resources: ["pods"] }],
};
/** An object of each kind that has no case of its own. */
const otherKinds: readonly (readonly [path: string, apiVersion: string, kind: string, fields: JsonObject])[] = [
  [
    "/apis/networking.k8s.io/v1/namespaces/conformance/networkpolicies",
    "networking.k8s.io/v1",
    "NetworkPolicy",
    { spec: { podSelector: { matchLabels: { app: "a" } }, egress: [{ ports: [{ port: 53 }] }] } },
  ],
  [
    "/apis/networking.k8s.io/v1/namespaces/conformance/ingresses",
    "networking.k8s.io/v1",
    "Ingress",
    {
      spec: {
        ingressClassName: "nginx",
        rules: [{ host: "a.example.com", http: { paths: [{ path: "/", pathType: "Prefix", backend: { service: { name: "web", port: { number: 80 } } } }] } }],
      },
    },
  ],
  ["/apis/networking.k8s.io/v1/ingressclasses", "networking.k8s.io/v1", "IngressClass", { spec: { controller: "example.com/c" } }],
  [
    "/apis/policy/v1/namespaces/conformance/poddisruptionbudgets",
    "policy/v1",
    "PodDisruptionBudget",
    { spec: { minAvailable: "50%", selector: { matchLabels: { app: "a" } } } },
  ],
  [
    "/apis/autoscaling/v2/namespaces/conformance/horizontalpodautoscalers",
    "autoscaling/v2",
    "HorizontalPodAutoscaler",
    { spec: { scaleTargetRef: { apiVersion: "apps/v1", kind: "Deployment", name: "web" }, maxReplicas: 3 } },
  ],
  [`${NS}/resourcequotas`, "v1", "ResourceQuota", { spec: { hard: { pods: "5", "requests.storage": "10Gi" } } }],
  [`${NS}/limitranges`, "v1", "LimitRange", { spec: { limits: [{ type: "Container", max: { cpu: "1" } }] } }],
  [`${NS}/endpoints`, "v1", "Endpoints", { subsets: [{ addresses: [{ ip: "10.0.0.1" }], ports: [{ port: 80 }] }] }],
  [
    "/apis/discovery.k8s.io/v1/namespaces/conformance/endpointslices",
    "discovery.k8s.io/v1",
    "EndpointSlice",
    { addressType: "IPv4", endpoints: [{ addresses: ["10.0.0.1"] }], ports: [{ port: 80 }] },
  ],
  [`${NS}/podtemplates`, "v1", "PodTemplate", { template }],
  [`${NS}/replicationcontrollers`, "v1", "ReplicationController", { spec: { template } }],
  ["/apis/apps/v1/namespaces/conformance/controllerrevisions", "apps/v1", "ControllerRevision", { data: { a: 1 }, revision: 3 }],
  [
    "/apis/storage.k8s.io/v1/csinodes",
    "storage.k8s.io/v1",
    "CSINode",
    { spec: { drivers: [{ name: "csi.example.com", nodeID: "n", topologyKeys: ["zone"] }] } },
  ],
  [
    "/apis/storage.k8s.io/v1/namespaces/conformance/csistoragecapacities",
    "storage.k8s.io/v1",
    "CSIStorageCapacity",
    { storageClassName: "fast", capacity: "1.5Gi" },
  ],
  ["/apis/node.k8s.io/v1/runtimeclasses", "node.k8s.io/v1", "RuntimeClass", { handler: "runc" }],
  [
    "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations",
    "admissionregistration.k8s.io/v1",
    "ValidatingWebhookConfiguration",
    { webhooks: [{ ...webhook, failurePolicy: "Ignore", namespaceSelector: { matchLabels: { never: "matches" } } }] },
  ],
  [
    "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations",
    "admissionregistration.k8s.io/v1",
    "MutatingWebhookConfiguration",
    { webhooks: [{ ...webhook, failurePolicy: "Ignore", namespaceSelector: { matchLabels: { never: "matches" } } }] },
  ],
  [
    "/apis/rbac.authorization.k8s.io/v1/clusterroles",
    "rbac.authorization.k8s.io/v1",
    "ClusterRole",
    { rules: [{ apiGroups: ["*"], resources: ["*"], verbs: ["get"] }] },
  ],
  [
    "/apis/rbac.authorization.k8s.io/v1/clusterrolebindings",
    "rbac.authorization.k8s.io/v1",
    "ClusterRoleBinding",
    { roleRef: { kind: "ClusterRole", name: "view" }, subjects: [{ kind: "Group", name: "g" }] },
  ],
];
/** Created, shown as a table, updated with a label, deleted. */
function everyOtherKind(): ConformanceCase[] {
  return otherKinds.map(([path, apiVersion, kind, fields]) => ({
    name: `${kind} is created with its defaults, shown, labelled and deleted`,
    requests: [
      post(path, { apiVersion, kind, metadata: { name: "one" }, ...fields }),
      get(`${path}/one`, TABLE),
      patch(`${path}/one`, { metadata: { labels: { a: "b" } } }, MERGE),
      del(`${path}/one`, { propagationPolicy: "Background" }),
      get(`${path}/one`),
    ],
  }));
}

export const conformanceCases: readonly ConformanceCase[] = [
  {
    name: "a namespace is created with its label, finalizer and phase",
    requests: [post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "conformance" } }), get("/api/v1/namespaces/conformance")],
  },
  {
    name: "config maps: create, get, update, conflict, delete, gone",
    requests: [
      post(CM, configMap("first", { a: "1" }, { labels: { app: "x" }, annotations: { note: "n" } })),
      get(`${CM}/first`),
      post(CM, configMap("first")),
      (answers) => put(`${CM}/first`, { ...bodyOf(answers[1]), data: { a: "2", b: "3" } }),
      (answers) => put(`${CM}/first`, { ...bodyOf(answers[1]), data: { a: "4" } }),
      put(`${CM}/first`, configMap("first", { c: "1" })),
      put(`${CM}/absent`, configMap("absent")),
      put(`${CM}/first`, configMap("other")),
      put(`${CM}/first`, configMap("first", {}, { uid: "other" })),
      del(`${CM}/first`),
      get(`${CM}/first`),
      del(`${CM}/first`),
    ],
  },
  {
    name: "names and labels are checked",
    requests: [
      post(CM, configMap("Bad_Name")),
      post(CM, { apiVersion: "v1", kind: "ConfigMap", metadata: {} }),
      post(CM, configMap("labels", {}, { labels: { "bad key": "v", ok: "bad value!" } })),
      post(CM, configMap("annotations", {}, { annotations: { "a/b/c": "v" } })),
      post("/api/v1/namespaces", { apiVersion: "v1", kind: "Namespace", metadata: { name: "with.dot" } }),
      post(`${NS}/services`, { apiVersion: "v1", kind: "Service", metadata: { name: "1st" }, spec: { ports: [{ port: 80 }] } }),
      post(CM, configMap("ok", { "bad key": "v" })),
      post(CM, configMap("finalizers", {}, { finalizers: ["nodomain", "bad domain/x"] })),
      post(CM, configMap("owners", {}, { ownerReferences: [{ apiVersion: "v1", kind: "ConfigMap", name: "", uid: "" }] })),
      post(CM, configMap("versioned", {}, { resourceVersion: "5" })),
    ],
  },
  {
    name: "generated names and dry runs",
    requests: [
      post(`${CM}?dryRun=All`, configMap("dry")),
      get(`${CM}/dry`),
      post(`${CM}?dryRun=Some`, configMap("dry")),
      post(CM, { apiVersion: "v1", kind: "ConfigMap", metadata: { generateName: "made-" } }),
      (answers) => del(`${CM}/${((bodyOf(answers[3])["metadata"] ?? {}) as JsonObject)["name"] as string}`),
    ],
  },
  {
    name: "bodies that cannot be read",
    requests: [
      { method: "POST", path: CM, body: "{not json" },
      { method: "POST", path: CM, body: "[]" },
      { method: "POST", path: CM, body: "" },
      post(CM, { apiVersion: "v1", kind: "Secret", metadata: { name: "x" } }),
      post(CM, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "x" } }),
      post(CM, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, data: "text" }),
      post(CM, { apiVersion: "v1", kind: "ConfigMap", metadata: { name: "x" }, data: { a: 1 } }),
      post(`${NS}/pods`, pod("x", { terminationGracePeriodSeconds: "long" })),
      post(`${NS}/secrets`, { apiVersion: "v1", kind: "Secret", metadata: { name: "x" }, data: { a: "*" } }),
      post(CM, configMap("x"), { "content-type": "text/plain" }),
      post(CM, configMap("x"), { "content-type": "application/vnd.kubernetes.protobuf" }),
      post("/api/v1/namespaces/other/configmaps", configMap("x")),
      post(CM, configMap("x", {}, { namespace: "other" })),
    ],
  },
  {
    name: "unknown fields: ignored, warned about, refused",
    requests: [
      post(`${CM}?fieldValidation=Ignore&dryRun=All`, { ...configMap("u"), extra: 1 }),
      post(`${CM}?dryRun=All`, { ...configMap("u"), extra: 1 }),
      post(`${CM}?fieldValidation=Strict&dryRun=All`, { ...configMap("u"), extra: 1, metadata: { name: "u", more: 1 } }),
      post(
        `${DEPLOYMENTS}?fieldValidation=Strict&dryRun=All`,
        deployment("u", { replica: 1, template: { ...template, spec: { containers: [container({ imag: "x" })] } } }),
      ),
      post(`${CM}?fieldValidation=Some`, configMap("u")),
    ],
  },
  {
    name: "paths and methods that are not served",
    requests: [
      get("/api/v1/namespaces/conformance/unknowns"),
      get("/apis/unknown.example.com/v1"),
      get("/apis/apps/v9/deployments"),
      get("/nothing/here"),
      { method: "POST", path: "/api/v1/configmaps", body: configMap("x") },
      { method: "PATCH", path: CM, body: {}, headers: MERGE },
      { method: "DELETE", path: "/api/v1/namespaces" },
      { method: "PUT", path: CM, body: configMap("x") },
      get(`${CM}/a/b`),
    ],
  },
  {
    name: "lists with selectors, pages and versions",
    requests: [
      post(CM, configMap("list-a", {}, { labels: { app: "a", tier: "front" } })),
      post(CM, configMap("list-b", {}, { labels: { app: "b" } })),
      post(CM, configMap("list-c", {}, { labels: { app: "c", tier: "back" } })),
      get(`${CM}?labelSelector=app`),
      get(`${CM}?labelSelector=app%20in%20(a,b)`),
      get(`${CM}?labelSelector=app,tier!=front`),
      get(`${CM}?labelSelector=app,!tier`),
      get(`${CM}?labelSelector=tier%20notin%20(back),app`),
      get(`${CM}?labelSelector=app%20near%20a`),
      get(`${CM}?labelSelector=,`),
      get(`${CM}?fieldSelector=metadata.name=list-b`),
      get(`${CM}?fieldSelector=metadata.name!=list-b,metadata.namespace=conformance&labelSelector=app`),
      get(`${CM}?fieldSelector=data.a=b`),
      get(`${CM}?labelSelector=app&limit=2`),
      (answers) => get(`${CM}?labelSelector=app&limit=2&continue=${((bodyOf(answers[13])["metadata"] ?? {}) as JsonObject)["continue"] as string}`),
      get(`${CM}?resourceVersion=99999999`),
      get(`${CM}?resourceVersionMatch=Exact`),
      get(`${CM}?resourceVersion=1&resourceVersionMatch=Never`),
      get(`${CM}?resourceVersion=abc`),
      get(`${CM}?labelSelector=app`, TABLE),
      get(`${CM}?labelSelector=app`, { accept: "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io" }),
      get(`${CM}/list-a`, { accept: "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io" }),
      get(`${CM}/list-a`, { accept: "application/xml" }),
      { method: "DELETE", path: `${CM}?labelSelector=tier` },
      get(`${CM}?labelSelector=app`),
      { method: "DELETE", path: `${CM}?labelSelector=app` },
    ],
  },
  {
    name: "patches of three kinds",
    requests: [
      post(DEPLOYMENTS, deployment("patched")),
      patch(`${DEPLOYMENTS}/patched`, { spec: { replicas: 3 }, metadata: { labels: { a: "b" } } }, MERGE),
      patch(`${DEPLOYMENTS}/patched`, { spec: { template: { spec: { containers: [{ name: "side", image: "busybox" }] } } } }, STRATEGIC),
      patch(
        `${DEPLOYMENTS}/patched`,
        {
          spec: {
            template: {
              spec: {
                containers: [
                  { name: "side", $patch: "delete" },
                  { name: "main", env: [{ name: "A", value: "1" }] },
                ],
              },
            },
          },
        },
        STRATEGIC,
      ),
      patch(`${DEPLOYMENTS}/patched`, { spec: { template: { spec: { containers: [{ name: "main", env: [{ name: "B", value: "2" }] }] } } } }, STRATEGIC),
      patch(
        `${DEPLOYMENTS}/patched`,
        [
          { op: "replace", path: "/spec/replicas", value: 1 },
          { op: "remove", path: "/metadata/labels/a" },
        ],
        JSON_PATCH,
      ),
      patch(`${DEPLOYMENTS}/patched`, [{ op: "test", path: "/spec/replicas", value: 7 }], JSON_PATCH),
      patch(`${DEPLOYMENTS}/patched`, [{ op: "remove", path: "/spec/nothing" }], JSON_PATCH),
      patch(`${DEPLOYMENTS}/patched`, [{ op: "jump", path: "/spec" }], JSON_PATCH),
      patch(`${DEPLOYMENTS}/patched`, { op: "x" }, JSON_PATCH),
      patch(`${DEPLOYMENTS}/patched`, { spec: { replicas: "x" } }, MERGE),
      patch(`${DEPLOYMENTS}/patched`, { spec: { replicas: -1 } }, MERGE),
      patch(`${DEPLOYMENTS}/patched`, { metadata: { resourceVersion: "1" } }, MERGE),
      patch(`${DEPLOYMENTS}/patched`, { metadata: { uid: "1" } }, MERGE),
      patch(`${DEPLOYMENTS}/patched`, { spec: { selector: { matchLabels: { app: "other" } } } }, MERGE),
      patch(`${DEPLOYMENTS}/absent`, { spec: {} }, MERGE),
      patch(`${DEPLOYMENTS}/patched`, {}, { "content-type": "application/json" }),
      patch(`${DEPLOYMENTS}/patched?force=true`, {}, MERGE),
      patch(`${DEPLOYMENTS}/patched`, {}, MERGE),
      get(`${DEPLOYMENTS}/patched/scale`),
      patch(`${DEPLOYMENTS}/patched/scale`, { spec: { replicas: 4 } }, MERGE),
      patch(`${DEPLOYMENTS}/patched/status`, { status: { replicas: 2 }, spec: { replicas: 9 } }, MERGE),
      get(`${DEPLOYMENTS}/patched`),
      get(`${DEPLOYMENTS}/patched`, TABLE),
      del(`${DEPLOYMENTS}/patched`),
    ],
  },
  {
    name: "server-side apply owns, conflicts, forces and lets go",
    requests: [
      patch(`${DEPLOYMENTS}/applied?fieldManager=one`, deployment("applied", { replicas: 2 }), APPLY),
      patch(
        `${DEPLOYMENTS}/applied?fieldManager=two`,
        { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "applied", labels: { by: "two" } } },
        APPLY,
      ),
      patch(
        `${DEPLOYMENTS}/applied?fieldManager=two`,
        { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "applied" }, spec: { replicas: 5 } },
        APPLY,
      ),
      patch(
        `${DEPLOYMENTS}/applied?fieldManager=two&force=true`,
        { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "applied" }, spec: { replicas: 5 } },
        APPLY,
      ),
      patch(`${DEPLOYMENTS}/applied?fieldManager=one`, deployment("applied"), APPLY),
      patch(`${DEPLOYMENTS}/applied`, deployment("applied"), APPLY),
      patch(`${DEPLOYMENTS}/applied?fieldManager=one`, { kind: "Deployment" }, APPLY),
      patch(`${DEPLOYMENTS}/applied?fieldManager=two`, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "applied" } }, APPLY),
      get(`${DEPLOYMENTS}/applied`),
      patch(`${CM}/applied?fieldManager=one`, configMap("applied", { a: "1", b: "2" }), APPLY),
      patch(`${CM}/applied`, { data: { c: "3" } }, MERGE),
      patch(`${CM}/applied?fieldManager=one`, configMap("applied", { a: "1" }), APPLY),
      patch(`${CM}/applied?fieldManager=one`, configMap("applied", { a: "1" }), APPLY),
      del(`${CM}/applied`),
      del(`${DEPLOYMENTS}/applied`),
    ],
  },
  {
    name: "an object is created with managers of its own, and in the name of one of them",
    requests: [
      post(
        `${CM}?fieldManager=helm`,
        configMap(
          "managed",
          { a: "1", b: "2" },
          { labels: { by: "restore" }, managedFields: [managed("helm", { "f:data": { ".": {}, "f:a": {}, "f:gone": {} } })] },
        ),
      ),
      post(
        `${CM}?fieldManager=another`,
        configMap("managed-by-another", { a: "1" }, { managedFields: [managed("helm", { "f:data": { ".": {}, "f:a": {} } })] }),
      ),
      post(`${CM}?fieldManager=helm`, configMap("managed-by-nobody", { a: "1" }, { managedFields: [{ manager: "helm", operation: "Rubbish" }] })),
      post(`${DEPLOYMENTS}?fieldManager=helm`, {
        ...deployment("managed"),
        metadata: { name: "managed", managedFields: [{ ...managed("controller", { "f:status": { "f:replicas": {} } }, "apps/v1"), subresource: "status" }] },
      }),
      del(`${DEPLOYMENTS}/managed`),
    ],
  },
  {
    name: "pods: defaults, admission, validation, binding, status, deletion",
    requests: [
      post(`${NS}/serviceaccounts`, { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: "runner" } }),
      post(`${NS}/pods`, pod("plain", { serviceAccountName: "runner" })),
      post(`${NS}/pods`, pod("none", { serviceAccountName: "absent" })),
      post(`${NS}/pods`, pod("bad", { serviceAccountName: "runner", containers: [] })),
      post(
        `${NS}/pods`,
        pod("bad", {
          serviceAccountName: "runner",
          containers: [
            { name: "", image: "" },
            { name: "x", image: "y" },
            { name: "x", image: "y" },
          ],
        }),
      ),
      post(
        `${NS}/pods`,
        pod("bad", { serviceAccountName: "runner", restartPolicy: "Sometimes", containers: [container({ volumeMounts: [{ name: "v", mountPath: "/v" }] })] }),
      ),
      post(
        `${NS}/pods`,
        pod("full", {
          serviceAccountName: "runner",
          automountServiceAccountToken: false,
          restartPolicy: "Never",
          volumes: [
            { name: "data", persistentVolumeClaim: { claimName: "data" } },
            { name: "tmp" },
            { name: "conf", configMap: { name: "c" } },
            { name: "sec", secret: { secretName: "s" } },
            { name: "host", hostPath: { path: "/tmp" } },
          ],
          initContainers: [{ name: "init", image: "busybox", command: ["true"] }],
          containers: [
            container({
              image: "repo.example.com:5000/app",
              resources: { limits: { cpu: "0.5", memory: "64Mi" } },
              ports: [{ containerPort: 80 }],
              readinessProbe: { httpGet: { port: 80 } },
              env: [{ name: "N", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } }],
              volumeMounts: [{ name: "data", mountPath: "/data" }],
            }),
          ],
        }),
      ),
      post(`${NS}/pods/plain/binding`, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name: "plain" },
        target: { apiVersion: "v1", kind: "Node", name: "node-1" },
      }),
      post(`${NS}/pods/plain/binding`, {
        apiVersion: "v1",
        kind: "Binding",
        metadata: { name: "plain" },
        target: { apiVersion: "v1", kind: "Node", name: "node-2" },
      }),
      patch(
        `${NS}/pods/plain/status`,
        {
          status: {
            phase: "Running",
            podIP: "10.0.0.1",
            containerStatuses: [
              { name: "main", ready: true, restartCount: 1, image: "nginx:1.27", imageID: "", state: { running: { startedAt: "2026-01-01T00:00:00Z" } } },
            ],
          },
        },
        STRATEGIC,
      ),
      get(`${NS}/pods/plain`),
      get(`${NS}/pods?fieldSelector=spec.nodeName=node-1,status.phase=Running`),
      get(`${NS}/pods?fieldSelector=spec.foo=1`),
      patch(`${NS}/pods/plain`, { spec: { containers: [{ name: "main", image: "nginx:2" }] } }, STRATEGIC),
      patch(`${NS}/pods/plain`, { spec: { containers: [{ name: "main", command: ["x"] }] } }, STRATEGIC),
      get(`${NS}/pods/plain/log`),
      get(`${NS}/pods/full/log`),
      del(`${NS}/pods/plain`),
      get(`${NS}/pods/plain`),
      del(`${NS}/pods/plain?gracePeriodSeconds=0`),
      get(`${NS}/pods/plain`),
      del(`${NS}/pods/full`),
    ],
  },
  {
    name: "claims, volumes and classes",
    requests: [
      post("/apis/storage.k8s.io/v1/storageclasses", {
        apiVersion: "storage.k8s.io/v1",
        kind: "StorageClass",
        metadata: { name: "fast", annotations: { "storageclass.kubernetes.io/is-default-class": "true" } },
        provisioner: "csi.example.com",
      }),
      post(`${NS}/persistentvolumeclaims`, claim("data", {}, { finalizers: ["example.com/hold"] })),
      post(
        `${NS}/persistentvolumeclaims`,
        claim("source", { storageClassName: "", dataSource: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "s" } }),
      ),
      post(`${NS}/persistentvolumeclaims`, claim("bad", { accessModes: [], resources: {} })),
      post(`${NS}/persistentvolumeclaims`, claim("bad", { accessModes: ["Sometimes"], volumeMode: "Tape" })),
      patch(`${NS}/persistentvolumeclaims/data`, { spec: { accessModes: ["ReadWriteMany"] } }, MERGE),
      patch(`${NS}/persistentvolumeclaims/data`, { spec: { volumeName: "vol" } }, MERGE),
      patch(`${NS}/persistentvolumeclaims/data`, { spec: { volumeName: "other" } }, MERGE),
      patch(`${NS}/persistentvolumeclaims/data/status`, { status: { phase: "Bound", accessModes: ["ReadWriteOnce"], capacity: { storage: "1Gi" } } }, MERGE),
      get(`${NS}/persistentvolumeclaims/data`, TABLE),
      patch(`${NS}/persistentvolumeclaims/data`, { spec: { resources: { requests: { storage: "2Gi" } } } }, MERGE),
      del(`${NS}/persistentvolumeclaims/data`),
      patch(`${NS}/persistentvolumeclaims/data`, { metadata: { finalizers: ["example.com/late"] } }, MERGE),
      patch(`${NS}/persistentvolumeclaims/data`, { metadata: { finalizers: null } }, MERGE),
      patch(`${NS}/persistentvolumeclaims/source`, { metadata: { finalizers: null } }, MERGE),
      del(`${NS}/persistentvolumeclaims/source`),
      post("/api/v1/persistentvolumes", {
        apiVersion: "v1",
        kind: "PersistentVolume",
        metadata: { name: "vol" },
        spec: {
          capacity: { storage: "1Gi" },
          accessModes: ["ReadWriteOnce"],
          csi: { driver: "csi.example.com", volumeHandle: "h" },
          claimRef: { namespace: "conformance", name: "data" },
        },
      }),
      post("/api/v1/persistentvolumes", { apiVersion: "v1", kind: "PersistentVolume", metadata: { name: "bad" }, spec: {} }),
      patch("/api/v1/persistentvolumes/vol", { spec: { csi: { volumeHandle: "other" } } }, MERGE),
      get("/api/v1/persistentvolumes/vol", TABLE),
      get("/apis/storage.k8s.io/v1/storageclasses/fast", TABLE),
      patch("/apis/storage.k8s.io/v1/storageclasses/fast", { provisioner: "other" }, MERGE),
      patch("/api/v1/persistentvolumes/vol", { metadata: { finalizers: null } }, MERGE),
      del("/api/v1/persistentvolumes/vol"),
      del("/apis/storage.k8s.io/v1/storageclasses/fast"),
      post("/apis/storage.k8s.io/v1/csidrivers", { apiVersion: "storage.k8s.io/v1", kind: "CSIDriver", metadata: { name: "csi.example.com" }, spec: {} }),
      del("/apis/storage.k8s.io/v1/csidrivers/csi.example.com"),
      post("/apis/storage.k8s.io/v1/volumeattachments", {
        apiVersion: "storage.k8s.io/v1",
        kind: "VolumeAttachment",
        metadata: { name: "a" },
        spec: { attacher: "x", nodeName: "n", source: { persistentVolumeName: "v" } },
      }),
      del("/apis/storage.k8s.io/v1/volumeattachments/a"),
    ],
  },
  {
    name: "services, secrets and config maps keep their rules",
    requests: [
      post(`${NS}/services`, { apiVersion: "v1", kind: "Service", metadata: { name: "web" }, spec: { selector: { app: "web" }, ports: [{ port: 80 }] } }),
      post(`${NS}/services`, {
        apiVersion: "v1",
        kind: "Service",
        metadata: { name: "headless" },
        spec: { clusterIP: "None", ports: [{ port: 80, name: "http", targetPort: "http" }] },
      }),
      post(`${NS}/services`, { apiVersion: "v1", kind: "Service", metadata: { name: "empty" }, spec: {} }),
      get(`${NS}/services`, TABLE),
      del(`${NS}/services/web`),
      del(`${NS}/services/headless`),
      post(`${NS}/secrets`, { apiVersion: "v1", kind: "Secret", metadata: { name: "plain" }, stringData: { user: "me" }, data: { key: "AQI=" } }),
      patch(`${NS}/secrets/plain`, { type: "other" }, MERGE),
      patch(`${NS}/secrets/plain`, { immutable: true }, MERGE),
      patch(`${NS}/secrets/plain`, { data: { key: "AQM=" } }, MERGE),
      get(`${NS}/secrets/plain`, TABLE),
      post(`${NS}/secrets`, { apiVersion: "v1", kind: "Secret", metadata: { name: "tls" }, type: "kubernetes.io/tls" }),
      del(`${NS}/secrets/plain`),
    ],
  },
  {
    name: "workloads get their defaults and are checked",
    requests: [
      post("/apis/apps/v1/namespaces/conformance/statefulsets", {
        apiVersion: "apps/v1",
        kind: "StatefulSet",
        metadata: { name: "db" },
        spec: {
          serviceName: "db",
          selector: { matchLabels: { app: "web" } },
          template,
          volumeClaimTemplates: [{ metadata: { name: "data" }, spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "1Gi" } } } }],
        },
      }),
      patch("/apis/apps/v1/namespaces/conformance/statefulsets/db", { spec: { serviceName: "other" } }, MERGE),
      get("/apis/apps/v1/namespaces/conformance/statefulsets/db", TABLE),
      del("/apis/apps/v1/namespaces/conformance/statefulsets/db"),
      post("/apis/apps/v1/namespaces/conformance/daemonsets", {
        apiVersion: "apps/v1",
        kind: "DaemonSet",
        metadata: { name: "agent" },
        spec: { selector: { matchLabels: { app: "web" } }, template },
      }),
      get("/apis/apps/v1/namespaces/conformance/daemonsets?includeObject=None", TABLE),
      del("/apis/apps/v1/namespaces/conformance/daemonsets/agent"),
      post("/apis/apps/v1/namespaces/conformance/replicasets", {
        apiVersion: "apps/v1",
        kind: "ReplicaSet",
        metadata: { name: "rs" },
        spec: { selector: { matchLabels: { app: "web" } }, template },
      }),
      del("/apis/apps/v1/namespaces/conformance/replicasets/rs"),
      post(DEPLOYMENTS, deployment("bad", { selector: { matchLabels: { app: "other" } } })),
      post(DEPLOYMENTS, { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "bad" }, spec: {} }),
      post("/apis/batch/v1/namespaces/conformance/jobs", {
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name: "once" },
        spec: { template: { spec: { restartPolicy: "Never", containers: [container()] } } },
      }),
      get("/apis/batch/v1/namespaces/conformance/jobs", TABLE),
      post("/apis/batch/v1/namespaces/conformance/jobs", {
        apiVersion: "batch/v1",
        kind: "Job",
        metadata: { name: "bad" },
        spec: { template: { spec: { containers: [container()] } } },
      }),
      del("/apis/batch/v1/namespaces/conformance/jobs/once"),
      post("/apis/batch/v1/namespaces/conformance/cronjobs", {
        apiVersion: "batch/v1",
        kind: "CronJob",
        metadata: { name: "nightly" },
        spec: { schedule: "0 1 * * *", jobTemplate: { spec: { template: { spec: { restartPolicy: "OnFailure", containers: [container()] } } } } },
      }),
      get("/apis/batch/v1/namespaces/conformance/cronjobs", TABLE),
      del("/apis/batch/v1/namespaces/conformance/cronjobs/nightly"),
    ],
  },
  {
    name: "RBAC objects, leases, events and priority classes",
    requests: [
      post("/apis/rbac.authorization.k8s.io/v1/namespaces/conformance/roles", {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        metadata: { name: "reader" },
        rules: [{ apiGroups: [""], resources: ["pods"], verbs: ["get"] }],
      }),
      post("/apis/rbac.authorization.k8s.io/v1/namespaces/conformance/roles", {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "Role",
        metadata: { name: "bad" },
        rules: [{ resources: ["pods"] }],
      }),
      post("/apis/rbac.authorization.k8s.io/v1/namespaces/conformance/rolebindings", {
        apiVersion: "rbac.authorization.k8s.io/v1",
        kind: "RoleBinding",
        metadata: { name: "readers" },
        roleRef: { kind: "Role", name: "reader" },
        subjects: [
          { kind: "User", name: "u" },
          { kind: "ServiceAccount", name: "s", namespace: "conformance" },
        ],
      }),
      patch("/apis/rbac.authorization.k8s.io/v1/namespaces/conformance/rolebindings/readers", { roleRef: { name: "other" } }, MERGE),
      get("/apis/rbac.authorization.k8s.io/v1/namespaces/conformance/rolebindings", TABLE),
      post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: { user: "u", resourceAttributes: { namespace: "conformance", verb: "get", resource: "pods" } },
      }),
      post("/apis/authorization.k8s.io/v1/subjectaccessreviews", {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SubjectAccessReview",
        spec: { user: "u", resourceAttributes: { namespace: "conformance", verb: "delete", resource: "pods" } },
      }),
      post("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", {
        apiVersion: "authorization.k8s.io/v1",
        kind: "SelfSubjectAccessReview",
        spec: { resourceAttributes: { verb: "delete", resource: "nodes" } },
      }),
      get(`${NS}/pods`, { "impersonate-user": "u" }),
      get(`${NS}/pods/x`, { "impersonate-user": "u" }),
      get(`${NS}/secrets`, { "impersonate-user": "u" }),
      get("/api/v1/nodes/n", { "impersonate-user": "u" }),
      post(CM, configMap("x"), { "impersonate-user": "u" }),
      get("/metrics", { "impersonate-user": "u" }),
      get(CM, { authorization: "Bearer nonsense" }),
      post("/apis/coordination.k8s.io/v1/namespaces/conformance/leases", {
        apiVersion: "coordination.k8s.io/v1",
        kind: "Lease",
        metadata: { name: "leader" },
        spec: { holderIdentity: "me", leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.123456Z" },
      }),
      get("/apis/coordination.k8s.io/v1/namespaces/conformance/leases", TABLE),
      post(`${NS}/events`, {
        apiVersion: "v1",
        kind: "Event",
        metadata: { name: "e1" },
        involvedObject: { kind: "Pod", namespace: "conformance", name: "p" },
        reason: "Tested",
        message: "m",
        type: "Normal",
        source: { component: "c" },
        firstTimestamp: "2026-01-01T00:00:00Z",
        lastTimestamp: "2026-01-01T00:00:00Z",
        count: 1,
      }),
      get("/apis/events.k8s.io/v1/namespaces/conformance/events/e1"),
      post(`${NS}/events`, { apiVersion: "v1", kind: "Event", metadata: { name: "e2" }, involvedObject: { kind: "Pod", namespace: "elsewhere", name: "p" } }),
      post("/apis/scheduling.k8s.io/v1/priorityclasses", { apiVersion: "scheduling.k8s.io/v1", kind: "PriorityClass", metadata: { name: "high" }, value: 5 }),
      del("/apis/scheduling.k8s.io/v1/priorityclasses/high"),
    ],
  },
  ...everyOtherKind(),
  {
    name: "tables of pods, nodes and namespaces in their states",
    requests: [
      post("/api/v1/nodes", {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name: "table-node", labels: { "node-role.kubernetes.io/worker": "" } },
        spec: { unschedulable: true, taints: [{ key: "node.kubernetes.io/not-ready", effect: "NoSchedule" }] },
      }),
      patch(
        "/api/v1/nodes/table-node/status",
        {
          status: {
            conditions: [{ type: "Ready", status: "True" }],
            addresses: [{ type: "InternalIP", address: "10.1.1.1" }],
            nodeInfo: { kubeletVersion: "v1.34.4", osImage: "Debian" },
          },
        },
        MERGE,
      ),
      get("/api/v1/nodes/table-node", TABLE),
      get("/api/v1/nodes?fieldSelector=spec.unschedulable=true,metadata.name=table-node"),
      del("/api/v1/nodes/table-node"),
      post(`${NS}/pods`, pod("table", { serviceAccountName: "runner", nodeName: "n", containers: [container(), container({ name: "two" })] })),
      patch(
        `${NS}/pods/table/status`,
        {
          status: {
            phase: "Running",
            podIP: "10.0.0.9",
            containerStatuses: [
              { name: "main", ready: true, restartCount: 2, image: "x", imageID: "", state: { running: {} } },
              { name: "two", ready: false, restartCount: 0, image: "x", imageID: "", state: { waiting: { reason: "CrashLoopBackOff" } } },
            ],
          },
        },
        STRATEGIC,
      ),
      get(`${NS}/pods/table`, TABLE),
      patch(`${NS}/pods/table/status`, { status: { phase: "Failed", reason: "Evicted" } }, STRATEGIC),
      get(`${NS}/pods/table?includeObject=Object`, TABLE),
      get(`${NS}/pods/table?includeObject=Some`, TABLE),
      del(`${NS}/pods/table?gracePeriodSeconds=0`),
      get("/api/v1/namespaces/conformance", TABLE),
      get(`${NS}/serviceaccounts/runner`, TABLE),
      get("/apis/rbac.authorization.k8s.io/v1/namespaces/conformance/roles/reader", TABLE),
      get(`${NS}/events/e1`, TABLE),
    ],
  },
  {
    name: "a CustomResourceDefinition is checked and accepted",
    requests: [
      post(CRDS, { ...widgets, metadata: { name: "wrong.name" } }),
      post(CRDS, { ...widgets, spec: { ...(widgets["spec"] as JsonObject), versions: [] } }),
      post(CRDS, widgets),
    ],
  },
  {
    name: "a definition is established and served at once",
    requests: [
      { ...get(`${CRDS}/widgets.conformance.example.com`), until: (answer) => JSON.stringify(answer.body).includes("InitialNamesAccepted") },
      get("/apis/conformance.example.com/v1"),
      get("/apis/conformance.example.com"),
    ],
  },
  {
    name: "custom resources: pruning, defaults, validation",
    requests: [
      post(
        WIDGETS,
        widget(
          "one",
          { size: 3, unknown: true, free: { any: [1, { x: null }] }, either: "50%", maybe: null, labels: { a: "b" } },
          { extra: 1, status: { phase: "Set" } },
        ),
      ),
      get(`${WIDGETS}/one`),
      post(`${WIDGETS}?fieldValidation=Strict`, widget("strict", { size: 3, unknown: true })),
      post(WIDGETS, widget("bad", {})),
      post(WIDGETS, { apiVersion: "conformance.example.com/v1", kind: "Widget", metadata: { name: "bad" } }),
      post(WIDGETS, widget("bad", { size: "three" })),
      post(WIDGETS, widget("bad", { size: 0 })),
      post(WIDGETS, widget("bad", { size: 11, color: "blue" })),
      post(WIDGETS, widget("bad", { size: 2, name: "x" })),
      post(WIDGETS, widget("bad", { size: 2, name: "toolong" })),
      post(WIDGETS, widget("bad", { size: 2, name: "UP" })),
      post(WIDGETS, widget("bad", { size: 2, tags: ["a", "b", "c"] })),
      post(WIDGETS, widget("bad", { size: 2, tags: ["a", "a"] })),
      post(WIDGETS, widget("bad", { size: 2, ports: [{ port: 1 }, { port: 1 }, { label: "x" }] })),
      post(WIDGETS, widget("bad", { size: 2, either: true })),
      post(WIDGETS, widget("bad", { size: 2, when: "yesterday" })),
      post(WIDGETS, widget("bad", { size: 1, name: "abc" })),
      post(WIDGETS, widget("bad", { size: 2, labels: { a: 1 } })),
      post(WIDGETS, widget("bad", { size: null as unknown as Json })),
      post(WIDGETS, { ...widget("bad", { size: 2 }), kind: "Gadget" }),
    ],
  },
  {
    name: "custom resources: status, generation, scale, transition rules, tables",
    requests: [
      get(`${WIDGETS}/one`),
      patch(`${WIDGETS}/one`, { spec: { size: 4 }, status: { phase: "Ignored" } }, MERGE),
      patch(`${WIDGETS}/one/status`, { spec: { size: 9 }, status: { phase: "Running", ready: true, replicas: 4 } }, MERGE),
      patch(`${WIDGETS}/one`, { metadata: { labels: { a: "b" } } }, MERGE),
      patch(`${WIDGETS}/one`, {}, STRATEGIC),
      get(`${WIDGETS}/one/scale`),
      patch(`${WIDGETS}/one/scale`, { spec: { replicas: 5 } }, MERGE),
      patch(`${WIDGETS}/one`, { spec: { fixed: "a" } }, MERGE),
      patch(`${WIDGETS}/one`, { spec: { fixed: "b" } }, MERGE),
      get(WIDGETS, TABLE),
      get(`${WIDGETS}/one`, TABLE),
      get(`${WIDGETS}?fieldSelector=spec.color=red`),
      get(`${WIDGETS}?fieldSelector=spec.size=5`),
      put(`${WIDGETS}/one`, widget("one", { size: 5, fixed: "a" })),
      patch(`${WIDGETS}/two?fieldManager=one`, widget("two", { size: 2, ports: [{ port: 1, label: "x" }], tags: ["a"] }), APPLY),
      patch(`${WIDGETS}/two?fieldManager=other`, widget("two", { size: 2, ports: [{ port: 2 }], tags: ["b"] }), APPLY),
      patch(`${WIDGETS}/two?fieldManager=one`, widget("two", { size: 2, ports: [{ port: 3 }], tags: [] }), APPLY),
      { method: "DELETE", path: WIDGETS },
    ],
  },
  {
    name: "finalizers hold an object until they are removed",
    requests: [
      post(CM, configMap("held", {}, { finalizers: ["example.com/hold"] })),
      del(`${CM}/held`, { preconditions: { uid: "wrong" } }),
      del(`${CM}/held`, { preconditions: { resourceVersion: "1" } }),
      del(`${CM}/held`, { propagationPolicy: "Sideways" }),
      del(`${CM}/held`),
      del(`${CM}/held`),
      patch(`${CM}/held`, { metadata: { finalizers: ["example.com/hold", "example.com/more"] } }, MERGE),
      patch(`${CM}/held`, { data: { a: "1" } }, MERGE),
      patch(`${CM}/held`, { metadata: { finalizers: null } }, MERGE),
      get(`${CM}/held`),
    ],
  },
  {
    name: "watches tell state, changes and leavers",
    requests: [
      post(CM, configMap("watched", {}, { labels: { watch: "yes" } })),
      patch(`${CM}/watched`, { metadata: { labels: { watch: "no" } } }, MERGE),
      patch(`${CM}/watched`, { metadata: { labels: { watch: "yes" } } }, MERGE),
      del(`${CM}/watched`),
      (answers) =>
        get(
          `${CM}?watch=1&timeoutSeconds=1&labelSelector=watch%3Dyes&resourceVersion=${((bodyOf(answers[0])["metadata"] ?? {}) as JsonObject)["resourceVersion"] as string}`,
        ),
      get(`${CM}?watch=1&timeoutSeconds=1&sendInitialEvents=true`),
      get(`${CM}?watch=1&timeoutSeconds=1&resourceVersion=abc`),
    ],
  },
  {
    name: "discovery, version and the definition's end",
    requests: [get("/api"), get("/api/v1"), get("/apis/apps/v1"), get("/apis/storage.k8s.io"), get("/healthz"), del(`${CRDS}/widgets.conformance.example.com`)],
  },
  {
    name: "tokens of service accounts",
    requests: [
      post(`${NS}/serviceaccounts/runner/token`, {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenRequest",
        spec: { expirationSeconds: 600, audiences: ["a"] },
      }),
      post(`${NS}/serviceaccounts/runner/token`, { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: { expirationSeconds: 10 } }),
      post(`${NS}/serviceaccounts/absent/token`, { apiVersion: "authentication.k8s.io/v1", kind: "TokenRequest", spec: {} }),
    ],
  },
];
