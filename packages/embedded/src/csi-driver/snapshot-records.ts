/** What volumes, snapshots and groups of them are called, and how a snapshot is told to those who ask. */
import { createHash } from "node:crypto";
import type { Clock } from "@drayage/base";
import { type CsiSnapshot, csiError, type Sendable } from "@drayage/protocols/csi";
import type { ContentOrigin, SnapshotRecord, StorageRecord } from "./storage-record.ts";

/** Ids follow from names, so that a request that is made again finds what the first one made. */
export function idOf(prefix: "vol" | "snap" | "group", name: string): string {
  return `${prefix}-${createHash("sha256").update(name).digest("hex").slice(0, 32)}`;
}

export function requireId(id: string, action: string): void {
  if (id === "") throw csiError("INVALID_ARGUMENT", `Cannot ${action}: no id is given`);
}

/** A source that was deleted while it was copied gives no volume: the copy may lack what went first. */
export function requireOrigin(record: StorageRecord, origin: ContentOrigin | undefined): void {
  if (origin === undefined) return;
  const there =
    origin.kind === "volume" ? record.volumes[origin.id] !== undefined : record.snapshots[origin.id]?.deleted === undefined && origin.id in record.snapshots;
  if (!there) throw csiError("NOT_FOUND", `Cannot copy ${origin.kind} "${origin.id}": it was deleted meanwhile`);
}

/** Snapshots that are deleted and that no shallow volume shows any more leave the record; their ids are returned. */
export function withoutUnusedSnapshots(record: StorageRecord): { record: StorageRecord; freed: readonly string[] } {
  const shown = new Set(Object.values(record.volumes).flatMap((volume) => (volume.shallow === true ? [volume.origin?.id] : [])));
  const freed = Object.values(record.snapshots).filter((snapshot) => snapshot.deleted === true && !shown.has(snapshot.id));
  const kept = Object.values(record.snapshots).filter((snapshot) => !freed.includes(snapshot));
  return { record: { ...record, snapshots: Object.fromEntries(kept.map((snapshot) => [snapshot.id, snapshot])) }, freed: freed.map((snapshot) => snapshot.id) };
}

/** Also a member of a group is told without it: it may be deleted by itself, and the CSI specification wants the group's id only where that is not so. */
export function snapshotMessage(snapshot: SnapshotRecord, clock: Clock): Sendable<CsiSnapshot> {
  return {
    snapshotId: snapshot.id,
    sourceVolumeId: snapshot.volumeId,
    sizeBytes: String(snapshot.sizeBytes),
    creationTime: timestampOf(snapshot),
    readyToUse: clock.nowMs() >= snapshot.readyAtMs,
  };
}

export function timestampOf({ createdNs }: SnapshotRecord): { readonly seconds: string; readonly nanos: number } {
  const ns = BigInt(createdNs);
  return { seconds: (ns / 1_000_000_000n).toString(), nanos: Number(ns % 1_000_000_000n) };
}
