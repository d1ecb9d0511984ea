/** One process at a time over a folder: a file that names the process, and when it started, since numbers of processes are used again. */
import { closeSync, openSync, readFileSync, rmSync, writeSync } from "node:fs";
import { DrayError } from "@drayage/base";

const ATTEMPTS_MAX = 3;

/** Takes the lock and returns the function that gives it back. Throws KUBE_UNAVAILABLE while the process that has it lives. */
export function lockDirectory(path: string): () => void {
  const own = identityOf(process.pid) ?? String(process.pid);
  for (let attempt = 0; attempt < ATTEMPTS_MAX; attempt++) {
    try {
      const file = openSync(path, "wx", 0o600);
      writeSync(file, own);
      closeSync(file);
      return () => rmSync(path, { force: true });
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
      const holder = readFileSync(path, "utf8");
      const pid = Number(holder.split(" ")[0]);
      if (holder !== "" && identityOf(pid) === holder) {
        throw new DrayError("KUBE_UNAVAILABLE", `Cannot use the cluster's folder "${path.replace(/\/[^/]*$/, "")}": process ${pid} uses it`, {
          hint: "Stop that cluster first, or choose another folder.",
        });
      }
      // Left behind by a process that was killed.
      rmSync(path, { force: true });
    }
  }
  throw new DrayError("KUBE_UNAVAILABLE", `Cannot lock "${path}": another process takes it at the same time`);
}

/** The number of a process and its start in clock ticks since boot (field 22 of /proc/PID/stat), or undefined when there is none. */
function identityOf(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The name in parentheses may hold anything, so fields are counted after it.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return `${pid} ${fields[19]}`;
  } catch {
    return undefined;
  }
}
