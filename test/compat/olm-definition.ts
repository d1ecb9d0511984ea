/**
 * The definition of OLM's ClusterServiceVersion, as far as a bundle writes one: names, types, what is required and what may be said (operator-framework/api,
 * pkg/operators/v1alpha1/clusterserviceversion_types.go). The spec of a Deployment is left open here, since the API server checks it when the Deployment is made.
 */
import type { CustomResourceDefinition } from "@drayage/kube";

type Schema = Readonly<Record<string, unknown>>;

const text: Schema = { type: "string" };
const flag: Schema = { type: "boolean" };
const texts: Schema = { type: "array", items: text };
const map: Schema = { type: "object", additionalProperties: text };
const open: Schema = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
const object = (properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema => ({
  type: "object",
  properties,
  ...(required.length === 0 ? {} : { required }),
});
const list = (properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema => ({
  type: "array",
  items: object(properties, required),
});

const reference = list({ name: text, kind: text, version: text }, ["kind", "name", "version"]);
const descriptors = list({ path: text, displayName: text, description: text, "x-descriptors": texts, value: open }, ["path"]);
const described: Readonly<Record<string, Schema>> = {
  name: text,
  version: text,
  kind: text,
  displayName: text,
  description: text,
  resources: reference,
  statusDescriptors: descriptors,
  specDescriptors: descriptors,
  actionDescriptors: descriptors,
};
const definitions = list(described, ["kind", "name", "version"]);
const services = list({ ...described, group: text, deploymentName: text, containerPort: { type: "integer", format: "int32" } }, [
  "group",
  "kind",
  "name",
  "version",
]);
const rules = list({ apiGroups: texts, resources: texts, resourceNames: texts, nonResourceURLs: texts, verbs: texts }, ["verbs"]);
const permissions = list({ serviceAccountName: text, rules }, ["rules", "serviceAccountName"]);
const port: Schema = { type: "integer", format: "int32", minimum: 1, maximum: 65535 };
const webhooks = list(
  {
    generateName: text,
    type: { type: "string", enum: ["ValidatingAdmissionWebhook", "MutatingAdmissionWebhook", "ConversionWebhook"] },
    deploymentName: text,
    containerPort: { ...port, default: 443 },
    targetPort: { anyOf: [{ type: "integer" }, { type: "string" }], "x-kubernetes-int-or-string": true },
    rules: list({ apiGroups: texts, apiVersions: texts, operations: texts, resources: texts, scope: text }),
    failurePolicy: text,
    matchPolicy: text,
    objectSelector: open,
    sideEffects: text,
    timeoutSeconds: { type: "integer", format: "int32" },
    admissionReviewVersions: texts,
    reinvocationPolicy: text,
    webhookPath: text,
    conversionCRDs: texts,
  },
  ["admissionReviewVersions", "generateName", "sideEffects", "type"],
);

const spec = object(
  {
    install: object(
      {
        strategy: text,
        spec: object({ deployments: list({ name: text, label: map, spec: open }, ["name", "spec"]), permissions, clusterPermissions: permissions }, [
          "deployments",
        ]),
      },
      ["strategy"],
    ),
    version: text,
    maturity: text,
    customresourcedefinitions: object({ owned: definitions, required: definitions }),
    apiservicedefinitions: object({ owned: services, required: services }),
    webhookdefinitions: webhooks,
    nativeAPIs: list({ group: text, version: text, kind: text }, ["group", "kind", "version"]),
    minKubeVersion: text,
    displayName: text,
    description: text,
    keywords: texts,
    maintainers: list({ name: text, email: text }),
    provider: object({ name: text, url: text }),
    links: list({ name: text, url: text }),
    icon: list({ base64data: text, mediatype: text }, ["base64data", "mediatype"]),
    installModes: list({ type: text, supported: flag }, ["supported", "type"]),
    replaces: text,
    labels: map,
    annotations: map,
    selector: open,
    cleanup: object({ enabled: flag }, ["enabled"]),
    skips: texts,
    relatedImages: list({ name: text, image: text }, ["image", "name"]),
  },
  ["displayName", "install"],
);

export const clusterServiceVersionDefinition = {
  metadata: { name: "clusterserviceversions.operators.coreos.com" },
  spec: {
    group: "operators.coreos.com",
    names: { kind: "ClusterServiceVersion", listKind: "ClusterServiceVersionList", plural: "clusterserviceversions", singular: "clusterserviceversion" },
    scope: "Namespaced",
    versions: [
      {
        name: "v1alpha1",
        served: true,
        storage: true,
        subresources: { status: {} },
        schema: { openAPIV3Schema: object({ apiVersion: text, kind: text, metadata: { type: "object" }, spec, status: open }, ["metadata", "spec"]) },
      },
    ],
  },
} as unknown as CustomResourceDefinition;
