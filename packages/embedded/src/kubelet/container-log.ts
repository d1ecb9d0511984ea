/**
 * The log of one container in the format of the container runtime interface: `TIME STREAM TAG TEXT`, TAG `F` for a whole line and `P` for a part of one.
 * Written by the kubelet that reads the container's pipes, read by `kubectl logs`.
 */
import { closeSync, createReadStream, fstatSync, mkdirSync, openSync, readSync, renameSync, writeSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "@drayage/base";

export type LogStream = "stdout" | "stderr";

/** A line longer than this is stored in parts, as container runtimes do. */
const PART_BYTES_MAX = 16 * 1024;
/** A file larger than this is put aside as `.1`, whose predecessor goes; the kubelet's own default. */
export const LOG_BYTES_MAX = 10 * 1024 * 1024;
const NEWLINE = 0x0a;
const TAIL_BLOCK_BYTES = 64 * 1024;
const NOTHING = Buffer.alloc(0);

export class ContainerLog {
  readonly path: string;
  readonly #clock: Clock;
  readonly #bytesMax: number;
  readonly #rest: Record<LogStream, Buffer> = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  readonly #listeners = new Set<() => void>();
  #fd: number;
  #size: number;
  #closed = false;

  constructor(path: string, clock: Clock, bytesMax: number = LOG_BYTES_MAX) {
    this.path = path;
    this.#clock = clock;
    this.#bytesMax = bytesMax;
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    this.#fd = openSync(path, "a", 0o600);
    this.#size = fstatSync(this.#fd).size;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Adds output; what follows the last line end is kept until it is complete, too long, or the log is closed. */
  append(stream: LogStream, chunk: Buffer): void {
    if (this.#closed) return;
    const data = this.#rest[stream].length === 0 ? chunk : Buffer.concat([this.#rest[stream], chunk]);
    const records: Buffer[] = [];
    let from = 0;
    while (from < data.length) {
      const newline = data.indexOf(NEWLINE, from);
      const end = newline === -1 ? data.length : newline;
      if (end - from > PART_BYTES_MAX) {
        records.push(this.#record(stream, "P", data.subarray(from, from + PART_BYTES_MAX)));
        from += PART_BYTES_MAX;
      } else if (newline === -1) break;
      else {
        records.push(this.#record(stream, "F", data.subarray(from, end)));
        from = end + 1;
      }
    }
    this.#rest[stream] = Buffer.from(data.subarray(from));
    this.#write(records);
  }

  /** Writes what is left of unfinished lines and tells followers that this was all. */
  close(): void {
    if (this.#closed) return;
    for (const stream of ["stdout", "stderr"] as const) {
      if (this.#rest[stream].length > 0) this.#write([this.#record(stream, "F", this.#rest[stream])]);
    }
    this.#closed = true;
    closeSync(this.#fd);
    for (const listener of this.#listeners) listener();
    this.#listeners.clear();
  }

  /** Calls `listener` after each write and after the close. Returns the function that ends it. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #record(stream: LogStream, tag: "F" | "P", text: Buffer): Buffer {
    return Buffer.concat([Buffer.from(`${timestamp(this.#clock)} ${stream} ${tag} `), text, Buffer.from("\n")]);
  }

  #write(records: readonly Buffer[]): void {
    if (records.length === 0) return;
    const bytes = Buffer.concat(records);
    if (this.#size > 0 && this.#size + bytes.length > this.#bytesMax) this.#rotate();
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    this.#size += bytes.length;
    for (const listener of this.#listeners) listener();
  }

  #rotate(): void {
    closeSync(this.#fd);
    renameSync(this.path, `${this.path}.1`);
    this.#fd = openSync(this.path, "a", 0o600);
    this.#size = 0;
  }
}

export interface LogOptions {
  readonly tailLines?: number;
  readonly sinceMs?: number;
  readonly timestamps?: boolean;
  readonly limitBytes?: number;
  readonly stream?: LogStream;
}

export interface FollowedLog {
  readonly closed: boolean;
  onChange(listener: () => void): () => void;
}

/**
 * The text of a log, piece by piece. With `follow` it goes on until that log is closed or the signal is aborted; a rotation is noticed by the file's identity.
 * A file that does not exist reads as empty.
 */
export async function* readContainerLog(path: string, options: LogOptions = {}, follow?: FollowedLog, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const render = lineRenderer(options);
  let at = tailOffset(path, options.tailLines, options.stream);
  let file = identityOf(path);
  for (;;) {
    // Looked at before reading: what is written between the read and the look is read in the next round.
    const ended = follow === undefined || follow.closed;
    const changed = new Promise<void>((resolve) => {
      if (ended) {
        resolve();
        return;
      }
      const stop = follow.onChange(() => finish());
      const finish = (): void => {
        stop();
        signal?.removeEventListener("abort", finish);
        resolve();
      };
      signal?.addEventListener("abort", finish, { once: true });
    });
    const now = identityOf(path);
    const turned = now !== file;
    const sources = turned && identityOf(`${path}.1`) === file ? [`${path}.1`, path] : [path];
    for (const source of sources) {
      if (turned && source === path) at = 0;
      for await (const { lines, end } of linesFrom(source, at)) {
        at = end;
        const text = Buffer.concat(lines.map(render));
        if (text.length > 0) yield text;
        if (render.exhausted()) return;
      }
    }
    file = now;
    if (ended) return;
    await changed;
    if (signal?.aborted === true) return;
  }
}

function lineRenderer(options: LogOptions): ((line: string) => Buffer) & { exhausted(): boolean } {
  let left = options.limitBytes ?? Number.POSITIVE_INFINITY;
  let continued = false;
  const render = (line: string): Buffer => {
    const [time = "", stream = "", tag = ""] = line.split(" ", 3);
    const text = line.slice(time.length + stream.length + tag.length + 3);
    if (options.stream !== undefined && stream !== options.stream) return NOTHING;
    if (options.sinceMs !== undefined && Date.parse(time) < options.sinceMs) return NOTHING;
    const prefix = options.timestamps === true && !continued ? `${time} ` : "";
    continued = tag === "P";
    const bytes = Buffer.from(`${prefix}${text}${continued ? "" : "\n"}`, "latin1").subarray(0, left);
    left -= bytes.length;
    return bytes;
  };
  return Object.assign(render, { exhausted: () => left <= 0 });
}

/** Whole lines from an offset on, a chunk at a time, as latin1, so that no byte is lost; with the offset after the last of them. */
async function* linesFrom(path: string, start: number): AsyncGenerator<{ lines: string[]; end: number }> {
  const size = withFile(path, (fd) => fstatSync(fd).size) ?? 0;
  if (size <= start) return;
  let end = start;
  let rest = "";
  for await (const chunk of createReadStream(path, { start, end: size - 1, encoding: "latin1" })) {
    const pieces = (rest + String(chunk)).split("\n");
    rest = pieces.pop() ?? "";
    end += pieces.reduce((sum, piece) => sum + piece.length + 1, 0);
    if (pieces.length > 0) yield { lines: pieces, end };
  }
}

/** Where the last `wanted` whole lines begin. */
function tailOffset(path: string, wanted: number | undefined, stream: LogStream | undefined): number {
  if (wanted === undefined) return 0;
  return (
    withFile(path, (fd) => {
      const size = fstatSync(fd).size;
      const block = Buffer.alloc(TAIL_BLOCK_BYTES);
      let from = size;
      let text = "";
      for (;;) {
        const lines = text.split("\n").slice(0, -1);
        // Before the file's beginning is reached, the first piece may be the end of a line that begins earlier.
        const whole = from === 0 ? 0 : 1;
        let left = wanted;
        let end = size;
        for (let at = lines.length - 1; at >= whole; at--) {
          const line = lines[at] ?? "";
          if (isLastPart(line, stream) && --left < 0) return end;
          end -= line.length + 1;
        }
        if (from === 0) return 0;
        const length = Math.min(block.length, from);
        from -= length;
        readSync(fd, block, 0, length, from);
        text = block.toString("latin1", 0, length) + text;
      }
    }) ?? 0
  );
}

function isLastPart(line: string, wanted: LogStream | undefined): boolean {
  const [, stream, tag] = line.split(" ", 3);
  return tag === "F" && (wanted === undefined || stream === wanted);
}

/** RFC 3339 with nanoseconds. */
function timestamp(clock: Clock): string {
  const ns = clock.nowNs();
  const seconds = new Date(Number(ns / 1_000_000_000n) * 1000).toISOString().slice(0, 19);
  return `${seconds}.${String(ns % 1_000_000_000n).padStart(9, "0")}Z`;
}

function identityOf(path: string): string | undefined {
  return withFile(path, (fd) => {
    const stat = fstatSync(fd, { bigint: true });
    return `${stat.dev}:${stat.ino}`;
  });
}

function withFile<T>(path: string, work: (fd: number) => T): T | undefined {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return undefined;
  }
  try {
    return work(fd);
  } finally {
    closeSync(fd);
  }
}
