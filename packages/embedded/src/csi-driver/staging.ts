/** Whether a volume is in use on a node. The record says where it was staged; the machine says whether it still is, since a node may have died. */
import { lstat } from "node:fs/promises";
import { findMount } from "./mounts.ts";
import type { VolumeRecord } from "./storage-record.ts";

/** Whether what was staged at this path is there: a mount, or, where nothing can be mounted and for block volumes, the folder that the node removes when it is done. */
export async function isStagedAt(volume: VolumeRecord, path: string): Promise<boolean> {
  if (volume.mode === "Filesystem" && (await findMount(path)) !== undefined) return true;
  const marker = await lstat(stagingMarker(path)).catch(() => undefined);
  return marker !== undefined;
}

export async function isStagedAnywhere(volume: VolumeRecord): Promise<boolean> {
  for (const path of Object.values(volume.staged)) if (await isStagedAt(volume, path)) return true;
  return false;
}

/** A staging path without a mount on it holds this file. */
export function stagingMarker(path: string): string {
  return `${path}/.staged`;
}
