/** The last step of taking a cluster down: nothing of its storage stays mounted or attached, whatever was killed before. */
import { realpath } from "node:fs/promises";
import { detachLoopDevice } from "./loop-devices.ts";
import { listMounts, unmount } from "./mounts.ts";
import { runProgram } from "./run-program.ts";

export interface ReleasedStorage {
  readonly unmounted: readonly string[];
  readonly detached: readonly string[];
}

/**
 * Unmounts what is mounted below `folder`, the last mount first, and detaches the loop devices whose images are below it. Only for use when no driver and no pod
 * of the cluster runs any more: throws FAILED_PRECONDITION while somebody uses a mount. Gone folders and unprivileged processes have nothing to release.
 */
export async function releaseStorage(folder: string): Promise<ReleasedStorage> {
  const root = await realpath(folder).catch(() => folder);
  const isBelow = (path: string): boolean => path === root || path.startsWith(`${root}/`);
  const targets = (await listMounts()).map((mount) => mount.target).filter(isBelow);
  for (const target of targets.toReversed()) await unmount(target);
  const devices = await loopDevices();
  const detached = devices.filter(({ image }) => isBelow(image)).map(({ path }) => path);
  for (const device of detached) await detachLoopDevice(device);
  return { unmounted: targets, detached };
}

async function loopDevices(): Promise<readonly { readonly path: string; readonly image: string }[]> {
  const { exitCode, stdout } = await runProgram("losetup", ["--list", "--json", "--output", "NAME,BACK-FILE"]);
  if (exitCode !== 0 || stdout.trim() === "") return [];
  const { loopdevices } = JSON.parse(stdout) as { readonly loopdevices: readonly { readonly name: string; readonly "back-file": string | null }[] };
  return loopdevices.map((device) => ({ path: device.name, image: device["back-file"] ?? "" }));
}
