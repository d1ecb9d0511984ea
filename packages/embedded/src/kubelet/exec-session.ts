/** One command, or the sight of a container's own, for a client at the other end of a wire. */
import type { ChildProcess } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import type { Clock } from "@drayage/base";
import type { ContainerRecord } from "./container-runtime.ts";
import { endExec, execInContainer } from "./exec.ts";
import type { ProcessIdentity } from "./process-identity.ts";
import { type CommandWire, roomIn, type TerminalSize } from "./streams/command-wire.ts";

export interface ExecSession {
  readonly record: ContainerRecord;
  readonly main: ProcessIdentity;
  readonly rootless: boolean;
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly clock: Clock;
}

/** A client with a terminal tells its size at once; one that does not is not waited for long. */
const SIZE_WAIT_MS = 200;
const PING_MS = 30_000;
/** How deep below `nsenter` or `script` the terminal's program is looked for. */
const DESCENT_MAX = 6;

export const STATUS = { kind: "Status", apiVersion: "v1", metadata: {} } as const;

export function serveExec(wire: CommandWire, session: ExecSession): void {
  let child: ChildProcess | undefined;
  const begun = Promise.withResolvers<ChildProcess>();
  const begin = (size?: TerminalSize): void => {
    if (child !== undefined || !wire.isOpen) return;
    child = startCommand(wire, session, size);
    begun.resolve(child);
  };
  const stopPings = keepAlive(wire, session.clock);
  wire.listen({
    stdin: (bytes) => (child === undefined ? begun.promise.then((started) => feed(started, bytes)) : feed(child, bytes)),
    stdinEnded: () => void begun.promise.then(({ stdin }) => stdin?.end()),
    resize: (size) => (child === undefined ? begin(size) : resizeTerminalOf(child.pid, session, size)),
    closed: () => {
      stopPings();
      if (child !== undefined) endExec(child);
    },
  });
  if (session.tty) session.clock.after(SIZE_WAIT_MS, () => begin());
  else begin();
}

/** Keeps a silent connection from being taken for a dead one. Returns the function that ends it. */
export function keepAlive(wire: CommandWire, clock: Clock): () => void {
  let cancel = (): void => undefined;
  const next = (): void => {
    cancel = clock.after(PING_MS, () => {
      if (!wire.isOpen) return;
      wire.ping();
      next();
    });
  };
  next();
  return () => cancel();
}

function startCommand(wire: CommandWire, session: ExecSession, size: TerminalSize | undefined): ChildProcess {
  const { record, main, rootless, command, stdin, tty } = session;
  const child = execInContainer(record, main, rootless, { command, stdin, tty, ...(size === undefined ? {} : { size }) });
  if (child.stdout !== null) wire.pump("stdout", child.stdout);
  if (child.stderr !== null) wire.pump("stderr", child.stderr);
  // A command that does not read its input is its own affair.
  child.stdin?.on("error", () => undefined);
  child.on("error", (error) => wire.finish({ ...STATUS, status: "Failure", message: error.message, code: 500 }));
  child.on("close", (code, signal) => wire.finish(statusOf(command, code ?? (signal === "SIGKILL" ? 137 : 143))));
  return child;
}

function statusOf(command: readonly string[], exitCode: number): object {
  if (exitCode === 0) return { ...STATUS, status: "Success" };
  const started = exitCode !== 126 && exitCode !== 127;
  return {
    ...STATUS,
    status: "Failure",
    reason: "NonZeroExitCode",
    message: started
      ? `command terminated with non-zero exit code: exit status ${exitCode}`
      : `command terminated with exit code ${exitCode}: "${command[0]}" cannot be run`,
    details: { causes: [{ reason: "ExitCode", message: String(exitCode) }] },
  };
}

/** Hands input on; the promise is settled when there is room for more. */
function feed({ stdin }: ChildProcess, payload: Buffer): Promise<void> | undefined {
  if (stdin === null || stdin.writableEnded || stdin.destroyed || stdin.write(payload)) return undefined;
  return roomIn(stdin);
}

/** The terminal belongs to a program below the one named; its number is found from outside, its size is set from inside. */
export function resizeTerminalOf(above: number | undefined, container: Pick<ExecSession, "record" | "main" | "rootless">, size: TerminalSize): void {
  const terminal = above === undefined ? undefined : terminalBelow(above, DESCENT_MAX);
  if (terminal === undefined) return;
  const command = ["stty", "-F", terminal, "cols", String(size.columns), "rows", String(size.rows)];
  const stty = execInContainer(container.record, container.main, container.rootless, { command, stdin: false, tty: false });
  stty.on("error", () => undefined);
}

function terminalBelow(pid: number, depth: number): string | undefined {
  try {
    const input = readlinkSync(`/proc/${pid}/fd/0`);
    if (/^\/dev\/pts\/\d+$/.test(input)) return input;
    if (depth === 0) return undefined;
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim().split(" ").filter(Boolean);
    return children.map((each) => terminalBelow(Number(each), depth - 1)).find((found) => found !== undefined);
  } catch {
    return undefined;
  }
}
