/** Hands the results of a backup's DataUploads to the restore of their claims, and leaves them for others to see in ConfigMaps, as Velero does. */
import { type Backup, type DataUpload, LABELS, RESOURCE_USAGE_DATA_UPLOAD, validLabelValue } from "@drayage/api";
import { type ConfigMap, configMaps, type KubeClient } from "@drayage/kube";
import { DATA_UPLOADS } from "./item-id.ts";
import type { RestoreAction } from "./restore-action.ts";

/** What a restore needs to know of a DataUpload; stored in the ConfigMap with these keys, in this order. */
export interface DataUploadResult {
  readonly backupStorageLocation: string;
  readonly datamover?: string;
  readonly snapshotID: string;
  readonly sourceNamespace: string;
  readonly dataMoverResult?: Readonly<Record<string, string>>;
  readonly nodeOS?: string;
  readonly snapshotSize?: number;
}

/** Results by the claim they are for, and how each DataUpload ended. */
export class DataUploadResults {
  readonly #byClaim = new Map<string, { readonly result: DataUploadResult; readonly upload: DataUpload }[]>();

  add(upload: DataUpload, result: DataUploadResult): void {
    const key = claimKey(upload.spec.sourceNamespace, upload.spec.sourcePVC);
    this.#byClaim.set(key, [...(this.#byClaim.get(key) ?? []), { result, upload }]);
  }

  of(namespace: string, claim: string): readonly { readonly result: DataUploadResult; readonly upload: DataUpload }[] {
    return this.#byClaim.get(claimKey(namespace, claim)) ?? [];
  }
}

export function createDataUploadRestoreAction(client: KubeClient, results: DataUploadResults): RestoreAction {
  return {
    name: "velero.io/dataupload",
    groupResource: DATA_UPLOADS,
    async execute(item, { restore, backup, itemFromBackup, signal }) {
      const upload = itemFromBackup as unknown as DataUpload;
      const result = resultOf(upload, backup);
      const restoreUid = restore.metadata.uid ?? "";
      await client.create<ConfigMap>(
        configMaps,
        {
          apiVersion: "v1",
          kind: "ConfigMap",
          metadata: {
            generateName: `${upload.metadata.name}-`,
            namespace: restore.metadata.namespace ?? "",
            labels: {
              [LABELS.restoreUid]: validLabelValue(restoreUid),
              [LABELS.pvcNamespaceName]: claimKey(upload.spec.sourceNamespace, upload.spec.sourcePVC),
              [LABELS.resourceUsage]: RESOURCE_USAGE_DATA_UPLOAD,
            },
            // A Restore that is deleted while it runs takes it along.
            ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Restore", name: restore.metadata.name ?? "", uid: restoreUid }],
          },
          data: { [restoreUid]: JSON.stringify(result) },
        },
        { signal },
      );
      results.add(upload, result);
      return { item, skip: true };
    },
  };
}

function resultOf({ spec, status }: DataUpload, backup: Backup): DataUploadResult {
  const { datamover } = spec;
  const moverResult = status?.dataMoverResult;
  const size = status?.progress?.totalBytes ?? 0;
  return {
    backupStorageLocation: backup.spec.storageLocation ?? "",
    ...(datamover === undefined || datamover === "" ? {} : { datamover }),
    snapshotID: status?.snapshotID ?? "",
    sourceNamespace: spec.sourceNamespace,
    ...(moverResult === undefined || moverResult === null ? {} : { dataMoverResult: moverResult }),
    ...(status?.nodeOS === undefined ? {} : { nodeOS: status.nodeOS }),
    ...(size > 0 ? { snapshotSize: size } : {}),
  };
}

function claimKey(namespace: string, claim: string): string {
  return validLabelValue(`${namespace}.${claim}`);
}
