export type { EntryProblem } from "./entry-problems.ts";
export { type DataPathPhase, type DataPathProgress, type OnProgress, RateMeter } from "./progress.ts";
export type { ParentChoice } from "./upload/parents.ts";
export { type UploadResult, type UploadSnapshotOptions, type UploadSource, uploadSnapshot } from "./upload/upload-snapshot.ts";
