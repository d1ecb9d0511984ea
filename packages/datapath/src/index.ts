export { type Difference, diffTrees, type TreeDifference, type TreeSide } from "./diff-trees.ts";
export type { EntryProblem } from "./entry-problems.ts";
export { findInSnapshot } from "./find-in-snapshot.ts";
export { findImported, IMPORTED_TAG, type ImportResticOptions, type ImportResult, importResticSnapshot } from "./import/import-restic-snapshot.ts";
export { type DataPathPhase, type DataPathProgress, type OnProgress, RateMeter, type TransferLimit } from "./progress.ts";
export { blockFileOf, deviceBytesOf, isBlockSnapshot } from "./restore/block-snapshot.ts";
export { KopiaSource, restoreEntryOf } from "./restore/kopia-source.ts";
export { findInResticSnapshot, type ResticRef, ResticSource, resticRootOf } from "./restore/restic-source.ts";
export {
  type RestoreFromOptions,
  type RestoreReading,
  type RestoreResult,
  type RestoreSnapshotOptions,
  type RestoreTarget,
  restoreFrom,
  restoreSnapshot,
} from "./restore/restore-snapshot.ts";
export * from "./restore/restore-source.ts";
export { CHANGE_TAGS, type ChangedBlocks } from "./upload/changed-blocks.ts";
export { type KnownAttributesOptions, withKnownAttributes } from "./upload/known-attributes.ts";
export { type LookAhead, withLookAhead } from "./upload/look-ahead.ts";
export type { ParentChoice } from "./upload/parents.ts";
export { type UploadResult, type UploadSnapshotOptions, type UploadSource, uploadSnapshot } from "./upload/upload-snapshot.ts";
export { type VerifyResticOptions, type VerifyResticReport, verifyRestic } from "./verify/verify-restic.ts";
export { contentProblem, packLengths, type VerifyMode, type VerifyReport, type VerifySnapshotOptions, verifySnapshots } from "./verify/verify-snapshot.ts";
