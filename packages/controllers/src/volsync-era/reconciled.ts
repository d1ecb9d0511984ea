/** The one condition of VolumeSnapshotBackup and VolumeSnapshotRestore: `Reconciled`, with the message of what went wrong. */
import type { VolumeSnapshotBackupStatus } from "@drayage/api";

type Conditions = NonNullable<VolumeSnapshotBackupStatus["conditions"]>;

export interface ReconciledFacts {
  readonly failed: boolean;
  readonly message: string;
  readonly now: string;
  readonly generation: number | undefined;
}

/** The conditions with this one among them; it keeps its time while its status is the same. */
export function reconciled(conditions: Conditions | undefined, { failed, message, now, generation }: ReconciledFacts): Conditions {
  const before = conditions?.find(({ type }) => type === "Reconciled");
  const status = failed ? "False" : "True";
  return [
    ...(conditions ?? []).filter(({ type }) => type !== "Reconciled"),
    {
      type: "Reconciled",
      status,
      reason: failed ? "Error" : "Complete",
      message,
      lastTransitionTime: before?.status === status ? before.lastTransitionTime : now,
      ...(generation === undefined ? {} : { observedGeneration: generation }),
    },
  ];
}
