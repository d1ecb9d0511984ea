/** Image files as block devices. A device is found again by the file behind it, so nothing has to be remembered. */
import { readFileSync } from "node:fs";
import { csiError } from "@drayage/protocols/csi";
import { runProgram } from "./run-program.ts";

export interface LoopDevice {
  /** `/dev/loop3` */
  readonly path: string;
  readonly readOnly: boolean;
}

/** The devices over this file, oldest first. */
export async function findLoopDevices(image: string): Promise<readonly LoopDevice[]> {
  const { exitCode, stdout, stderr } = await runProgram("losetup", ["--associated", image, "--noheadings", "--raw", "--output", "NAME,RO"]);
  if (exitCode !== 0) throw csiError("INTERNAL", `Cannot look for the loop device of "${image}": ${stderr}`);
  return stdout
    .trim()
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [path = "", readOnly] = line.split(/\s+/);
      return { path, readOnly: readOnly === "1" };
    });
}

/** Attaches a device. Direct I/O keeps the bytes out of a second page cache, so that a copy of the image after a flush is a copy of the device. */
export async function attachLoopDevice(image: string, options: { readonly readOnly: boolean }): Promise<LoopDevice> {
  const args = ["--find", "--show", "--direct-io=on", ...(options.readOnly ? ["--read-only"] : []), image];
  const { exitCode, stdout, stderr } = await runProgram("losetup", args);
  if (exitCode !== 0) throw csiError("INTERNAL", `Cannot attach a loop device to "${image}": ${stderr}`);
  return { path: stdout.trim(), readOnly: options.readOnly };
}

/** Detaches; a device that is gone already is no error. One that is still mounted somewhere goes with its last user (the kernel's autoclear). */
export async function detachLoopDevice(device: string): Promise<void> {
  const { exitCode, stderr } = await runProgram("losetup", ["--detach", device]);
  if (exitCode !== 0 && !/No such device/.test(stderr)) throw csiError("INTERNAL", `Cannot detach "${device}": ${stderr}`);
}

/** Detaches every device over this file. */
export async function detachLoopDevices(image: string): Promise<void> {
  for (const device of await findLoopDevices(image)) await detachLoopDevice(device.path);
}

/** Writes what the kernel holds of a device into its image. */
export async function flushBlockDevice(device: string): Promise<void> {
  const { exitCode, stderr } = await runProgram("blockdev", ["--flushbufs", device]);
  if (exitCode !== 0) throw csiError("INTERNAL", `Cannot flush "${device}": ${stderr}`);
}

/** Makes a device as large as its image has become. */
export async function refreshLoopDeviceSize(device: string): Promise<void> {
  const { exitCode, stderr } = await runProgram("losetup", ["--set-capacity", device]);
  if (exitCode !== 0) throw csiError("INTERNAL", `Cannot grow "${device}": ${stderr}`);
}

/** The loop device with this device number, when its image is below `folder`. */
export function loopDeviceBelow(deviceNumber: number, folder: string): string | undefined {
  // makedev(3): the minor is in bits 0-7 and 20 on; loop devices have major 7.
  const major = (deviceNumber >> 8) & 0xfff;
  const minor = (deviceNumber & 0xff) | ((deviceNumber >> 12) & 0xfff00);
  if (major !== 7) return undefined;
  try {
    const backing = readFileSync(`/sys/dev/block/7:${minor}/loop/backing_file`, "utf8").trim();
    return backing.startsWith(`${folder}/`) ? `/dev/loop${minor}` : undefined;
  } catch {
    return undefined;
  }
}
