import type { GenericObject, Pod } from "@drayage/kube";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, PERSISTENT_VOLUME_CLAIMS, PODS } from "./item-id.ts";

/** The claims that a pod's volumes use. */
export function claimsOfPod(pod: Pod): ItemId[] {
  return (pod.spec.volumes ?? []).flatMap(({ persistentVolumeClaim }) =>
    persistentVolumeClaim === undefined
      ? []
      : [{ groupResource: PERSISTENT_VOLUME_CLAIMS, namespace: pod.metadata.namespace, name: persistentVolumeClaim.claimName }],
  );
}

/** A pod brings its claims along. */
export const podBackupAction: BackupAction = {
  name: "velero.io/pod",
  groupResource: PODS,
  execute: async (item: GenericObject) => ({ item, additionalItems: claimsOfPod(item as unknown as Pod) }),
};
