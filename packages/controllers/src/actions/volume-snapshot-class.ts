/** Which VolumeSnapshotClass cuts the snapshot of a claim. The rules and their order are Velero's. */
import { ANNOTATIONS, type Backup, LABELS, type VolumeSnapshotClass, volumeSnapshotClasses } from "@drayage/api";
import { DrayError, hasCode, type Logger } from "@drayage/base";
import type { KubeClient, PersistentVolumeClaim } from "@drayage/kube";
import { allOf } from "../all-of.ts";

const IS_DEFAULT = "snapshot.storage.kubernetes.io/is-default-class";

/** All of them, read once for a whole backup; asked for again where that failed. */
export function volumeSnapshotClassesOnce(client: KubeClient): (signal: AbortSignal) => Promise<readonly VolumeSnapshotClass[]> {
  let listed: Promise<readonly VolumeSnapshotClass[]> | undefined;
  return async (signal) => {
    listed ??= allOf(client.listAll<VolumeSnapshotClass>(volumeSnapshotClasses, { signal }));
    try {
      return await listed;
    } catch (error) {
      listed = undefined;
      throw error;
    }
  };
}

/** Throws SNAPSHOT_FAILED, with what to do, when there is no class for the driver or when several fit and none is marked. */
export async function selectVolumeSnapshotClass(
  list: (signal: AbortSignal) => Promise<readonly VolumeSnapshotClass[]>,
  subject: { readonly driver: string; readonly claim: PersistentVolumeClaim; readonly backup: Backup; readonly policyClass?: string },
  log: Logger,
  signal: AbortSignal,
): Promise<VolumeSnapshotClass> {
  const { driver, claim, backup, policyClass } = subject;
  const classes = await knownClasses(list, driver, signal);
  const asked: readonly [string, string | undefined][] = [
    ["the claim", claim.metadata.annotations?.[ANNOTATIONS.volumeSnapshotClass]],
    ["the volume policy", policyClass],
    ["the backup", backup.metadata.annotations?.[`${ANNOTATIONS.volumeSnapshotClass}_${driver.toLowerCase()}`]],
  ];
  for (const [by, name] of asked) {
    if (name === undefined || name === "") continue;
    const found = classes.find(({ metadata }) => metadata.name === name);
    if (found?.driver === driver) return found;
    log.warn(
      `VolumeSnapshotClass "${name}", named by ${by}, ${found === undefined ? "does not exist" : `is of driver "${found.driver}"`}; another one is looked for`,
      {
        driver,
      },
    );
  }
  const ofDriver = classes.filter((candidate) => candidate.driver === driver);
  const chosen =
    ofDriver.find(({ metadata }) => metadata.labels?.[LABELS.volumeSnapshotClass] !== undefined) ??
    ofDriver.find(({ metadata }) => metadata.annotations?.[IS_DEFAULT] !== undefined) ??
    (ofDriver.length === 1 ? ofDriver[0] : undefined);
  if (chosen !== undefined) return chosen;
  const which = `claim "${claim.metadata.namespace}/${claim.metadata.name}"`;
  if (ofDriver.length === 0) {
    throw new DrayError("SNAPSHOT_FAILED", `Cannot take a snapshot of ${which}: there is no VolumeSnapshotClass for driver "${driver}"`, {
      hint: `Create a VolumeSnapshotClass with driver: ${driver}.`,
    });
  }
  throw new DrayError(
    "SNAPSHOT_FAILED",
    `Cannot take a snapshot of ${which}: driver "${driver}" has ${ofDriver.length} VolumeSnapshotClasses and none is marked as the one to use`,
    {
      hint: `Label one of ${ofDriver.map(({ metadata }) => metadata.name).join(", ")} with ${LABELS.volumeSnapshotClass}=true.`,
    },
  );
}

async function knownClasses(
  list: (signal: AbortSignal) => Promise<readonly VolumeSnapshotClass[]>,
  driver: string,
  signal: AbortSignal,
): Promise<readonly VolumeSnapshotClass[]> {
  try {
    return await list(signal);
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    throw new DrayError("SNAPSHOT_FAILED", `Cannot take snapshots with driver "${driver}": the cluster does not know VolumeSnapshots`, {
      cause: error,
      hint: "Install the CustomResourceDefinitions and the controller of external-snapshotter.",
    });
  }
}
