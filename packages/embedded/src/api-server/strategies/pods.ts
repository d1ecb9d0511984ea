/** Pods: admission with their service account, their first status, and a deletion that waits for the kubelet. */
import { randomSuffix } from "@drayage/base";
import { type ApiObject, at, clone, ensureObject, equal, type JsonObject, numberAt, objectAt, objectsAt, setDefault, textAt } from "../json.ts";
import { compareQuantities } from "../quantity.ts";
import { type FieldError, fieldForbidden, forbidden, invalid } from "../status-error.ts";
import { defaultPodSpec } from "./pod-defaults.ts";
import { validatePodSpec } from "./pod-validation.ts";
import type { Strategy, World } from "./strategy.ts";

const TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount";

export const pods: Strategy = {
  generation: true,
  statusFields: ["status"],
  defaults(pod) {
    const spec = ensureObject(pod, "spec");
    defaultPodSpec(spec);
    setDefault(spec, "enableServiceLinks", true);
    for (const container of [...objectsAt(spec, "initContainers"), ...objectsAt(spec, "containers")]) defaultRequests(container);
    const status = objectAt(pod, "status");
    const podIP = textAt(status, "podIP");
    if (status !== undefined && podIP !== "") setDefault(status, "podIPs", [{ ip: podIP }]);
  },
  prepareCreate(pod, world) {
    admitServiceAccount(pod, world);
    admitPriority(pod, world);
    admitTolerations(pod);
    pod["status"] = { phase: "Pending", qosClass: qosClass(pod) };
  },
  validate: (pod) => validatePodSpec(objectAt(pod, "spec") ?? {}, "spec"),
  validateUpdate,
  selectableFields: (pod) => ({
    "spec.nodeName": textAt(pod, "spec", "nodeName"),
    "spec.restartPolicy": textAt(pod, "spec", "restartPolicy"),
    "spec.schedulerName": textAt(pod, "spec", "schedulerName"),
    "spec.serviceAccountName": textAt(pod, "spec", "serviceAccountName"),
    "spec.hostNetwork": String(at(pod, "spec", "hostNetwork") === true),
    "status.phase": textAt(pod, "status", "phase"),
    "status.podIP": textAt(pod, "status", "podIP"),
    "status.podIPs": textAt(pod, "status", "podIP"),
    "status.nominatedNodeName": textAt(pod, "status", "nominatedNodeName"),
  }),
  gracePeriodSeconds(pod, wanted) {
    const period = wanted ?? numberAt(pod, "spec", "terminationGracePeriodSeconds") ?? 30;
    // A pod that never reached a node, or has ended, needs nobody to finish it.
    const phase = textAt(pod, "status", "phase");
    if (textAt(pod, "spec", "nodeName") === "" || phase === "Succeeded" || phase === "Failed") return undefined;
    return period < 0 ? 1 : period;
  },
};

/** Requests not given are those of the limits. */
function defaultRequests(container: JsonObject): void {
  const limits = objectAt(container, "resources", "limits");
  if (limits === undefined) return;
  const requests = ensureObject(ensureObject(container, "resources"), "requests");
  for (const [name, value] of Object.entries(limits)) if (value !== undefined) setDefault(requests, name, value);
}

function admitServiceAccount(pod: ApiObject, world: World): void {
  const spec = ensureObject(pod, "spec");
  // A mirror pod stands for what a kubelet runs by itself.
  if (pod.metadata.annotations?.["kubernetes.io/config.mirror"] !== undefined) return;
  if (textAt(spec, "serviceAccountName") === "") spec["serviceAccountName"] = "default";
  const name = textAt(spec, "serviceAccountName");
  spec["serviceAccount"] = name;
  const namespace = pod.metadata.namespace ?? "";
  const account = world.storage.get("serviceaccounts", `${namespace}/${name}`);
  if (account === undefined)
    throw forbidden(
      { group: "", name: "pods" },
      pod.metadata.name ?? "",
      `error looking up service account ${namespace}/${name}: serviceaccount "${name}" not found`,
    );
  if (objectsAt(spec, "imagePullSecrets").length === 0 && objectsAt(account, "imagePullSecrets").length > 0)
    spec["imagePullSecrets"] = clone(objectsAt(account, "imagePullSecrets"));
  if ((spec["automountServiceAccountToken"] ?? account["automountServiceAccountToken"]) === false) return;
  mountToken(spec, world);
}

