import type { GenericObject, Pod } from "@drayage/kube";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, PERSISTENT_VOLUME_CLAIMS, PODS, PRIORITY_CLASSES } from "./item-id.ts";

/** The claims that a pod's volumes use. */
export function claimsOfPod(pod: Pod): ItemId[] {
  return (pod.spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) =>
    persistentVolumeClaim === undefined
      ? []
      : [{ groupResource: PERSISTENT_VOLUME_CLAIMS, namespace: pod.metadata.namespace, name: persistentVolumeClaim.claimName }],
  );
}

/** A pod brings its claims and its priority class along. */
export const podBackupAction: BackupAction = {
  name: "velero.io/pod",
  groupResource: PODS,
  async execute(item: GenericObject) {
    const pod = item as unknown as Pod;
    const { priorityClassName = "" } = pod.spec;
    const priority = priorityClassName === "" ? [] : [{ groupResource: PRIORITY_CLASSES, namespace: undefined, name: priorityClassName }];
    return { item, additionalItems: [...priority, ...claimsOfPod(pod)] };
  },
};
