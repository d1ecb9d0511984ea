/** Which volumes of a backup come back as they are, and which claims get new ones. */
import type { Restore } from "@drayage/api";
import type { Logger } from "@drayage/base";
import type { GenericObject, PersistentVolume, PersistentVolumeClaim } from "@drayage/kube";
import { targetNamespaceOf } from "../actions/restore-action.ts";
import type { OperationLog } from "../operation-log/operation-log.ts";
import type { BackupVolumeInfo } from "../ports.ts";

export interface RestoredVolumesOptions {
  readonly restore: Restore;
  /** By the name of the volume. */
  readonly volumeInfos: ReadonlyMap<string, BackupVolumeInfo>;
  /** Whether a claim of the backup gets its data back into a volume of its own, though no record of volumes says so. */
  readonly hasMovedData: (namespace: string, claim: string) => boolean;
  readonly operationLog: OperationLog;
}

export class RestoredVolumes {
  /** Claims, where they go, whose data comes back only through a pod that mounts them. */
  readonly toFill: { readonly namespace: string; readonly name: string }[] = [];
  readonly #options: RestoredVolumesOptions;
  /** Volumes that are not restored: their claims get new ones. */
  readonly #toProvision = new Set<string>();

  constructor(options: RestoredVolumesOptions) {
    this.#options = options;
  }

  /** The volume as it comes back, or undefined when its claim gets a new one. */
  toRestore(item: GenericObject, log: Logger): GenericObject | undefined {
    const { volumeInfos, restore } = this.#options;
    const volume = structuredClone(item) as unknown as PersistentVolume;
    const name = volume.metadata.name ?? "";
    const info = volumeInfos.get(name);
    const method = info?.backupMethod;
    const claim = volume.spec.claimRef;
    const claimNamespace = targetNamespaceOf(restore, claim?.namespace ?? "");
    const isInBackup = method === "CSISnapshot" || method === "PodVolumeBackup" || method === "NativeSnapshot";
    const isMoved = this.#options.hasMovedData(claim?.namespace ?? "", claim?.name ?? "");
    if (isMoved || isInBackup || volume.spec.persistentVolumeReclaimPolicy === "Delete") {
      this.#toProvision.add(name);
      log.info("Not restoring the volume: its claim gets a new one");
      this.#explainData(info, claimNamespace, claim?.name ?? "");
      return undefined;
    }
    log.info("Restoring the volume as it is: its data was not backed up, and it is not deleted with its claim");
    if (claim?.namespace !== undefined) claim.namespace = claimNamespace;
    forgetBinding(volume as unknown as GenericObject);
    return volume as unknown as GenericObject;
  }

  /** A claim forgets the volume that it had, and keeps its name only where that volume comes back. */
  unbind(object: GenericObject, log: Logger): void {
    const claim = object as unknown as PersistentVolumeClaim;
    const volume = claim.spec.volumeName;
    if (volume === undefined || volume === "") return;
    forgetBinding(object);
    if (!this.#toProvision.has(volume)) return;
    log.info("The claim gets a new volume");
    delete claim.spec.volumeName;
  }

  #explainData(info: BackupVolumeInfo | undefined, claimNamespace: string, claim: string): void {
    const { operationLog, restore } = this.#options;
    // Nobody wants the data then.
    if (restore.spec.restorePVs === false) return;
    const method = info?.backupMethod;
    const failed = info?.result === "failed";
    if (method === "PodVolumeBackup" && !failed) this.toFill.push({ namespace: claimNamespace, name: claim });
    if (method === "PodVolumeBackup" && failed)
      operationLog.error(claimNamespace, `claim "${claim}" comes back empty: reading it had failed, so its data is not in the backup`);
    if (method === "NativeSnapshot")
      operationLog.error(
        claimNamespace,
        `claim "${claim}" comes back empty: its data is in a snapshot of the cloud provider, which this version cannot restore`,
      );
    if (info?.skipped === true) {
      const why = info.skippedReason ?? "it was skipped";
      operationLog.warn(claimNamespace, `claim "${claim}" comes back empty: its data is not in the backup, because ${why}`);
    }
  }
}

/** Notes of the controllers that had bound a claim and its volume, which would keep them from being bound again. */
function forgetBinding(object: GenericObject): void {
  const { claimRef } = (object as unknown as PersistentVolume).spec;
  if (claimRef !== undefined) {
    delete claimRef.uid;
    delete claimRef.resourceVersion;
  }
  delete object.metadata.annotations?.["pv.kubernetes.io/bind-completed"];
  delete object.metadata.annotations?.["pv.kubernetes.io/bound-by-controller"];
}
