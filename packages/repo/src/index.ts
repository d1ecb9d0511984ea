export type { IndexCachePlace } from "./content/committed-index.ts";
export { isContentId, keyOf, makeContentId, parseContentId, prefixOf } from "./content/content-id.ts";
export { ContentLanes, sessionBytes } from "./content/content-lanes.ts";
export { type ContentStatistics, Contents, type OpenContentsOptions, openContents } from "./content/contents.ts";
export type { KnownToLane, LaneOptions, SealedPack } from "./content/sealing-lane.ts";
export * from "./content-port.ts";
export * from "./copy/repository-statistics.ts";
export { absentStorage, type ListedStorage, planSync, type SyncPlan, type SyncPlanOptions } from "./copy/sync-plan.ts";
export * from "./copy/sync-repository.ts";
export { BLOB_CONFIG_ID } from "./format/blob-config.ts";
export { type BlockFormat, type BlockFormatChoices, DEFAULT_EPOCH_PARAMETERS, type EpochParameters } from "./format/block-format.ts";
export { FORMAT_BLOB_ID } from "./format/format-blob.ts";
export { type DeriveFormatKey, rememberingKeys } from "./format/key-hierarchy.ts";
export { type CreateFormatOptions, createRepositoryFormat, type FormatOptions, openRepositoryFormat, RepositoryFormat } from "./format/repository-format.ts";
export { checkUdmRepository, readUdmRepository, UDM_REPOSITORY_ID, writeUdmRepository } from "./format/udm-repository.ts";
export type { IndexEntry } from "./index-blobs/pack-index.ts";
export { type AttachedIndex, attachIndex, type SharedIndex } from "./index-blobs/shared-index.ts";
export {
  decodeMaintenanceParameters,
  type LoadedMaintenanceParameters,
  loadMaintenanceParameters,
  type MaintainOptions,
  maintainRepository,
} from "./maintenance/maintain-repository.ts";
export type { MaintenanceReport, MaintenanceTaskReport } from "./maintenance/maintenance.ts";
export * from "./maintenance/maintenance-parameters.ts";
export { loadSchedule, type MaintenanceRun, type MaintenanceSchedule } from "./maintenance/maintenance-schedule.ts";
export { fullSafety, type MaintenanceSafety, noSafety } from "./maintenance/safety.ts";
export type { Labels } from "./manifest/manifest-content.ts";
export * from "./manifest/manifest-store.ts";
export { type Chunk, ChunkList } from "./object/chunk-list.ts";
export * from "./object/object-id.ts";
export * from "./object/object-reader.ts";
export * from "./object/object-writer.ts";
export * from "./open-repository.ts";
export * from "./policy/compression-choice.ts";
export { PARALLEL_UPLOAD_ABOVE_BYTES } from "./policy/default-policy.ts";
export { EffectivePolicy, type RetentionRules } from "./policy/effective-policy.ts";
export * from "./policy/expire-snapshots.ts";
export * from "./policy/ignore-scope.ts";
export { emptyPolicy, encodePolicy, type PolicyDocument, valueAt, withValue } from "./policy/policy-document.ts";
export * from "./policy/policy-store.ts";
export * from "./policy/policy-target.ts";
export * from "./policy/policy-tree.ts";
export { retentionReasons } from "./policy/retention.ts";
export { veleroPathPolicy } from "./policy/velero-policy.ts";
export * from "./policy/wildcard.ts";
export * from "./repair/plan-repair.ts";
export { StagedStorage } from "./repair/staged-storage.ts";
export * from "./repository.ts";
export * from "./snapshot/directory-entry.ts";
export * from "./snapshot/directory-listing.ts";
export type { DirectorySummary, FailedEntry } from "./snapshot/directory-summary.ts";
export * from "./snapshot/extended-metadata.ts";
export { byteStringOf, isUtf8, textOfByteString } from "./snapshot/go-text.ts";
export * from "./snapshot/raw-listing.ts";
export * from "./snapshot/snapshot-manifest.ts";
export * from "./snapshot/snapshot-source.ts";
export * from "./snapshot/snapshot-store.ts";
export * from "./upgrade/upgrade-repository.ts";
