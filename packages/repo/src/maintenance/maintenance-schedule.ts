/**
 * `kopia.maintenance`: when maintenance is due, and what its tasks did (kopia-format.md 8.3).
 *
 *   nonce (12) ‖ AES-256-GCM(maintenance key, JSON, additional data "maintenance") ‖ tag (16)
 *   JSON: nextFullMaintenance, nextQuickMaintenance: times; runs: by task name, newest first, 50 at most: {start, end, success?, error?, extra?}
 *
 * The history is an input to safety decisions of whoever maintains next, so names and times are recorded as they are.
 */
import { DrayError, hasCode, type RandomSource, utf8 } from "@drayage/base";
import type { BlobStorage } from "@drayage/blob";
import { formatGoTime, type JsonObject, JsonReader, parseJsonObject, stringifyGo } from "../format/go-json.ts";
import { openAes, sealAes } from "../format/key-hierarchy.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";

export const MAINTENANCE_BLOB_ID = "kopia.maintenance";
const ADDITIONAL_DATA = utf8("maintenance");
const RUNS_MAX = 50;
/** Go's zero time: never. */
const NEVER = "0001-01-01T00:00:00Z";

/** Tasks by the names that Kopia gives them. */
export const MAINTENANCE_TASKS = [
  "snapshot-gc",
  "quick-delete-blobs",
  "full-delete-blobs",
  "quick-rewrite-contents",
  "full-rewrite-contents",
  "full-drop-deleted-content",
  "index-compaction",
  "extend-blob-retention-time",
  "cleanup-logs",
  "advance-epoch",
  "delete-superseded-epoch-indexes",
  "cleanup-epoch-markers",
  "generate-epoch-range-index",
  "compact-single-epoch",
] as const;
export type MaintenanceTask = (typeof MAINTENANCE_TASKS)[number];

export interface MaintenanceRun {
  readonly startMs: number;
  readonly endMs: number;
  readonly success: boolean;
  readonly error: string;
  /** What the task reports about itself, carried along as it is. */
  readonly extra: readonly unknown[];
}

export interface MaintenanceSchedule {
  /** 0: never planned. */
  readonly nextFullMs: number;
  readonly nextQuickMs: number;
  /** By task, newest first; names that this program does not know are kept. */
  readonly runs: ReadonlyMap<string, readonly MaintenanceRun[]>;
}

export const noSchedule: MaintenanceSchedule = { nextFullMs: 0, nextQuickMs: 0, runs: new Map() };

/** The runs of a task that succeeded, newest first. */
export function successfulRuns(schedule: MaintenanceSchedule, ...tasks: readonly MaintenanceTask[]): MaintenanceRun[] {
  return tasks
    .flatMap((task) => schedule.runs.get(task) ?? [])
    .filter(({ success }) => success)
    .sort((a, b) => b.startMs - a.startMs);
}

/** The schedule with one more run. */
export function withRun(schedule: MaintenanceSchedule, task: MaintenanceTask, run: MaintenanceRun): MaintenanceSchedule {
  const runs = new Map(schedule.runs);
  runs.set(task, [run, ...(schedule.runs.get(task) ?? [])].slice(0, RUNS_MAX));
  return { ...schedule, runs };
}

/** The schedule, an empty one where there is none. Throws REPO_CORRUPT, with what to do about it. */
export async function loadSchedule(storage: BlobStorage, format: RepositoryFormat, signal?: AbortSignal): Promise<MaintenanceSchedule> {
  let sealed: Uint8Array;
  try {
    sealed = await storage.get(MAINTENANCE_BLOB_ID, signal === undefined ? {} : { signal });
  } catch (error) {
    if (hasCode(error, "BLOB_NOT_FOUND")) return noSchedule;
    throw error;
  }
  const plain = openAes(format.maintenanceKey, ADDITIONAL_DATA, sealed);
  if (plain === undefined) {
    throw new DrayError("REPO_CORRUPT", `Cannot read "${MAINTENANCE_BLOB_ID}": it does not decrypt`, {
      hint: "It holds the times of maintenance only: delete the blob, and maintenance begins a new history.",
    });
  }
  return decodeSchedule(plain);
}

export async function saveSchedule(storage: BlobStorage, format: RepositoryFormat, schedule: MaintenanceSchedule, random: RandomSource): Promise<void> {
  await storage.put(MAINTENANCE_BLOB_ID, sealAes(format.maintenanceKey, ADDITIONAL_DATA, encodeSchedule(schedule), random));
}

/** Throws REPO_CORRUPT. */
export function decodeSchedule(plain: Uint8Array): MaintenanceSchedule {
  const document = `"${MAINTENANCE_BLOB_ID}"`;
  const json = new JsonReader(parseJsonObject(plain, document), document);
  const runs = new Map<string, MaintenanceRun[]>();
  const byTask = json.object("runs");
  for (const task of byTask?.keys() ?? []) {
    runs.set(
      task,
      (byTask?.list(task) ?? []).map((run) => ({
        startMs: run.timeMs("start"),
        endMs: run.timeMs("end"),
        success: run.flag("success"),
        error: run.text("error"),
        extra: run.values("extra"),
      })),
    );
  }
  return { nextFullMs: json.timeMs("nextFullMaintenance"), nextQuickMs: json.timeMs("nextQuickMaintenance"), runs };
}

export function encodeSchedule(schedule: MaintenanceSchedule): Uint8Array {
  const time = (ms: number): string => (ms === 0 ? NEVER : formatGoTime(ms));
  const runs: Record<string, JsonObject[]> = {};
  for (const task of [...schedule.runs.keys()].sort()) {
    runs[task] = (schedule.runs.get(task) ?? []).map((run) => ({
      start: time(run.startMs),
      end: time(run.endMs),
      success: run.success ? true : undefined,
      error: run.error === "" ? undefined : run.error,
      extra: run.extra.length === 0 ? undefined : run.extra,
    }));
  }
  return utf8(
    stringifyGo({
      nextFullMaintenance: time(schedule.nextFullMs),
      nextQuickMaintenance: time(schedule.nextQuickMs),
      runs: schedule.runs.size === 0 ? null : runs,
    }),
  );
}
