/** Commands in a container, over the WebSocket protocol `v5.channel.k8s.io`: the first byte of each message is its channel. */
import { asBuffer, type Clock, DrayError, fromUtf8 } from "@drayage/base";
import { pods } from "./core.ts";
import { objectPath } from "./resource.ts";
import { errorFromStatus, errorFromTransport, parseStatus, type Status } from "./status-error.ts";
import { type Transport, tlsOptions } from "./transport.ts";
import type { ObjectKey, PodExecOptions, PodExecResult } from "./types.ts";

const CHANNEL = { stdin: 0, stdout: 1, stderr: 2, status: 3, close: 255 } as const;
const OUTPUT_LIMIT_BYTES = 1 << 20;
const STDIN_PART_BYTES = 32 << 10;

export async function podExec(transport: Transport, clock: Clock, key: ObjectKey, options: PodExecOptions): Promise<PodExecResult> {
  const action = `run "${options.command[0] ?? ""}" in pod "${key.namespace ?? ""}/${key.name}"`;
  if (options.command.length === 0) throw new DrayError("KUBE_BAD_REQUEST", `Cannot ${action}: the command is empty`);
  options.signal?.throwIfAborted();
  const credentials = await transport.connection.credentials();
  const { WebSocket } = await import("ws");
  const socket = new WebSocket(execUrl(transport.connection.server, key, options), ["v5.channel.k8s.io", "v4.channel.k8s.io"], {
    ...tlsOptions(transport.connection, credentials),
    headers: { ...credentials.headers },
    maxPayload: 16 << 20,
  });

  const stdout = new BoundedText(options.outputLimitBytes ?? OUTPUT_LIMIT_BYTES);
  const stderr = new BoundedText(options.outputLimitBytes ?? OUTPUT_LIMIT_BYTES);
  let ending: Status | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      const stopTimer =
        options.timeoutMs === undefined
          ? () => undefined
          : clock.after(options.timeoutMs, () =>
              settle(() => reject(new DrayError("TIMED_OUT", `Cannot ${action}: it did not end within ${options.timeoutMs} ms`))),
            );
      const onAbort = (): void => settle(() => reject(options.signal?.reason));
      const settle = (finish: () => void): void => {
        stopTimer();
        options.signal?.removeEventListener("abort", onAbort);
        finish();
      };
      options.signal?.addEventListener("abort", onAbort, { once: true });
      socket.on("unexpected-response", (_request, response) => {
        const chunks: Uint8Array[] = [];
        response.on("data", (chunk: Uint8Array) => chunks.push(chunk));
        response.on("end", () =>
          settle(() => reject(errorFromStatus(action, response.statusCode ?? 500, parseStatus(Buffer.concat(chunks).toString("utf8"))))),
        );
        response.on("error", (cause) => settle(() => reject(errorFromTransport(action, cause, true))));
      });
      socket.on("error", (cause) => settle(() => reject(errorFromTransport(action, cause, socket.readyState !== WebSocket.CONNECTING))));
      socket.on("open", () => {
        if (options.stdin !== undefined) sendStdin(socket, options.stdin);
      });
      socket.on("message", (data) => {
        const bytes = messageBytes(data);
        const payload = bytes.subarray(1);
        if (bytes[0] === CHANNEL.stdout) stdout.add(payload);
        else if (bytes[0] === CHANNEL.stderr) stderr.add(payload);
        else if (bytes[0] === CHANNEL.status) ending = parseEnding(fromUtf8(payload));
      });
      socket.on("close", () => settle(resolve));
    });
  } finally {
    socket.terminate();
  }
  return { exitCode: exitCodeOf(action, ending), stdout: stdout.text(), stderr: stderr.text() };
}

function execUrl(server: string, key: ObjectKey, options: PodExecOptions): string {
  const url = new URL(`${server.replace(/^http/, "ws")}${objectPath(pods, key, "exec")}`);
  for (const part of options.command) url.searchParams.append("command", part);
  if (options.container !== undefined) url.searchParams.set("container", options.container);
  if (options.stdin !== undefined) url.searchParams.set("stdin", "true");
  url.searchParams.set("stdout", "true");
  url.searchParams.set("stderr", "true");
  return url.href;
}

function sendStdin(socket: { readonly protocol: string; send(data: Uint8Array): void }, stdin: Uint8Array): void {
  for (let at = 0; at < stdin.length; at += STDIN_PART_BYTES) {
    socket.send(Buffer.concat([Buffer.of(CHANNEL.stdin), stdin.subarray(at, at + STDIN_PART_BYTES)]));
  }
  // Only version 5 can say that stdin has ended.
  if (socket.protocol.startsWith("v5.")) socket.send(Buffer.of(CHANNEL.close, CHANNEL.stdin));
}

function messageBytes(data: Buffer | ArrayBuffer | Buffer[]): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data);
  return Buffer.isBuffer(data) ? data : Buffer.from(data);
}

/** The status channel's message: a Status, which kubelets send without its kind. */
function parseEnding(text: string): Status {
  try {
    const value = JSON.parse(text) as Status | null;
    if (typeof value === "object" && value !== null && typeof value.status === "string") return value;
  } catch {
    // Plain text; told as it is below.
  }
  return parseStatus(text) ?? { status: "Failure", message: text };
}

/** The exit code told on the status channel. A status that is not about the command's own end is an error. */
function exitCodeOf(action: string, status: Status | undefined): number {
  if (status === undefined) {
    throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${action}: the connection ended before the exit code came`, { context: { sent: true } });
  }
  if (status.status === "Success") return 0;
  const code = Number(status.details?.causes?.find(({ reason }) => reason === "ExitCode")?.message);
  if (Number.isInteger(code)) return code;
  throw errorFromStatus(action, status.code ?? 500, status);
}

class BoundedText {
  readonly #limitBytes: number;
  readonly #parts: Buffer[] = [];
  #length = 0;

  constructor(limitBytes: number) {
    this.#limitBytes = limitBytes;
  }

  add(bytes: Uint8Array): void {
    const part = asBuffer(bytes).subarray(0, this.#limitBytes - this.#length);
    if (part.length === 0) return;
    this.#parts.push(part);
    this.#length += part.length;
  }

  text(): string {
    return Buffer.concat(this.#parts).toString("utf8");
  }
}
