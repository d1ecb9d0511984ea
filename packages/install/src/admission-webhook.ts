/**
 * The admission webhook of an installation: its Service, which comes with the installation and by being there asks for the rest, and the ValidatingWebhookConfiguration, which the server
 * makes (docs/design/0019). Two installations of a cluster have one each: named after their namespaces, and for what lies in their namespaces only, where it has a namespace.
 */
import { MOVER_ANNOTATIONS } from "@drayage/api";
import { component, type Manifest, SERVER_NAME } from "./manifests.ts";
import { WEBHOOK_PORT } from "./workloads.ts";

export const WEBHOOK_SERVICE = "drayage-webhook";
/** Made by the leading server, read by all of them. */
export const WEBHOOK_CERTIFICATE = "drayage-webhook-certificate";
export const WEBHOOK_PATH = "/admit";
/** The argument of a server that is to have none. */
export const WITHOUT_WEBHOOK = "--webhook-address=";

/** Long enough for a busy server, and no trouble for whoever writes where there is none. */
const TIMEOUT_SECONDS = 3;
/** The label of what a restore made, Velero's or ours: that an application comes back matters more than what its annotations say. */
const RESTORED = "velero.io/restore-name";

export const webhookConfigurationName = (namespace: string): string => `drayage-${namespace}`;
/** By which the API server knows the server's certificate. */
export const webhookHost = (namespace: string): string => `${WEBHOOK_SERVICE}.${namespace}.svc`;

/** The Service; `selector` finds the server's pods. */
export function webhookService(namespace: string, selector: Readonly<Record<string, string>> = { deploy: SERVER_NAME }): Manifest {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: WEBHOOK_SERVICE, namespace, labels: component("server") },
    spec: { type: "ClusterIP", selector: { ...selector }, ports: [{ name: "webhook", port: 443, targetPort: WEBHOOK_PORT, protocol: "TCP" }] },
  };
}

/** `caBundle` is the PEM of every authority that may have signed what the servers show. */
export function webhookConfiguration(namespace: string, caBundle: string): Manifest {
  const own = { namespaceSelector: { matchLabels: { "kubernetes.io/metadata.name": namespace } } };
  const isOfOthers = { name: "not-by-the-server", expression: `request.userInfo.username != 'system:serviceaccount:${namespace}:${SERVER_NAME}'` };
  const webhook = (name: string, rules: readonly (readonly [group: string, version: string, ...resources: string[]])[], more: Conditions): object => ({
    name: `${name}.admission.drayage.io`,
    clientConfig: {
      service: { namespace, name: WEBHOOK_SERVICE, port: 443, path: WEBHOOK_PATH },
      caBundle: Buffer.from(caBundle).toString("base64"),
    },
    rules: rules.map(([group, version, ...resources]) => ({
      operations: ["CREATE", "UPDATE"],
      apiGroups: [group],
      apiVersions: [version],
      resources,
      scope: "*",
    })),
    admissionReviewVersions: ["v1"],
    sideEffects: "None",
    failurePolicy: "Ignore",
    timeoutSeconds: TIMEOUT_SECONDS,
    ...more,
    matchConditions: [isOfOthers, ...more.matchConditions],
  });
  const volumes = { matchConditions: [{ name: "names-a-mover", expression: NAMES_A_MOVER }, CHANGED_MARKS, NOT_RESTORED] };
  return {
    apiVersion: "admissionregistration.k8s.io/v1",
    kind: "ValidatingWebhookConfiguration",
    metadata: {
      name: webhookConfigurationName(namespace),
      // In another cluster it would point to a server that is not there.
      labels: { ...component("server"), "velero.io/exclude-from-backup": "true" },
    },
    webhooks: [
      webhook("backups", [["velero.io", "v1", "backups", "schedules"]], { ...own, matchConditions: [CHANGED_REQUEST] }),
      webhook("volume-policies", [["", "v1", "configmaps"]], { ...own, matchConditions: [{ name: "holds-volume-policies", expression: HOLDS_POLICIES }] }),
      webhook("movers", [["drayage.io", "v1alpha1", "datamovers", "datamoverclasses"]], {
        matchConditions: [{ name: "changed", expression: `${IS_NEW} || object.spec != oldObject.spec` }, NOT_RESTORED],
      }),
      webhook("claims", [["", "v1", "persistentvolumeclaims"]], volumes),
      webhook(
        "storage",
        [
          ["storage.k8s.io", "v1", "storageclasses"],
          ["snapshot.storage.k8s.io", "v1", "volumesnapshotclasses"],
        ],
        volumes,
      ),
    ],
  };
}

interface Conditions {
  readonly namespaceSelector?: object;
  readonly matchConditions: readonly { readonly name: string; readonly expression: string }[];
}

/** An annotation, or a label, of an object in CEL; empty where it is not there. */
const mark = (object: string, field: "annotations" | "labels", key: string): string =>
  `(has(${object}.metadata.${field}) && '${key}' in ${object}.metadata.${field} ? ${object}.metadata.${field}['${key}'] : '')`;

const { mover: MOVER, parameters: PARAMETERS } = MOVER_ANNOTATIONS;
const IS_NEW = "request.operation == 'CREATE'";
/** Controllers write the status of a Backup as part of it, many times: not shown. */
const CHANGED_REQUEST = {
  name: "changed",
  expression: `${IS_NEW} || object.spec != oldObject.spec || ${mark("object", "annotations", PARAMETERS)} != ${mark("oldObject", "annotations", PARAMETERS)}`,
};
const NAMES_A_MOVER = [mark("object", "annotations", MOVER), mark("object", "labels", MOVER), mark("object", "annotations", PARAMETERS)]
  .map((text) => `${text} != ''`)
  .join(" || ");
const CHANGED_MARKS = {
  name: "changed",
  expression: [
    IS_NEW,
    ...(
      [
        ["annotations", MOVER],
        ["labels", MOVER],
        ["annotations", PARAMETERS],
      ] as const
    ).map(([field, key]) => `${mark("object", field, key)} != ${mark("oldObject", field, key)}`),
  ].join(" || "),
};
const NOT_RESTORED = { name: "not-restored", expression: `!has(object.metadata.labels) || !('${RESTORED}' in object.metadata.labels)` };
const HOLDS_POLICIES = "has(object.data) && object.data.exists(key, object.data[key].contains('volumePolicies'))";
