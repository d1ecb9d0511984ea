/** What a process and those it starts take: processor time and memory, read from /proc while they run. */
import { readdirSync, readFileSync } from "node:fs";
import { systemClock } from "@drayage/base";

export interface ProcessUse {
  /** Processor seconds of the process with its children since `startMeasuring`. */
  readonly cpuSeconds: number;
  /** The most memory that the process has held in its life. */
  readonly peakMiB: number;
  /** The most that it and its children were seen to hold together. */
  readonly peakWithChildrenMiB: number;
}

const LOOK_EVERY_MS = 100;
/** Ticks a second in /proc, on every Linux there is. */
const TICKS = 100;

/** Looks at a process until the returned function is called. */
export function startMeasuring(pid: number): () => ProcessUse {
  const ticksOf = new Map<number, number>();
  const before = new Map<number, number>();
  let peakWithChildrenMiB = 0;
  const look = (into: Map<number, number>): void => {
    let total = 0;
    for (const member of [pid, ...descendantsOf(pid)]) {
      const use = read(member);
      if (use === undefined) continue;
      into.set(member, use.ticks);
      total += use.residentMiB;
    }
    peakWithChildrenMiB = Math.max(peakWithChildrenMiB, total);
  };
  look(before);
  const stopped = new AbortController();
  const again = (): void => {
    look(ticksOf);
    cancel = systemClock.after(LOOK_EVERY_MS, again);
  };
  let cancel = systemClock.after(LOOK_EVERY_MS, again);
  stopped.signal.addEventListener("abort", () => cancel());
  return () => {
    stopped.abort();
    look(ticksOf);
    const ticks = [...ticksOf].reduce((sum, [member, count]) => sum + count - (before.get(member) ?? 0), 0);
    const peakKib = Number(/VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
    return { cpuSeconds: ticks / TICKS, peakMiB: peakKib / 1024, peakWithChildrenMiB };
  };
}

function read(pid: number): { readonly ticks: number; readonly residentMiB: number } | undefined {
  try {
    // After the name, which may hold blanks and brackets: utime and stime are fields 14 and 15, the resident pages field 24 (proc_pid_stat(5)).
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { ticks: Number(fields[11]) + Number(fields[12]), residentMiB: (Number(fields[21]) * 4096) / 2 ** 20 };
  } catch {
    return undefined;
  }
}

function descendantsOf(pid: number): number[] {
  try {
    const children = readdirSync(`/proc/${pid}/task`).flatMap((thread) =>
      readFileSync(`/proc/${pid}/task/${thread}/children`, "utf8").split(" ").filter(Boolean).map(Number),
    );
    return children.flatMap((child) => [child, ...descendantsOf(child)]);
  } catch {
    return [];
  }
}
