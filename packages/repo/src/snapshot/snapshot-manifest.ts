/**
 * Snapshot manifests (kopia-format.md 7.4): label `type=snapshot`, `hostname`, `username`, `path` and each tag.
 *
 *   {"id":"","source":{"host","userName","path"},"description","startTime","endTime","stats":{…},"incomplete","rootEntry":{…},"tags":{…},"pins":[…]}
 *
 * Keys in this order; `incomplete`, `rootEntry`, `tags` and `pins` are left out when empty. `id` is always empty in storage: the manifest's own id counts.
 */
import { compareUtf8, DrayError, messageOf } from "@drayage/base";
import type { Labels } from "../manifest/manifest-content.ts";
import type { Manifest } from "../manifest/manifest-store.ts";
import { isMembers } from "../object/entry-document.ts";
import { type DirectoryEntry, decodeDirectoryEntry, encodeDirectoryEntry } from "./directory-entry.ts";
import { goJsonString, goTime, parseGoTime } from "./go-text.ts";
import { labelsOfSource, type SnapshotSource } from "./snapshot-source.ts";

export const SNAPSHOT_TYPE = "snapshot";

export interface SnapshotStats {
  readonly totalSize: number;
  readonly excludedTotalSize: number;
  readonly fileCount: number;
  readonly cachedFiles: number;
  readonly nonCachedFiles: number;
  readonly dirCount: number;
  readonly excludedFileCount: number;
  readonly excludedDirCount: number;
  readonly ignoredErrorCount: number;
  readonly errorCount: number;
}

const STATS_KEYS = [
  "totalSize",
  "excludedTotalSize",
  "fileCount",
  "cachedFiles",
  "nonCachedFiles",
  "dirCount",
  "excludedFileCount",
  "excludedDirCount",
  "ignoredErrorCount",
  "errorCount",
] as const satisfies readonly (keyof SnapshotStats)[];

export const emptyStats: SnapshotStats = Object.fromEntries(STATS_KEYS.map((key) => [key, 0])) as Record<(typeof STATS_KEYS)[number], number>;

export interface SnapshotContent {
  readonly source: SnapshotSource;
  readonly description: string;
  readonly startTimeNs: bigint;
  readonly endTimeNs: bigint;
  readonly stats: SnapshotStats;
  /** Why the snapshot is not whole: `checkpoint`, `canceled`, `limit reached`. */
  readonly incomplete?: string;
  /** Missing only in manifests that were damaged by others. */
  readonly rootEntry?: DirectoryEntry;
  readonly tags: Labels;
  readonly pins: readonly string[];
}

export interface Snapshot extends SnapshotContent {
  /** Of the manifest: what Kopia and Velero call the snapshot's id. */
  readonly id: string;
}

const RESERVED_LABELS = ["type", "hostname", "username", "path"];

/** The labels under which a snapshot is stored. Throws USAGE when the source is not whole or a tag would hide one of its labels. */
export function labelsOfSnapshot(content: Pick<SnapshotContent, "source" | "tags">): Labels {
  const { userName, host, path } = content.source;
  if (userName === "" || host === "" || path === "")
    throw new DrayError("USAGE", `Cannot store a snapshot of "${userName}@${host}:${path}": user, host and path are wanted`);
  for (const tag of Object.keys(content.tags)) {
    if (tag === "" || RESERVED_LABELS.includes(tag))
      throw new DrayError("USAGE", `Cannot store a snapshot with tag "${tag}": that name is taken`, {
        hint: `Any name but ${RESERVED_LABELS.join(", ")} will do.`,
      });
  }
  return { ...content.tags, type: SNAPSHOT_TYPE, ...labelsOfSource(content.source) };
}

export function encodeSnapshot(content: SnapshotContent): string {
  const { source, tags } = content;
  const parts = [
    `"id":""`,
    `"source":{"host":${goJsonString(source.host)},"userName":${goJsonString(source.userName)},"path":${goJsonString(source.path)}}`,
    `"description":${goJsonString(content.description)}`,
    `"startTime":"${goTime(content.startTimeNs)}"`,
    `"endTime":"${goTime(content.endTimeNs)}"`,
    `"stats":{${STATS_KEYS.map((key) => `"${key}":${content.stats[key]}`)}}`,
  ];
  if (content.incomplete !== undefined) parts.push(`"incomplete":${goJsonString(content.incomplete)}`);
  if (content.rootEntry !== undefined) parts.push(`"rootEntry":${encodeDirectoryEntry(content.rootEntry)}`);
  const tagNames = Object.keys(tags).sort(compareUtf8);
  if (tagNames.length > 0) parts.push(`"tags":{${tagNames.map((name) => `${goJsonString(name)}:${goJsonString(tags[name] ?? "")}`)}}`);
  if (content.pins.length > 0) parts.push(`"pins":[${[...content.pins].sort(compareUtf8).map(goJsonString)}]`);
  return `{${parts}}`;
}

/** Throws REPO_CORRUPT, naming the manifest. */
export function decodeSnapshot(manifest: Pick<Manifest, "id" | "data">): Snapshot {
  const what = `snapshot manifest "${manifest.id}"`;
  try {
    const members: unknown = JSON.parse(manifest.data);
    const source = isMembers(members) ? members["source"] : undefined;
    if (!isMembers(members) || !isMembers(source)) throw new DrayError("REPO_CORRUPT", "it has no source");
    const { description, startTime, endTime, stats, incomplete, rootEntry, tags, pins } = members;
    return {
      id: manifest.id,
      source: { userName: text(source["userName"]), host: text(source["host"]), path: text(source["path"]) },
      description: text(description),
      startTimeNs: parseGoTime(startTime),
      endTimeNs: parseGoTime(endTime),
      stats: decodeStats(stats),
      ...(typeof incomplete === "string" && incomplete !== "" ? { incomplete } : {}),
      ...(rootEntry === undefined || rootEntry === null ? {} : { rootEntry: decodeDirectoryEntry(rootEntry, what) }),
      tags: isMembers(tags) ? Object.fromEntries(Object.entries(tags).map(([name, value]) => [name, text(value)])) : {},
      pins: Array.isArray(pins) ? pins.map(text) : [],
    };
  } catch (error) {
    throw new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${messageOf(error)}`, { cause: error, context: { manifest: manifest.id } });
  }
}

function decodeStats(value: unknown): SnapshotStats {
  const members = isMembers(value) ? value : {};
  return Object.fromEntries(
    STATS_KEYS.map((key) => {
      const count = members[key];
      return [key, typeof count === "number" ? count : 0];
    }),
  ) as Record<(typeof STATS_KEYS)[number], number>;
}

function text(value: unknown): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string") throw new DrayError("REPO_CORRUPT", `${JSON.stringify(value).slice(0, 100)} is not text`);
  return value;
}
