import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";

/** The mount points of this process's namespace, in the order in which they were mounted. */
export function mountPoints(): string[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => line.split(" ")[4] ?? [])
    .map((path) => path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8))));
}

/** Unmounts everything at and below a folder, the latest first; what is still in use goes when its last user does. */
export async function unmountBelow(folder: string): Promise<number> {
  const points = mountPoints().filter((path) => path === folder || path.startsWith(`${folder}/`));
  for (const path of points.reverse()) await promisify(execFile)("umount", ["-l", path]);
  return points.length;
}

/** Makes a folder a mount point whose later mounts show up in namespaces that were made from it; one that is already so is left alone. */
export async function makeShared(folder: string): Promise<void> {
  if (!mountPoints().includes(folder)) await promisify(execFile)("mount", ["--bind", folder, folder]);
  await promisify(execFile)("mount", ["--make-rshared", folder]);
}
