import type { RandomSource } from "@drayage/base";
import type { Container, GenericObject, Pod } from "@drayage/kube";
import type { RestoreHooks } from "../hooks/restore-hooks.ts";
import { type ItemId, PODS } from "./item-id.ts";
import { claimsOfPod } from "./pod-backup-action.ts";
import type { RestoreAction } from "./restore-action.ts";

/**
 * A pod loses the node it was on and what an older API server had injected for its service account, gets the init containers of the restore's hooks,
 * and brings its claims and its priority class along.
 */
export function createPodRestoreAction(hooks: RestoreHooks, random: RandomSource): RestoreAction {
  return {
    name: "velero.io/pod",
    groupResource: PODS,
    async execute(item, { targetNamespace = "" }) {
      const pod = structuredClone(item) as unknown as Pod & { spec: { priority?: number } };
      delete pod.spec.nodeName;
      // Computed from the class by admission, which refuses another value.
      delete pod.spec.priority;
      withoutTokenVolumes(pod);
      const hooked = hooks.withInitContainers(pod, targetNamespace, random);
      const priorityClass = pod.spec.priorityClassName;
      const classes: ItemId[] =
        priorityClass === undefined || priorityClass === ""
          ? []
          : [{ groupResource: "priorityclasses.scheduling.k8s.io", namespace: undefined, name: priorityClass }];
      return { item: hooked as unknown as GenericObject, additionalItems: [...claimsOfPod(pod), ...classes] };
    },
  };
}

/** Before bound tokens (Kubernetes 1.21), a volume named after the account's token Secret was injected; that Secret is not there any more. */
function withoutTokenVolumes({ spec }: Pod): void {
  const prefix = `${spec.serviceAccountName ?? ""}-token-`;
  if (spec.volumes?.some(({ name }) => name.startsWith(prefix)) !== true) return;
  spec.volumes = spec.volumes.filter(({ name }) => !name.startsWith(prefix));
  const strip = (container: Container): Container =>
    container.volumeMounts === undefined ? container : { ...container, volumeMounts: container.volumeMounts.filter(({ name }) => !name.startsWith(prefix)) };
  spec.containers = spec.containers.map(strip);
  if (spec.initContainers !== undefined) spec.initContainers = spec.initContainers.map(strip);
}
