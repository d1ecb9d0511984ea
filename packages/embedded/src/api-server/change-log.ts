/**
 * The file that holds everything: one JSON line a change, appended. A restart replays it; when most of it is history it is written anew.
 *
 *   {"log":"drayage-api-server","version":1,"revision":N}      first line; N is the revision at which the file was last written anew
 *   {"v":17,"r":"apps/deployments","o":{…}}                    the object as it is from revision 17 on
 *   {"v":18,"r":"apps/deployments","k":"shop/web"}             it was removed at revision 18
 *
 * Invariants: a line is complete or it is the last one; a line that was not written entirely is cut off again, at once when the write fails and otherwise at the next start.
 */
import { closeSync, existsSync, fdatasyncSync, fstatSync, ftruncateSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { DrayError, type Logger, messageOf } from "@drayage/base";
import type { ApiObject } from "./json.ts";

export type LogEntry =
  | { readonly v: number; readonly r: string; readonly o: ApiObject; readonly k?: never }
  | { readonly v: number; readonly r: string; readonly k: string; readonly o?: never };

interface Header {
  readonly log: "drayage-api-server";
  readonly version: 1;
  readonly revision: number;
}

export class ChangeLog {
  readonly #path: string;
  #file: number;
  #sizeBytes: number;
  #closed = false;

  private constructor(path: string, file: number, sizeBytes: number) {
    this.#path = path;
    this.#file = file;
    this.#sizeBytes = sizeBytes;
  }

  /**
   * Opens or creates the file and hands every entry to `replay`, oldest first. Returns the log and the revision of its header.
   * Throws KUBE_UNAVAILABLE when a line other than the last is not readable: the file is then not this program's, or was damaged.
   */
  static open(path: string, logger: Logger, replay: (entry: LogEntry, sizeBytes: number) => void): { log: ChangeLog; revision: number } {
    if (!existsSync(path)) {
      const file = openSync(path, "wx", 0o600);
      const header = headerLine(0);
      writeSync(file, header);
      return { log: new ChangeLog(path, file, Buffer.byteLength(header)), revision: 0 };
    }
    const bytes = readFileSync(path);
    let revision: number | undefined;
    let start = 0;
    for (let line = 1; start < bytes.length; line++) {
      const end = bytes.indexOf(0x0a, start);
      if (end === -1) break;
      try {
        const parsed = JSON.parse(bytes.toString("utf8", start, end)) as Header | LogEntry;
        if (revision === undefined) revision = revisionOf(parsed as Header);
        else replay(parsed as LogEntry, end - start);
      } catch (cause) {
        throw new DrayError("KUBE_UNAVAILABLE", `Cannot open state file "${path}": line ${line} is not readable: ${messageOf(cause)}`, {
          cause,
          hint: "Restore the file from a copy, or remove the cluster's folder to start with an empty cluster.",
        });
      }
      start = end + 1;
    }
    const file = openSync(path, "r+");
    if (start < bytes.length) {
      logger.warn("an unfinished line at the end of the state file was cut off", { path, bytes: bytes.length - start });
      ftruncateSync(file, start);
    }
    if (revision === undefined) start = writeSync(file, headerLine(0), 0);
    return { log: new ChangeLog(path, file, start), revision: revision ?? 0 };
  }

  get sizeBytes(): number {
    return this.#sizeBytes;
  }

  /** Writes one entry and returns its length. When that fails nothing of it stays in the file. */
  append(entry: LogEntry): number {
    // The number of a closed file may by now be that of another one.
    if (this.#closed) throw new DrayError("KUBE_UNAVAILABLE", `Cannot write state file "${this.#path}": it is closed`);
    const line = Buffer.from(`${JSON.stringify(entry)}\n`, "utf8");
    try {
      writeAll(this.#file, line, this.#sizeBytes);
    } catch (cause) {
      ftruncateSync(this.#file, this.#sizeBytes);
      throw new DrayError("KUBE_UNAVAILABLE", `Cannot write state file "${this.#path}": ${messageOf(cause)}`, { cause, hint: "Free space on its disk." });
    }
    this.#sizeBytes += line.length;
    return line.length;
  }

  /** Replaces the file by these entries; the old one stays until the new one is complete on disk. */
  rewrite(revision: number, entries: Iterable<LogEntry>): void {
    const next = `${this.#path}.new`;
    const file = openSync(next, "w", 0o600);
    try {
      let size = writeSync(file, headerLine(revision), 0);
      for (const entry of entries) {
        const line = Buffer.from(`${JSON.stringify(entry)}\n`, "utf8");
        writeAll(file, line, size);
        size += line.length;
      }
      fdatasyncSync(file);
      renameSync(next, this.#path);
    } catch (cause) {
      closeSync(file);
      throw new DrayError("KUBE_UNAVAILABLE", `Cannot rewrite state file "${this.#path}": ${messageOf(cause)}`, { cause });
    }
    closeSync(this.#file);
    this.#file = file;
    this.#sizeBytes = fstatSync(file).size;
  }

  close(): void {
    this.#closed = true;
    fdatasyncSync(this.#file);
    closeSync(this.#file);
  }
}

function headerLine(revision: number): string {
  return `${JSON.stringify({ log: "drayage-api-server", version: 1, revision } satisfies Header)}\n`;
}

function revisionOf(header: Header): number {
  if (header.log !== "drayage-api-server" || header.version !== 1) throw new Error("it is not a state file of version 1");
  return header.revision;
}

function writeAll(file: number, bytes: Uint8Array, position: number): void {
  for (let done = 0; done < bytes.length; ) done += writeSync(file, bytes, done, bytes.length - done, position + done);
}