/** The volume with token, CA and namespace that every container gets which mounts nothing at that place. */
function mountToken(spec: JsonObject, world: World): void {
  const volumes = objectsAt(spec, "volumes");
  let name = volumes.map((it) => textAt(it, "name")).find((it) => it.startsWith("kube-api-access-"));
  const needing = [...objectsAt(spec, "initContainers"), ...objectsAt(spec, "containers")].filter(
    (container) => !objectsAt(container, "volumeMounts").some((mount) => textAt(mount, "mountPath") === TOKEN_PATH),
  );
  if (needing.length === 0) return;
  if (name === undefined) {
    name = `kube-api-access-${randomSuffix(world.random)}`;
    const sources = [
      { serviceAccountToken: { expirationSeconds: 3607, path: "token" } },
      { configMap: { name: "kube-root-ca.crt", items: [{ key: "ca.crt", path: "ca.crt" }] } },
      { downwardAPI: { items: [{ path: "namespace", fieldRef: { apiVersion: "v1", fieldPath: "metadata.namespace" } }] } },
    ];
    spec["volumes"] = [...volumes, { name, projected: { sources, defaultMode: 420 } }];
  }
  for (const container of needing) container["volumeMounts"] = [...objectsAt(container, "volumeMounts"), { name, readOnly: true, mountPath: TOKEN_PATH }];
}

function admitPriority(pod: ApiObject, world: World): void {
  const spec = ensureObject(pod, "spec");
  const name = textAt(spec, "priorityClassName");
  const classes = world.storage.list("scheduling.k8s.io/priorityclasses");
  const priorityClass = name === "" ? classes.find((it) => it["globalDefault"] === true) : classes.find((it) => it.metadata.name === name);
  if (name !== "" && priorityClass === undefined)
    throw forbidden({ group: "", name: "pods" }, pod.metadata.name ?? "", `no PriorityClass with name ${name} was found`);
  if (priorityClass !== undefined) spec["priorityClassName"] = priorityClass.metadata.name ?? "";
  spec["priority"] = numberAt(priorityClass, "value") ?? 0;
  setDefault(spec, "preemptionPolicy", textAt(priorityClass, "preemptionPolicy") || "PreemptLowerPriority");
}

function admitTolerations(pod: ApiObject): void {
  const spec = ensureObject(pod, "spec");
  const tolerations = objectsAt(spec, "tolerations");
  for (const key of ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"]) {
    const tolerated = tolerations.some(
      (it) => (textAt(it, "key") === key || textAt(it, "key") === "") && (textAt(it, "effect") === "NoExecute" || textAt(it, "effect") === ""),
    );
    if (!tolerated) tolerations.push({ key, operator: "Exists", effect: "NoExecute", tolerationSeconds: 300 });
  }
  spec["tolerations"] = tolerations;
}

/** Guaranteed when every container's limits equal its requests for both CPU and memory, BestEffort when none has any. */
function qosClass(pod: ApiObject): string {
  const containers = [...objectsAt(pod, "spec", "initContainers"), ...objectsAt(pod, "spec", "containers")];
  const of = (container: JsonObject, what: string): JsonObject => objectAt(container, "resources", what) ?? {};
  const any = containers.some((it) => ["requests", "limits"].some((what) => ["cpu", "memory"].some((name) => of(it, what)[name] !== undefined)));
  if (!any) return "BestEffort";
  const guaranteed = containers.every((it) =>
    ["cpu", "memory"].every((name) => {
      const limit = of(it, "limits")[name];
      const request = of(it, "requests")[name];
      return typeof limit === "string" && typeof request === "string" && compareQuantities(limit, request) === 0;
    }),
  );
  return guaranteed ? "Guaranteed" : "Burstable";
}

/** Of a running pod's spec only images, deadlines, added tolerations and removed scheduling gates may change. */
function validateUpdate(pod: ApiObject, old: ApiObject): FieldError[] {
  const errors = validatePodSpec(objectAt(pod, "spec") ?? {}, "spec");
  const mutable = (object: ApiObject): JsonObject => {
    const spec = clone(objectAt(object, "spec") ?? {});
    for (const field of ["initContainers", "containers"]) for (const container of objectsAt(spec, field)) delete container["image"];
    for (const field of ["activeDeadlineSeconds", "terminationGracePeriodSeconds", "tolerations", "schedulingGates", "ephemeralContainers"]) delete spec[field];
    return spec;
  };
  const before = objectsAt(old, "spec", "tolerations");
  const after = objectsAt(pod, "spec", "tolerations");
  const keepsTolerations = before.every((it) => after.some((other) => equal({ ...it, tolerationSeconds: null }, { ...other, tolerationSeconds: null })));
  if (!keepsTolerations) errors.push(fieldForbidden("spec.tolerations", "existing toleration can not be modified except its tolerationSeconds"));
  if (!equal(mutable(pod), mutable(old)))
    errors.push(
      fieldForbidden(
        "spec",
        "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
      ),
    );
  if (textAt(old, "metadata", "namespace") !== textAt(pod, "metadata", "namespace"))
    errors.push(invalid("metadata.namespace", pod.metadata.namespace ?? "", "field is immutable"));
  return errors;
}
