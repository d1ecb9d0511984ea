/** Eviction: a deletion that disruption budgets may refuse. */
import { type JsonObject, numberAt, objectAt, textAt } from "../json.ts";
import type { Operations } from "../operations.ts";
import type { ResourceRequest } from "../request-info.ts";
import { matchesLabelSelector } from "../selectors.ts";
import { type Status, StatusError } from "../status-error.ts";
import type { World } from "../strategies/strategy.ts";
import { POD_RESOURCE } from "./binding.ts";

export function evictPod(it: { readonly world: World; readonly operations: Operations }, info: ResourceRequest, body: JsonObject): Status {
  const name = info.name ?? "";
  const pod = it.operations.get(POD_RESOURCE, info.namespace, name);
  for (const budget of it.world.storage.list("policy/poddisruptionbudgets", info.namespace)) {
    const selector = objectAt(budget, "spec", "selector");
    if (selector === undefined || !matchesLabelSelector(selector, pod.metadata.labels ?? {})) continue;
    if ((numberAt(budget, "status", "disruptionsAllowed") ?? 0) > 0) continue;
    throw new StatusError(429, "TooManyRequests", "Cannot evict pod as it would violate the pod's disruption budget.", {
      causes: [{ reason: "DisruptionBudget", message: `The disruption budget ${budget.metadata.name} does not allow evicting pods currently` }],
    });
  }
  const options = objectAt(body, "deleteOptions");
  it.operations.delete(POD_RESOURCE, info.namespace, name, {
    dryRun: info.query.get("dryRun") === "All" || (Array.isArray(options?.["dryRun"]) && options["dryRun"].includes("All")),
    gracePeriodSeconds: numberAt(options, "gracePeriodSeconds"),
    propagationPolicy: textAt(options, "propagationPolicy") || undefined,
    uid: textAt(options, "preconditions", "uid") || undefined,
    resourceVersion: textAt(options, "preconditions", "resourceVersion") || undefined,
  });
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Success", code: 201 };
}
