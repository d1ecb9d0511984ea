/**
 * What full maintenance does to packs (kopia-format.md 8.6). Each task first says what it would do, and does exactly that when told to.
 */
import { DrayError, forEachLimit, hasCode } from "@drayage/base";
import type { BlobMetadata } from "@drayage/blob";
import { idOfKey } from "../content/content-id.ts";
import type { Contents } from "../content/contents.ts";
import { sessionOfBlob } from "../content/session-id.ts";
import { JsonReader, parseJsonObject } from "../format/go-json.ts";
import type { IndexEntry } from "../index-blobs/pack-index.ts";
import { checkSessionClock, checkWriterClock } from "./clock-check.ts";
import { type MaintenanceSchedule, successfulRuns } from "./maintenance-schedule.ts";
import type { MaintenanceSafety } from "./safety.ts";

/** A pack below this part of the full size is short. */
const SHORT_PACK = 0.6;
const DELETES_AT_ONCE = 16;
/** Contents that are moved become part of the repository so many at a time. */
const FLUSH_EVERY = 10_000;
/** The storage's clock may tell a blob that is older than another the same second. */
const TIMESTAMP_GRAIN_MS = 1000;

export interface MaintenanceTimes {
  /** By the storage's clock, of the blob that was written when maintenance began. */
  readonly startedMs: number;
  readonly nowMs: number;
  readonly safety: MaintenanceSafety;
}

/** Packs that are mostly empty, and what is to be moved out of them, in numbers. */
export interface RewritePlan {
  readonly packs: ReadonlySet<string>;
  readonly contents: number;
  readonly bytes: number;
  readonly times: MaintenanceTimes;
}

/** Whether contents may be moved: packs that the last move emptied must be gone first, or they would pile up. */
export function mayRewrite(schedule: MaintenanceSchedule): boolean {
  const rewritten = latestEnd(schedule, "full-rewrite-contents", "quick-rewrite-contents");
  return rewritten === undefined || (latestEnd(schedule, "full-delete-blobs", "quick-delete-blobs") ?? 0) >= rewritten;
}

/**
 * The contents of packs that are mostly empty. A single short pack per letter is left alone: moving its contents would give another one.
 * Memory: about 130 bytes a pack.
 */
export function planRewrite(contents: Contents, times: MaintenanceTimes, letters: readonly string[] = ["p", "q"]): RewritePlan {
  const totals = new Map<string, number>();
  for (const { packBlobId, packedLength } of contents.entries()) totals.set(packBlobId, (totals.get(packBlobId) ?? 0) + packedLength);
  const short = [...totals].filter(([, total]) => total < SHORT_PACK * contents.format.block.maxPackBytes).map(([pack]) => pack);
  const packs = new Set(letters.map((letter) => short.filter((pack) => pack.startsWith(letter))).flatMap((some) => (some.length > 1 ? some : [])));
  let count = 0;
  let bytes = 0;
  const plan = (): RewritePlan => ({ packs, contents: count, bytes, times });
  if (packs.size === 0) return plan();
  for (const { packedLength } of toRewrite(contents, plan())) {
    count++;
    bytes += packedLength;
  }
  return plan();
}

export async function applyRewrite(contents: Contents, plan: RewritePlan, signal?: AbortSignal): Promise<void> {
  let moved = 0;
  for (const { key, deleted } of toRewrite(contents, plan)) {
    await contents.rewrite(idOfKey(key), { deleted }, signal);
    // Entries wait in memory until then; whatever is moved twice because this ends in between is only stored twice.
    if (++moved % FLUSH_EVERY === 0) await contents.flush(signal);
  }
  await contents.flush(signal);
}

function* toRewrite(contents: Contents, { packs, times: { nowMs, safety } }: RewritePlan): IterableIterator<IndexEntry> {
  for (const entry of contents.entries()) {
    if (packs.has(entry.packBlobId) && nowMs - entry.timestampSeconds * 1000 >= safety.rewriteMinAgeMs) yield entry;
  }
}

/**
 * Up to when deletions may be made final, in unix seconds; undefined when not yet. Two garbage collections lie in between, the later of which would have
 * taken back a deletion that somebody still needed.
 */
export function safeDropTime(schedule: MaintenanceSchedule, safety: MaintenanceSafety): number | undefined {
  const [newest, ...older] = successfulRuns(schedule, "snapshot-gc");
  if (newest === undefined) return undefined;
  const run = safety.requireTwoCollections ? older.find(({ endMs }) => newest.startMs - endMs > safety.marginBetweenCollectionsMs) : newest;
  return run === undefined ? undefined : Math.floor((run.startMs - safety.dropMarginMs) / 1000);
}

/** Whether packs may be deleted: readers whose index is from before the last move still look into the old packs. */
export function mayDeletePacks(schedule: MaintenanceSchedule, { nowMs, safety }: MaintenanceTimes): boolean {
  const rewritten = latestEnd(schedule, "full-rewrite-contents", "quick-rewrite-contents");
  return rewritten === undefined || nowMs >= rewritten + safety.rewriteToDeletionMs;
}

