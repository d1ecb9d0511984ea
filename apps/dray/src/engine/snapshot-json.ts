/** Snapshots as `kopia snapshot list --json` shows them, so that scripts written for it go on working. */
import { encodeSnapshot, type Snapshot } from "@drayage/repo";

/** The members of the stored manifest, with its id. */
export function snapshotJson(snapshot: Snapshot): Record<string, unknown> {
  return { ...(JSON.parse(encodeSnapshot(snapshot)) as Record<string, unknown>), id: snapshot.id };
}

/** What kopia's command line puts before the names of its tags, so that none is taken for another label of the manifest; Velero's tags have no such thing. */
const TAG_PREFIX = "tag:";

/** Tags as kopia's command line stores them. */
export function storedTags(tags: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(tags).map(([name, value]) => [TAG_PREFIX + name, value]));
}

/** Whether a snapshot has all these tags, whoever stored them. */
export function hasTags({ tags }: Snapshot, wanted: Readonly<Record<string, string>>): boolean {
  return Object.entries(wanted).every(([name, value]) => tags[TAG_PREFIX + name] === value || tags[name] === value);
}

/** The name of a tag as its user gave it. */
export function tagName(stored: string): string {
  return stored.startsWith(TAG_PREFIX) ? stored.slice(TAG_PREFIX.length) : stored;
}

/** `2026-01-02 03:04:05` in UTC. */
export function formatStart(ns: bigint): string {
  return new Date(Number(ns / 1_000_000n)).toISOString().slice(0, 19).replace("T", " ");
}

/** `ID` or `ID/sub/path` or `ID:/path`. */
export function parseSnapshotPath(text: string): { readonly id: string; readonly path: string } {
  const match = /^([^/:]+)(?::?\/?(.*))$/s.exec(text);
  return { id: match?.[1] ?? text, path: match?.[2] ?? "" };
}
