/**
 * Policies as manifests (kopia-format.md 7.7), as far as this program writes them: the global one of a new repository and the path policy that Velero saves with each backup.
 * Policies of others are carried as raw text and never written again.
 */
import type { Labels } from "../manifest/manifest-content.ts";
import { labelsOfSource, type SnapshotSource } from "./snapshot-source.ts";

export const POLICY_TYPE = "policy";

export const globalPolicyLabels: Labels = { type: POLICY_TYPE, policyType: "global" };

export function pathPolicyLabels(source: SnapshotSource): Labels {
  return { type: POLICY_TYPE, policyType: "path", ...labelsOfSource(source) };
}

/** What Kopia 0.22 stores as the global policy of a new repository. */
export const defaultGlobalPolicy: string = JSON.stringify({
  retention: { keepLatest: 10, keepHourly: 48, keepDaily: 7, keepWeekly: 4, keepMonthly: 24, keepAnnual: 3, ignoreIdenticalSnapshots: false },
  files: { ignoreDotFiles: [".kopiaignore"] },
  errorHandling: { ignoreFileErrors: false, ignoreDirectoryErrors: false, ignoreUnknownTypes: true },
  scheduling: { runMissed: true },
  compression: { compressorName: "none" },
  metadataCompression: { compressorName: "zstd-fastest" },
  splitter: {},
  actions: {},
  osSnapshots: { volumeShadowCopy: { enable: 0 } },
  logging: { directories: { snapshotted: 5, ignored: 5 }, entries: { snapshotted: 0, ignored: 5, cacheHit: 0, cacheMiss: 0 } },
  upload: { maxParallelSnapshots: 1, parallelUploadAboveSize: 2147483648 },
});

const KEEP_ALL = 2147483647;
/** From this size on Kopia uploads the parts of a file side by side, which shows in its object ids. */
export const PARALLEL_UPLOAD_ABOVE_BYTES = 2147483648;

/** The policy that Velero saves for a source before it uploads: nothing expires by itself, nothing is compressed, nobody schedules. */
export function veleroPathPolicy(maxParallelFileReads: number): string {
  const retention = { keepLatest: KEEP_ALL, keepHourly: KEEP_ALL, keepDaily: KEEP_ALL, keepWeekly: KEEP_ALL, keepMonthly: KEEP_ALL, keepAnnual: KEEP_ALL };
  return JSON.stringify({
    retention,
    files: {},
    errorHandling: { ignoreUnknownTypes: true },
    scheduling: { manual: true },
    compression: { compressorName: "none" },
    metadataCompression: {},
    splitter: {},
    actions: {},
    osSnapshots: { volumeShadowCopy: {} },
    logging: { directories: {}, entries: {} },
    upload: { maxParallelFileReads, parallelUploadAboveSize: PARALLEL_UPLOAD_ABOVE_BYTES },
  });
}
