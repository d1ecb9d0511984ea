import { readFileSync } from "node:fs";

/** Fields 9 and 31 of /proc/PID/stat, see proc_pid_stat(5). */
const PF_EXITING = 0x4;
const PENDING_KILL = 1 << 8;

/** A process that cannot be mistaken for a later one with the same number. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks between the machine's start and the process's, field 22 of /proc/PID/stat. */
  readonly startTicks: string;
}

/** The identity of a running process, or undefined when there is none (a zombie counts as none). */
export function identifyProcess(pid: number): ProcessIdentity | undefined {
  const fields = statFields(pid);
  const startTicks = fields?.[19];
  return fields === undefined || startTicks === undefined || fields[0] === "Z" || fields[0] === "X" ? undefined : { pid, startTicks };
}

/** Whether exactly this process still runs. */
export function isRunning(identity: ProcessIdentity): boolean {
  return identifyProcess(identity.pid)?.startTicks === identity.startTicks;
}

/** Whether this process still counts as running but has been killed: the kernel takes a moment to take a large one apart, and its ports are held until then. */
export function isEnding(identity: ProcessIdentity): boolean {
  const fields = isRunning(identity) ? statFields(identity.pid) : undefined;
  if (fields === undefined) return false;
  const [flags, pending] = [Number(fields[6]), Number(fields[28])];
  return (flags & PF_EXITING) !== 0 || (pending & PENDING_KILL) !== 0;
}

/** Sends a signal to exactly this process (`group`: to its process group); false when it is gone. Throws what the system says when it may not. */
export function signalProcess(identity: ProcessIdentity, signal: NodeJS.Signals, options: { readonly group?: boolean } = {}): boolean {
  if (!isRunning(identity)) return false;
  try {
    process.kill(options.group === true ? -identity.pid : identity.pid, signal);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Whether the process has a handler for this signal, or ignores it on purpose: bit `number - 1` of SigCgt and SigIgn in /proc/PID/status. */
export function minds(pid: number, signalNumber: number): boolean {
  const status = readOrUndefined(`/proc/${pid}/status`) ?? "";
  const bit = 1n << BigInt(signalNumber - 1);
  return ["SigCgt", "SigIgn"].some((name) => {
    const mask = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(status)?.[1];
    return mask !== undefined && (BigInt(`0x${mask}`) & bit) !== 0n;
  });
}

/** The fields after the name, which may itself hold spaces and parentheses. The first is the state. */
function statFields(pid: number): string[] | undefined {
  const stat = readOrUndefined(`/proc/${pid}/stat`);
  return stat?.slice(stat.lastIndexOf(")") + 2).split(" ");
}

function readOrUndefined(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
