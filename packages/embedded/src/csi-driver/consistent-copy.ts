/** Copies of volumes that are in use: the image is brought up to date first, and its file system stands still meanwhile. */
import { spawn } from "node:child_process";
import { csiError } from "@drayage/protocols/csi";
import { findLoopDevices, flushBlockDevice } from "./loop-devices.ts";
import { listMounts } from "./mounts.ts";
import type { VolumeRecord } from "./storage-record.ts";

/**
 * Runs `copy` while the image at `path` holds what was written to the volume so far. A file system is frozen: writers wait. A block device is flushed; what is
 * written to it during the copy may or may not be in it, as on a disk that loses power. Folders are copied as they are: they cannot be made to stand still.
 */
export async function quiesced<T>(volume: VolumeRecord, path: string, copy: () => Promise<T>): Promise<T> {
  if (volume.backing === "directory") return copy();
  const devices = (await findLoopDevices(path)).filter((device) => !device.readOnly);
  const mount = (await listMounts()).find((candidate) => devices.some((device) => device.path === candidate.source));
  if (mount !== undefined) return frozen(mount.target, copy);
  for (const device of devices) await flushBlockDevice(device.path);
  return copy();
}

/** A child keeps the file system frozen until its input ends, so that it thaws also when this process is killed. */
async function frozen<T>(mountPoint: string, work: () => Promise<T>): Promise<T> {
  const script = 'fsfreeze --freeze "$1" || exit 1; echo frozen; read -r _; fsfreeze --unfreeze "$1"';
  const child = spawn("sh", ["-c", script, "sh", mountPoint], {
    stdio: ["pipe", "pipe", "ignore"],
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.stdin.on("error", () => undefined);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("error", reject);
    child.once("close", (code) => reject(csiError("INTERNAL", `Cannot freeze the file system at "${mountPoint}": fsfreeze ended with ${code}`)));
  });
  try {
    return await work();
  } finally {
    child.stdin.end();
    await ended;
  }
}
