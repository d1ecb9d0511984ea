/** The policy that Velero saves for a source before it uploads: nothing expires by itself, nothing is compressed, nobody schedules. */
import { PARALLEL_UPLOAD_ABOVE_BYTES } from "./default-policy.ts";
import { emptyPolicy, encodePolicy } from "./policy-document.ts";

const KEEP_ALL = 2147483647;

export function veleroPathPolicy(maxParallelFileReads: number): string {
  const retention = { keepLatest: KEEP_ALL, keepHourly: KEEP_ALL, keepDaily: KEEP_ALL, keepWeekly: KEEP_ALL, keepMonthly: KEEP_ALL, keepAnnual: KEEP_ALL };
  return encodePolicy({
    ...emptyPolicy,
    retention,
    errorHandling: { ignoreUnknownTypes: true },
    scheduling: { manual: true },
    compression: { compressorName: "none" },
    upload: { maxParallelFileReads, parallelUploadAboveSize: PARALLEL_UPLOAD_ABOVE_BYTES },
  });
}
