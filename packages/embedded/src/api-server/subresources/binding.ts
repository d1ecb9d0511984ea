/** Assigning a pod to a node. */
import { formatTime } from "@drayage/base";
import { type JsonObject, objectAt, objectsAt, textAt } from "../json.ts";
import type { Operations, WriteOptions } from "../operations.ts";
import type { ResourceRequest } from "../request-info.ts";
import type { ServedResource } from "../served-resource.ts";
import { conflict, invalidObject, type Status } from "../status-error.ts";
import { pods } from "../strategies/pods.ts";
import type { World } from "../strategies/strategy.ts";

/** The pods resource, for operations that touch pods whatever was asked for. */
export const POD_RESOURCE: ServedResource = {
  group: "",
  version: "v1",
  plural: "pods",
  singular: "pod",
  kind: "Pod",
  listKind: "PodList",
  namespaced: true,
  verbs: ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"],
  shortNames: ["po"],
  categories: ["all"],
  subresources: [],
  storedAs: "pods",
  // A binding changes what an update may not, and is no change of what is wanted.
  strategy: { ...pods, generation: false, statusFields: [], validateUpdate: () => [] },
  schemaName: "io.k8s.api.core.v1.Pod",
  custom: undefined,
};

export function bindPod(
  it: { readonly world: World; readonly operations: Operations },
  info: ResourceRequest,
  body: JsonObject,
  options: WriteOptions,
): Status {
  const name = info.subresource === "binding" ? (info.name ?? "") : textAt(body, "metadata", "name");
  const target = textAt(body, "target", "name");
  if (target === "") throw invalidObject({ group: "", name: "Binding" }, name, [{ type: "Required", field: "target.name", message: "Required value" }]);
  const now = formatTime(it.world.clock.nowMs());
  const produce = (pod: JsonObject): JsonObject => {
    const node = textAt(pod, "spec", "nodeName");
    if (node !== "") throw conflict({ group: "", name: "pods/binding" }, name, `pod ${name} is already assigned to node "${node}"`);
    if (textAt(pod, "metadata", "deletionTimestamp") !== "")
      throw conflict({ group: "", name: "pods/binding" }, name, `pod ${name} is being deleted, cannot be assigned to a host`);
    const conditions = objectsAt(pod, "status", "conditions").filter((condition) => condition["type"] !== "PodScheduled");
    const scheduled = { type: "PodScheduled", status: "True", lastProbeTime: null, lastTransitionTime: now };
    return {
      ...pod,
      spec: { ...objectAt(pod, "spec"), nodeName: target },
      status: { ...objectAt(pod, "status"), conditions: [...conditions, scheduled] },
    };
  };
  it.operations.update(POD_RESOURCE, info.namespace, name, produce, options, { isPatch: true, untracked: true });
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}
