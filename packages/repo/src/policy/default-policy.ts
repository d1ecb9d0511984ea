/** What holds where no policy says otherwise: the defaults of Kopia 0.22 (kopia-format.md 7.7). */
import type { PolicyDocument } from "./policy-document.ts";

/** From this size on Kopia uploads the parts of a file side by side, which shows in its object ids. */
export const PARALLEL_UPLOAD_ABOVE_BYTES = 2147483648;

export const defaultPolicy: PolicyDocument = {
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
  upload: { maxParallelSnapshots: 1, parallelUploadAboveSize: PARALLEL_UPLOAD_ABOVE_BYTES },
};