/** Whether the last contents that were moved were moved by full maintenance. */
export function followsFullRewrite(schedule: MaintenanceSchedule): boolean {
  return (latestEnd(schedule, "full-rewrite-contents") ?? 0) >= (latestEnd(schedule, "quick-rewrite-contents") ?? 0);
}

export interface DeletionPlan {
  readonly blobs: readonly string[];
  readonly bytes: number;
}

/** Packs and session markers that no index entry names, that are old enough, and that belong to no living session. */
export async function planPackDeletion(
  contents: Contents,
  { startedMs, safety }: MaintenanceTimes,
  letters: readonly string[] = ["p", "q", "s"],
  signal?: AbortSignal,
): Promise<DeletionPlan> {
  // In this order: a session that ends in between has stored its index before its marker went.
  const living = await livingSessions(contents, startedMs - safety.sessionExpirationMs, signal);
  await contents.refresh(signal);
  const used = new Set<string>();
  let latestSeconds = 0;
  for (const { packBlobId, timestampSeconds } of contents.entries()) {
    used.add(packBlobId);
    if (timestampSeconds > latestSeconds) latestSeconds = timestampSeconds;
  }
  checkWriterClock(contents.storage.description, latestSeconds, { startedMs });
  const cutoffMs = startedMs + TIMESTAMP_GRAIN_MS;
  const blobs: string[] = [];
  let bytes = 0;
  for (const letter of letters) {
    for await (const { id, length, timestampMs } of contents.storage.list(letter, signal)) {
      if (used.has(id) || timestampMs > cutoffMs || cutoffMs - timestampMs < safety.packDeleteMinAgeMs) continue;
      if (living.has(sessionOfBlob(id) ?? "")) continue;
      blobs.push(id);
      bytes += length;
    }
  }
  return { blobs, bytes };
}

export async function deleteBlobs(contents: Contents, names: readonly string[], signal?: AbortSignal): Promise<void> {
  await forEachLimit(names, DELETES_AT_ONCE, (id) => contents.storage.delete(id, signal), signal);
}

interface StoredMarker {
  readonly session: string;
  readonly writtenMs: number;
}

/**
 * The clocks of writers that are at work, told from markers stored after `sinceMs`; one that cannot be read says nothing about clocks. Throws REPO_CLOCK_SKEW.
 */
export async function checkSessionClocks(contents: Contents, sinceMs: number, signal?: AbortSignal): Promise<void> {
  for await (const blob of contents.storage.list("s", signal)) {
    if (blob.timestampMs <= sinceMs) continue;
    try {
      await readMarker(contents, blob, sinceMs, signal);
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT") && !hasCode(error, "BLOB_NOT_FOUND")) throw error;
    }
  }
}

/**
 * Sessions whose marker was renewed after `sinceMs`. A marker that cannot be read was cut off by a store without atomic puts, and its writer may be alive: the session is the one
 * of its name, the time that of the store. Throws REPO_CORRUPT when the name tells no session either; REPO_CLOCK_SKEW.
 */
async function livingSessions(contents: Contents, sinceMs: number, signal?: AbortSignal): Promise<Set<string>> {
  const living = new Set<string>();
  for await (const blob of contents.storage.list("s", signal)) {
    try {
      const { session, writtenMs } = await readMarker(contents, blob, sinceMs, signal);
      if (writtenMs > sinceMs) living.add(session);
    } catch (error) {
      // One that goes between listing and reading has ended: its index was stored before.
      if (hasCode(error, "BLOB_NOT_FOUND")) continue;
      const session = sessionOfBlob(blob.id);
      if (!hasCode(error, "REPO_CORRUPT") || session === undefined) throw error;
      if (blob.timestampMs > sinceMs) living.add(session);
    }
  }
  return living;
}

/** A marker. Throws REPO_CORRUPT, and REPO_CLOCK_SKEW when it was stored after `sinceMs` and written by a clock of another time. */
async function readMarker(contents: Contents, { id, timestampMs }: BlobMetadata, sinceMs: number, signal?: AbortSignal): Promise<StoredMarker> {
  const plain = contents.codec.openBlob(id, await contents.storage.get(id, signal === undefined ? {} : { signal }));
  const marker = new JsonReader(parseJsonObject(plain, `session marker "${id}"`), `session marker "${id}"`);
  const session = marker.text("id");
  if (session === "") throw new DrayError("REPO_CORRUPT", `Cannot read session marker "${id}": it names no session`);
  const writtenMs = marker.timeMs("checkpointTime");
  if (timestampMs > sinceMs) {
    const writer = `${marker.text("username")}@${marker.text("hostname")}`;
    checkSessionClock(contents.storage.description, { id, writer, writtenMs, storedMs: timestampMs });
  }
  return { session, writtenMs };
}

function latestEnd(schedule: MaintenanceSchedule, ...tasks: Parameters<typeof successfulRuns>[1][]): number | undefined {
  const ends = successfulRuns(schedule, ...tasks).map(({ endMs }) => endMs);
  return ends.length === 0 ? undefined : Math.max(...ends);
}
