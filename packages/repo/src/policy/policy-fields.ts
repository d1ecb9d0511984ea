/**
 * Every member of a policy: its place, its type, how those of several policies become one (kopia-format.md 7.7; Kopia: snapshot/policy/policy_merge.go). Order is Kopia's, in which
 * a policy is stored.
 */

/**
 * - `first`: the most particular policy that states it decides. Null or absent states nothing; zero, false and the empty text do.
 * - `nonzero`: as `first`, but zero, false and empty state nothing either: such members are left out when stored.
 * - `union`: lists are joined and sorted, up to the policy whose `until` flag ends that.
 * - `own`: of the most particular policy only; nothing is inherited.
 */
export type MergeRule = "first" | "nonzero" | "union" | "own";
export type FieldType = "count" | "bigCount" | "flag" | "text" | "texts" | "any";

export interface PolicyField {
  /** Members on the way down. */
  readonly at: readonly string[];
  readonly type: FieldType;
  readonly rule: MergeRule;
  /** The flag beside a list that keeps those above out. */
  readonly until?: string;
}

export const SECTIONS = [
  "retention",
  "files",
  "errorHandling",
  "scheduling",
  "compression",
  "metadataCompression",
  "splitter",
  "actions",
  "osSnapshots",
  "logging",
  "upload",
] as const;

const field = (at: string, type: FieldType, rule: MergeRule, until?: string): PolicyField => ({
  at: at.split("."),
  type,
  rule,
  ...(until === undefined ? {} : { until }),
});

export const POLICY_FIELDS: readonly PolicyField[] = [
  ...["keepLatest", "keepHourly", "keepDaily", "keepWeekly", "keepMonthly", "keepAnnual"].map((name) => field(`retention.${name}`, "count", "first")),
  field("retention.ignoreIdenticalSnapshots", "flag", "first"),
  field("files.ignore", "texts", "nonzero"),
  field("files.noParentIgnore", "flag", "nonzero"),
  field("files.ignoreDotFiles", "texts", "nonzero"),
  field("files.noParentDotFiles", "flag", "nonzero"),
  field("files.ignoreCacheDirs", "flag", "first"),
  field("files.maxFileSize", "bigCount", "nonzero"),
  field("files.oneFileSystem", "flag", "first"),
  field("errorHandling.ignoreFileErrors", "flag", "first"),
  field("errorHandling.ignoreDirectoryErrors", "flag", "first"),
  field("errorHandling.ignoreUnknownTypes", "flag", "first"),
  field("scheduling.intervalSeconds", "bigCount", "nonzero"),
  field("scheduling.timeOfDay", "any", "union", "noParentTimeOfDay"),
  field("scheduling.noParentTimeOfDay", "flag", "nonzero"),
  field("scheduling.manual", "flag", "nonzero"),
  field("scheduling.cron", "texts", "nonzero"),
  field("scheduling.runMissed", "flag", "first"),
  field("compression.compressorName", "text", "nonzero"),
  field("compression.onlyCompress", "texts", "union", "noParentOnlyCompress"),
  field("compression.noParentOnlyCompress", "flag", "nonzero"),
  field("compression.neverCompress", "texts", "union", "noParentNeverCompress"),
  field("compression.noParentNeverCompress", "flag", "nonzero"),
  field("compression.minSize", "bigCount", "nonzero"),
  field("compression.maxSize", "bigCount", "nonzero"),
  field("metadataCompression.compressorName", "text", "nonzero"),
  field("splitter.algorithm", "text", "nonzero"),
  field("actions.beforeFolder", "any", "own"),
  field("actions.afterFolder", "any", "own"),
  field("actions.beforeSnapshotRoot", "any", "first"),
  field("actions.afterSnapshotRoot", "any", "first"),
  field("osSnapshots.volumeShadowCopy.enable", "count", "first"),
  field("logging.directories.snapshotted", "count", "first"),
  field("logging.directories.ignored", "count", "first"),
  field("logging.entries.snapshotted", "count", "first"),
  field("logging.entries.ignored", "count", "first"),
  field("logging.entries.cacheHit", "count", "first"),
  field("logging.entries.cacheMiss", "count", "first"),
  field("upload.maxParallelSnapshots", "count", "first"),
  field("upload.maxParallelFileReads", "count", "first"),
  field("upload.parallelUploadAboveSize", "bigCount", "first"),
];
