/** Snapshots as `kopia snapshot list --json` shows them, so that scripts written for it go on working. */
import { encodeSnapshot, type Snapshot } from "@drayage/repo";

/** The members of the stored manifest, with its id. */
export function snapshotJson(snapshot: Snapshot): Record<string, unknown> {
  return { ...(JSON.parse(encodeSnapshot(snapshot)) as Record<string, unknown>), id: snapshot.id };
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
