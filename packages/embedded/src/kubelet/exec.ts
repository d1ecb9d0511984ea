/** Runs a command inside a running container: its namespaces, root, environment, user and control group's limits are those of the container. */
import { type ChildProcess, spawn } from "node:child_process";
import { type Clock, DrayError } from "@drayage/base";
import type { ContainerRecord } from "./container-runtime.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { inTerminal, setprivArguments } from "./sandbox-script.ts";
import { shellCommand } from "./shell-quote.ts";

export interface ExecOptions {
  readonly command: readonly string[];
  readonly stdin: boolean;
  /** Gives the command a terminal; its stderr is then part of stdout. */
  readonly tty: boolean;
  /** Columns and rows of that terminal. */
  readonly size?: { readonly columns: number; readonly rows: number };
}

/** Starts the command. Its exit code is that of the returned process, in whose process group all of it is; throws KUBE_NOT_FOUND when the container does not run. */
export function execInContainer(record: ContainerRecord, main: ProcessIdentity | undefined, rootless: boolean, options: ExecOptions): ChildProcess {
  if (main === undefined) {
    throw new DrayError("KUBE_NOT_FOUND", `Cannot run a command in container "${record.identity.container}": it is not running`);
  }
  const words = options.tty ? terminalCommand(options) : [...options.command];
  const asUser = record.user === undefined || rootless ? words : ["/usr/bin/setpriv", ...setprivArguments(record.user), ...words];
  const namespaces = ["--target", String(main.pid), "--mount", "--uts", "--ipc", "--pid", "--root"];
  const enter = [...namespaces, ...(rootless ? ["--user", "--preserve-credentials"] : []), `--wdns=${record.workingDir}`, "--", ...asUser];
  // `nsenter` itself must not be looked up in the container's PATH.
  return spawn("/usr/bin/nsenter", enter, {
    detached: true,
    stdio: [options.stdin ? "pipe" : "ignore", "pipe", "pipe"],
    env: { ...record.environment, ...(options.tty ? { TERM: record.environment["TERM"] ?? "xterm" } : {}) },
  });
}

function terminalCommand(options: ExecOptions): string[] {
  const resize = options.size === undefined ? "" : `stty cols ${options.size.columns} rows ${options.size.rows} 2>/dev/null; `;
  return inTerminal(`${resize}exec ${shellCommand(options.command)}`);
}

export interface ExecOutcome {
  readonly exitCode: number;
  /** stdout and stderr as they came, cut at the limit. */
  readonly output: string;
  readonly timedOut: boolean;
}

const OUTPUT_BYTES_MAX = 10 * 1024;

/** Runs a command to its end and keeps the first of its output, for probes and hooks. A command that takes longer is killed. */
export async function runInContainer(
  record: ContainerRecord,
  main: ProcessIdentity | undefined,
  options: { readonly command: readonly string[]; readonly rootless: boolean; readonly timeoutMs: number; readonly clock: Clock },
): Promise<ExecOutcome> {
  const child = execInContainer(record, main, options.rootless, { command: options.command, stdin: false, tty: false });
  const parts: Buffer[] = [];
  let length = 0;
  const keep = (chunk: Buffer): void => {
    if (length < OUTPUT_BYTES_MAX) parts.push(chunk.subarray(0, OUTPUT_BYTES_MAX - length));
    length += chunk.length;
  };
  child.stdout?.on("data", keep);
  child.stderr?.on("data", keep);
  let timedOut = false;
  const cancel = options.clock.after(options.timeoutMs, () => {
    timedOut = true;
    endExec(child);
  });
  const exitCode = await new Promise<number>((resolve) => {
    child.on("error", () => resolve(126));
    child.on("close", (code) => resolve(code ?? 137));
  });
  cancel();
  return { exitCode, output: Buffer.concat(parts).toString("utf8"), timedOut };
}

/** Kills a command with everything in its process group. */
export function endExec(child: ChildProcess): void {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has just ended.
  }
}
