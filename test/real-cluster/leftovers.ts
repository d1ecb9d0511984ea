/** What namespaces do not take with them, and what ends a cluster that is not to be asked: control groups, mounts, processes. */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { run, runFolder } from "./machine.ts";

const CGROUPS = "/sys/fs/cgroup";

/** The control group of every pod of this run, below the root of each hierarchy. */
export function cgroupName(folder: string = runFolder()): string {
  return basename(folder);
}

/** Roots of the hierarchies: one of cgroup v2, or one for each controller of v1. */
function hierarchies(): string[] {
  if (existsSync(join(CGROUPS, "cgroup.controllers"))) return [CGROUPS];
  return readdirSync(CGROUPS, { withFileTypes: true })
    .filter((entry) => entry.isDirectory() && existsSync(join(CGROUPS, entry.name, "cgroup.procs")))
    .map(({ name }) => join(CGROUPS, name));
}

/** Makes the control group under which a kubelet makes those of pods; returns its path as the kubelet names it. */
export function makeCgroups(): string {
  for (const root of hierarchies()) mkdirSync(join(root, cgroupName()), { recursive: true });
  return `/${cgroupName()}`;
}

/** Removes the control groups of pods, and with `root` their common one. */
export function removeCgroups(root: boolean, folder?: string): void {
  for (const hierarchy of hierarchies()) {
    const top = join(hierarchy, cgroupName(folder));
    if (!existsSync(top)) continue;
    for (const path of [...foldersBelow(top), ...(root ? [top] : [])]) rmdirSync(path);
  }
}

/** Deepest first. */
function foldersBelow(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .flatMap(({ name }) => [...foldersBelow(join(folder, name)), join(folder, name)]);
}

export function processesWhere(wanted: (pid: number) => boolean): number[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map(Number)
    .filter((pid) => pid !== process.pid && wanted(pid));
}

/** Kills processes until there are no more of them. */
export async function endAll(find: () => readonly number[]): Promise<void> {
  const giveUpAt = Date.now() + 20_000;
  for (let found = find(); found.length > 0; found = find()) {
    if (Date.now() > giveUpAt) throw new Error(`processes do not end: ${found.join(", ")}`);
    for (const pid of found) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It has ended meanwhile.
      }
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** Takes mounts away, the latest first. */
export function unmountAll(find: () => readonly string[]): void {
  for (let found = find(); found.length > 0; ) {
    for (const line of [...found].reverse()) {
      // MOUNTPOINT is the second word; the kernel writes blanks in it as octal numbers.
      const place = (line.split(" ")[1] ?? "").replaceAll(/\\(\d{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
      run("umount", "--lazy", place);
    }
    const left = find();
    if (left.length >= found.length) throw new Error(`mounts stay: ${left.join("; ")}`);
    found = left;
  }
}

/**
 * Detaches the loop devices over files below a folder. A kubelet puts one of its own over each block volume to hold it; that one goes first, and is known only by
 * the device below it.
 */
export function detachLoopDevices(folder: string): void {
  const devices = run("losetup", "--list", "--noheadings", "--raw", "--output", "NAME,BACK-INO,BACK-FILE")
    .split("\n")
    .map((line) => line.split(" "))
    .map(([name = "", inode = "", ...file]) => ({ name, inode, file: file.join(" ") }));
  for (const { name } of devices.filter(({ file }) => file.includes(`${folder}/`))) {
    const inode = String(statSync(name).ino);
    // Out of its namespace the path of what it is over is not known any more.
    for (const above of devices) if (above.inode === inode && (above.file === name || above.file === "/")) run("losetup", "--detach", above.name);
    run("losetup", "--detach", name);
  }
}

export function readOrEmpty(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
