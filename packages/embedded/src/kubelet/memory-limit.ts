/**
 * Memory limits through control groups, for containers of a kubelet that runs as root. Version 1 (a hierarchy of its own) and version 2 (one hierarchy, whose root may hold
 * processes and children at once) are both found; where neither can be written, limits are not enforced and `createMemoryLimit` says so by returning undefined.
 */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

export interface MemoryLimit {
  /** The control group's folder. */
  readonly folder: string;
  /** A process that writes 0 here joins. */
  readonly procs: string;
}

const V1 = "/sys/fs/cgroup/memory";
const V2 = "/sys/fs/cgroup";

export function createMemoryLimit(name: string, limitBytes: number): MemoryLimit | undefined {
  const v1 = existsSync(join(V1, "memory.limit_in_bytes"));
  const v2 = !v1 && existsSync(join(V2, "cgroup.controllers")) && readFileSync(join(V2, "cgroup.subtree_control"), "utf8").includes("memory");
  if (!v1 && !v2) return undefined;
  const folder = join(v1 ? V1 : V2, `drayage-${name}`);
  try {
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, v1 ? "memory.limit_in_bytes" : "memory.max"), String(limitBytes));
    if (v2) writeFileSync(join(folder, "memory.swap.max"), "0");
    return { folder, procs: join(folder, "cgroup.procs") };
  } catch {
    removeMemoryLimit(folder);
    return undefined;
  }
}

/** How often the kernel has killed a process of this group for want of memory. */
export function outOfMemoryKills(folder: string): number {
  for (const file of ["memory.oom_control", "memory.events"]) {
    try {
      const count = /^oom_kill (\d+)$/m.exec(readFileSync(join(folder, file), "utf8"))?.[1];
      if (count !== undefined) return Number(count);
    } catch {
      // The other version's file.
    }
  }
  return 0;
}

/** Removes an empty group; one that is not there, or still has processes, is left. */
export function removeMemoryLimit(folder: string): void {
  try {
    rmdirSync(folder);
  } catch {
    // A group in use goes with its last process's container.
  }
}
