/**
 * One command over a WebSocket. Each message begins with its channel: 0 stdin, 1 stdout, 2 stderr, 3 how it ended (a Status as JSON), 4 the size of the terminal.
 * In version 5 the two bytes 255 and 0 say that stdin has ended; in version 4 nothing can.
 */
import type { ChildProcess } from "node:child_process";
import { readFileSync, readlinkSync } from "node:fs";
import type { Readable } from "node:stream";
import type { Clock } from "@drayage/base";
import type { RawData, WebSocket } from "ws";
import type { ContainerRecord } from "./container-runtime.ts";
import { endExec, execInContainer } from "./exec.ts";
import type { ProcessIdentity } from "./process-identity.ts";

export interface ExecSession {
  readonly record: ContainerRecord;
  readonly main: ProcessIdentity;
  readonly rootless: boolean;
  readonly command: readonly string[];
  readonly stdin: boolean;
  readonly tty: boolean;
  readonly clock: Clock;
}

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, resize: 4, close: 255 } as const;
/** A client with a terminal tells its size at once; one that does not is not waited for long. */
const SIZE_WAIT_MS = 200;
const PING_MS = 30_000;
/** How deep below `nsenter` the terminal's program is looked for. */
const DESCENT_MAX = 6;

const STATUS = { kind: "Status", apiVersion: "v1", metadata: {} } as const;

interface TerminalSize {
  readonly columns: number;
  readonly rows: number;
}

export function serveExec(socket: WebSocket, session: ExecSession): void {
  let child: ChildProcess | undefined;
  const early: Buffer[] = [];
  const begin = (size?: TerminalSize): void => {
    if (child !== undefined || socket.readyState !== socket.OPEN) return;
    child = startCommand(socket, session, size);
    for (const message of early.splice(0)) take(message);
  };
  const take = (message: Buffer): void => {
    const payload = message.subarray(1);
    if (message[0] === CHANNEL.resize) {
      const size = sizeOf(payload);
      if (size === undefined) return;
      if (child === undefined) begin(size);
      else resizeTerminal(child, session, size);
    } else if (child === undefined) early.push(message);
    else if (message[0] === CHANNEL.stdin) feed(socket, child, payload);
    else if (message[0] === CHANNEL.close && payload[0] === CHANNEL.stdin) child.stdin?.end();
  };
  socket.on("message", (data: RawData) => {
    const message = bytesOf(data);
    if (message.length > 0) take(message);
  });
  let cancelPing = (): void => undefined;
  const ping = (): void => {
    cancelPing = session.clock.after(PING_MS, () => {
      if (socket.readyState !== socket.OPEN) return;
      socket.ping();
      ping();
    });
  };
  ping();
  socket.on("close", () => {
    cancelPing();
    if (child !== undefined) endExec(child);
  });
  socket.on("error", () => socket.terminate());
  if (session.tty) session.clock.after(SIZE_WAIT_MS, () => begin());
  else begin();
}

function startCommand(socket: WebSocket, session: ExecSession, size: TerminalSize | undefined): ChildProcess {
  const { record, main, rootless, command, stdin, tty } = session;
  const child = execInContainer(record, main, rootless, { command, stdin, tty, ...(size === undefined ? {} : { size }) });
  if (child.stdout !== null) pump(socket, CHANNEL.stdout, child.stdout);
  if (child.stderr !== null) pump(socket, CHANNEL.stderr, child.stderr);
  // A command that does not read its input is its own affair.
  child.stdin?.on("error", () => undefined);
  child.on("error", (error) => finish(socket, { ...STATUS, status: "Failure", message: error.message, code: 500 }));
  child.on("close", (code, signal) => finish(socket, statusOf(command, code ?? (signal === "SIGKILL" ? 137 : 143))));
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

/** Sends as fast as the other side takes it. */
function pump(socket: WebSocket, channel: number, from: Readable): void {
  from.on("data", (chunk: Buffer) => {
    if (socket.readyState !== socket.OPEN) return;
    from.pause();
    socket.send(Buffer.concat([Buffer.of(channel), chunk]), () => from.resume());
  });
}

function feed(socket: WebSocket, child: ChildProcess, payload: Buffer): void {
  const { stdin } = child;
  if (stdin === null || stdin.writableEnded || stdin.destroyed || stdin.write(payload)) return;
  socket.pause();
  const goOn = (): void => {
    stdin.off("drain", goOn);
    stdin.off("close", goOn);
    socket.resume();
  };
  stdin.on("drain", goOn);
  stdin.on("close", goOn);
}

function finish(socket: WebSocket, status: object): void {
  if (socket.readyState !== socket.OPEN) return;
  socket.send(Buffer.concat([Buffer.of(CHANNEL.status), Buffer.from(JSON.stringify(status))]));
  socket.close(1000);
}

function sizeOf(payload: Buffer): TerminalSize | undefined {
  try {
    const { Width, Height } = JSON.parse(payload.toString("utf8")) as { Width?: unknown; Height?: unknown };
    return typeof Width === "number" && typeof Height === "number" && Width > 0 && Height > 0
      ? { columns: Math.floor(Width), rows: Math.floor(Height) }
      : undefined;
  } catch {
    return undefined;
  }
}

/** The terminal belongs to a program below `nsenter`; its number is found from outside, its size is set from inside. */
function resizeTerminal(child: ChildProcess, session: ExecSession, size: TerminalSize): void {
  const terminal = child.pid === undefined ? undefined : terminalBelow(child.pid, DESCENT_MAX);
  if (terminal === undefined) return;
  const command = ["stty", "-F", terminal, "cols", String(size.columns), "rows", String(size.rows)];
  const stty = execInContainer(session.record, session.main, session.rootless, { command, stdin: false, tty: false });
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

function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}
