/** A directory beside its listing in a parent snapshot, as native/listing.h compares it: the same answers, one entry after the other. */
import { closeSync, constants, fstatSync, openSync } from "node:fs";
import { asBuffer } from "@drayage/base";
import {
  ATTRIBUTES,
  type BatchFiles,
  COMPARED,
  COMPARED_SLOTS,
  COMPARED_STATE,
  type Compared,
  type ComparedDirectory,
  type DirectoryNames,
  directoryPrefix,
  FOUND,
  nameBytes,
  type ParentText,
  ROW,
  ROW_SLOTS,
  RUN,
  RUN_SLOTS,
} from "./batch-files.ts";
import { endOfObject } from "./end-of-object.ts";

const BLOCK_BYTES = 512;
const NAME_BYTES_MAX = 255;
/** Seconds whose nanoseconds have 63 bits. */
const SECONDS_MAX = 9_223_372_035;
const ID = /^[0-9a-f]*$/;
const ENTRY_BEGIN = '{"name":"';
const HEAD = Buffer.from('{"stream":"kopia:directory","entries":[');
const EMPTY_HEAD = Buffer.from('{"stream":"kopia:directory","entries":null');
/** What Go escapes in a name, besides control characters; and the mark that Kopia writes for bytes that are not UTF-8, which may mean them or itself. */
const WRITTEN_OTHERWISE = /["\\<>&\u2028\u2029\ufffd]/;
const DELETE = 0x7f;
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const CLOSE_BRACE = 0x7d;
const CLOSE_BRACKET = 0x5d;

interface Entry {
  /** As a byte string. */
  readonly name: string;
  readonly isDirectory: boolean;
  readonly end: number;
}

class Comparison {
  readonly #parent: Buffer;
  readonly #keyBytes: number;
  readonly #into: Compared;
  at: number;
  ended = false;
  hasPassed = false;
  same = 0;
  runs = 0;

  constructor({ bytes, at }: ParentText, keyBytes: number, into: Compared) {
    this.#parent = asBuffer(bytes);
    this.at = at;
    this.#keyBytes = keyBytes;
    this.#into = into;
  }

  /** Says of entry i what the parent has; false where the text ends before that is known, or is not in the usual form. */
  take(i: number, name: Buffer): boolean {
    const row = this.#into.rows.subarray(i * ROW_SLOTS, (i + 1) * ROW_SLOTS);
    const text = name.length <= NAME_BYTES_MAX && hasFactsOnly(row) ? beginningOf(name, row) : undefined;
    for (;;) {
      if (this.ended) return this.#say(i, COMPARED_STATE.absent, 0, 0);
      const start = this.at;
      const sameEnd = text === undefined ? 0 : this.#endOfSame(text);
      if (sameEnd !== 0) {
        this.#note(i, start, sameEnd, row);
        this.#pass(sameEnd);
        return this.#say(i, COMPARED_STATE.same, start, sameEnd);
      }
      const next = entryAt(this.#parent, start);
      if (next === undefined) return false;
      const own = name.toString("latin1");
      const order = next.isDirectory || next.name < own ? -1 : next.name > own ? 1 : 0;
      if (order > 0) return this.#say(i, COMPARED_STATE.absent, 0, 0);
      this.#pass(next.end);
      if (order === 0) return this.#say(i, COMPARED_STATE.other, start, next.end);
      this.hasPassed = true;
    }
  }

  tell(done: number): void {
    const { found } = this.#into;
    found[FOUND.done] = done;
    found[FOUND.at] = this.at;
    found[FOUND.same] = this.same;
    found[FOUND.runs] = this.runs;
    found[FOUND.ended] = this.ended ? 1 : 0;
  }

  #say(i: number, state: number, start: number, end: number): true {
    const { entries } = this.#into;
    entries[i * COMPARED_SLOTS + COMPARED.state] = state;
    entries[i * COMPARED_SLOTS + COMPARED.start] = start;
    entries[i * COMPARED_SLOTS + COMPARED.end] = end;
    return true;
  }

  #endOfSame(text: Buffer): number {
    const parent = this.#parent;
    const idAt = this.at + text.length;
    const idEnd = idAt + 2 * (this.#keyBytes - 1);
    const end = idEnd + 2;
    if (end >= parent.length || parent.compare(text, 0, text.length, this.at, idAt) !== 0) return 0;
    const id = parent.toString("latin1", idAt, idEnd);
    if (!ID.test(id) || parent[idEnd] !== QUOTE || parent[idEnd + 1] !== CLOSE_BRACE || !isFollowed(parent, end)) return 0;
    const { keys } = this.#into;
    keys[this.same * this.#keyBytes] = 0;
    keys.set(Buffer.from(id, "hex"), this.same * this.#keyBytes + 1);
    return end;
  }

  #note(i: number, start: number, end: number, row: Float64Array): void {
    const { runs } = this.#into;
    const last = (this.runs - 1) * RUN_SLOTS;
    const goesOn = this.runs > 0 && runs[last + RUN.to] === i && (runs[last + RUN.end] ?? 0) + 1 === start;
    if (!goesOn) this.runs++;
    const run = runs.subarray((this.runs - 1) * RUN_SLOTS, this.runs * RUN_SLOTS);
    const [seconds = 0, nanoseconds = 0] = [row[ROW.seconds], row[ROW.nanoseconds]];
    if (!goesOn) run.set([i, i, start, start, 0, seconds, nanoseconds]);
    run[RUN.to] = i + 1;
    run[RUN.end] = end;
    run[RUN.bytes] = (run[RUN.bytes] ?? 0) + (row[ROW.size] ?? 0);
    if (isLater(seconds, nanoseconds, run)) {
      run[RUN.seconds] = seconds;
      run[RUN.nanoseconds] = nanoseconds;
    }
    this.same++;
  }

  #pass(end: number): void {
    this.ended = this.#parent[end] === CLOSE_BRACKET;
    this.at = this.ended ? end : end + 1;
  }
}

export function compareEntries(
  names: DirectoryNames,
  { from, to }: { readonly from: number; readonly to: number },
  parent: ParentText,
  keyBytes: number,
  into: Compared,
): void {
  const comparison = new Comparison(parent, keyBytes, into);
  let done = 0;
  while (done < to - from && comparison.take(done, asBuffer(nameBytes(names, from + done)))) done++;
  comparison.tell(done);
}

export function compareDirectory(
  files: Pick<BatchFiles, "listDirectory" | "statEntries">,
  fd: number,
  name: Uint8Array,
  { attributes, avoid }: { readonly attributes: boolean; readonly avoid: Uint8Array },
  parent: Uint8Array,
  keyBytes: number,
  into: ComparedDirectory,
): boolean {
  const text = asBuffer(parent);
  into.found[FOUND.fd] = -1;
  into.found[FOUND.text] = 0;
  const isEmptyInParent = text.subarray(0, EMPTY_HEAD.length).equals(EMPTY_HEAD);
  if (!isEmptyInParent && (text.length <= HEAD.length || !text.subarray(0, HEAD.length).equals(HEAD))) return false;
  const own = openDirectory(fd, asBuffer(name));
  if (own === undefined) return false;
  let isKept = false;
  try {
    // Only an open one is known to be a directory.
    if (!fstatSync(own).isDirectory()) return false;
    files.statEntries(
      own,
      { names: Buffer.from("."), ends: Uint32Array.of(1), directories: 1 },
      { from: 0, to: 1 },
      attributes,
      into.found.subarray(FOUND.row),
    );
    const names = files.listDirectory(own);
    const count = names.ends.length;
    const room = Math.min(
      into.rows.length / ROW_SLOTS,
      into.keys.length / keyBytes,
      into.entries.length / COMPARED_SLOTS,
      into.runs.length / RUN_SLOTS,
      into.ends.length,
    );
    if (names.directories > 0 || count > room || names.names.length > into.names.length || (isEmptyInParent && count > 0)) return false;
    const avoided = new Set(asBuffer(avoid).toString("latin1").split("/"));
    const comparison = new Comparison({ bytes: parent, at: isEmptyInParent ? 0 : HEAD.length }, keyBytes, into);
    into.names.set(names.names);
    into.ends.set(names.ends);
    files.statEntries(own, names, { from: 0, to: count }, attributes, into.rows);
    for (let i = 0; i < count; i++) {
      const entry = asBuffer(nameBytes(names, i));
      if (avoided.has(entry.toString("latin1")) || !comparison.take(i, entry)) return false;
    }
    comparison.tell(count);
    const whole = isWhole(comparison, count, into, text);
    into.found[FOUND.count] = count;
    into.found[FOUND.whole] = whole ? 1 : 0;
    isKept = !whole;
    if (isKept) into.found[FOUND.fd] = own;
    return true;
  } catch (error) {
    if (typeof (error as NodeJS.ErrnoException).errno === "number") return false;
    throw error;
  } finally {
    if (!isKept) closeSync(own);
  }
}

function openDirectory(fd: number, name: Buffer): number | undefined {
  const text = name.toString("latin1");
  if (text === "" || text === "." || text === ".." || text.includes("/") || text.includes("\0")) return undefined;
  try {
    return openSync(Buffer.concat([Buffer.from(directoryPrefix(fd)), name]), constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  } catch {
    return undefined;
  }
}

/** Whether the whole listing is what would be written of the directory. */
function isWhole({ same, runs, hasPassed, ended, at }: Comparison, count: number, { found, runs: slots }: Compared, parent: Buffer): boolean {
  const own = found.subarray(FOUND.row);
  if (own[ROW.status] !== 0 || own[ROW.attributes] !== ATTRIBUTES.none) return false;
  if (count === 0) {
    const end = endOfFiles(0, 0, own[ROW.seconds] ?? 0, own[ROW.nanoseconds] ?? 0);
    return end !== undefined && parent.equals(Buffer.concat([EMPTY_HEAD, Buffer.from(end)]));
  }
  if (same !== count || runs !== 1 || hasPassed || !ended) return false;
  const end = endOfFiles(count, slots[RUN.bytes] ?? 0, slots[RUN.seconds] ?? 0, slots[RUN.nanoseconds] ?? 0);
  return end !== undefined && parent.subarray(at).equals(Buffer.from(`]${end}`));
}

function endOfFiles(files: number, bytes: number, seconds: number, nanoseconds: number): string | undefined {
  if (bytes > Number.MAX_SAFE_INTEGER || !isTime(seconds, nanoseconds)) return undefined;
  return `,"summary":{"size":${bytes},"files":${files},"symlinks":0,"dirs":1,"maxTime":"${timeOf(seconds, nanoseconds)}","numFailed":0}}\n`;
}

/** The text of a regular file's entry up to its object id; undefined for what the addon leaves to others. */
function beginningOf(name: Buffer, row: Float64Array): Buffer | undefined {
  const [size = 0, mode = 0, uid = 0, gid = 0] = [row[ROW.size], row[ROW.mode], row[ROW.uid], row[ROW.gid]];
  const [seconds = 0, nanoseconds = 0] = [row[ROW.seconds], row[ROW.nanoseconds]];
  if (name.length === 0 || !isWrittenAsItIs(name) || !(size >= 0 && size <= Number.MAX_SAFE_INTEGER) || !isTime(seconds, nanoseconds)) return undefined;
  if (![uid, gid, mode].every((value) => value >= 0 && value <= 0xffff_ffff)) return undefined;
  const members = [
    '"type":"f",',
    (mode & 0o7777) === 0 ? "" : `"mode":"${modeOf(mode)}",`,
    size === 0 ? "" : `"size":${size},`,
    seconds === 0 && nanoseconds === 0 ? "" : `"mtime":"${timeOf(seconds, nanoseconds)}",`,
    uid === 0 ? "" : `"uid":${uid},`,
    gid === 0 ? "" : `"gid":${gid},`,
    '"obj":"',
  ];
  return Buffer.concat([Buffer.from(ENTRY_BEGIN), name, Buffer.from(`",${members.join("")}`)]);
}

function isWrittenAsItIs(name: Buffer): boolean {
  // The addon leaves DEL to others.
  if (name.some((byte) => isControl(byte) || byte === DELETE)) return false;
  try {
    return !WRITTEN_OTHERWISE.test(strict.decode(name));
  } catch {
    return false;
  }
}

function isControl(byte: number): boolean {
  return byte < 0x20;
}

function isTime(seconds: number, nanoseconds: number): boolean {
  return seconds >= -SECONDS_MAX && seconds <= SECONDS_MAX && nanoseconds >= 0 && nanoseconds <= 999_999_999;
}

/** RFC 3339 in UTC as Go writes it. */
function timeOf(seconds: number, nanoseconds: number): string {
  const whole = new Date(seconds * 1000).toISOString().slice(0, 19);
  return nanoseconds === 0 ? `${whole}Z` : `${whole}.${String(nanoseconds).padStart(9, "0").replace(/0+$/, "")}Z`;
}

/** Go keeps three bits far above the permissions. */
function modeOf(mode: number): string {
  const bits = (mode & 0o777) | ((mode & 0o4000) === 0 ? 0 : 1 << 23) | ((mode & 0o2000) === 0 ? 0 : 1 << 22) | ((mode & 0o1000) === 0 ? 0 : 1 << 20);
  return `0${bits.toString(8)}`;
}

function isLater(seconds: number, nanoseconds: number, run: Float64Array): boolean {
  const [last = 0, rest = 0] = [run[RUN.seconds], run[RUN.nanoseconds]];
  return seconds > last || (seconds === last && nanoseconds > rest);
}

/** The entry of a parent that begins there: its name, its kind, its end. Undefined where it is cut off, or anything about it is unusual. */
function entryAt(parent: Buffer, at: number): Entry | undefined {
  const nameAt = at + ENTRY_BEGIN.length;
  if (parent.toString("latin1", at, nameAt) !== ENTRY_BEGIN) return undefined;
  const nameEnd = parent.indexOf(QUOTE, nameAt);
  if (nameEnd === -1) return undefined;
  const name = parent.toString("latin1", nameAt, nameEnd);
  // An escape, and the mark in the place of bytes that are not known: both need more than a comparison of bytes.
  if (parent.subarray(nameAt, nameEnd).some((byte) => isControl(byte) || byte === BACKSLASH) || name.includes("\xef\xbf\xbd")) return undefined;
  const kind = /^","type":"([dfs])"$/.exec(parent.toString("latin1", nameEnd, nameEnd + 12))?.[1];
  if (kind === undefined) return undefined;
  const end = endOfObject(parent, nameEnd + 12, 1);
  return end > 0 && isFollowed(parent, end) ? { name, isDirectory: kind === "d", end } : undefined;
}

function isFollowed(bytes: Uint8Array, end: number): boolean {
  return bytes[end] === COMMA || bytes[end] === CLOSE_BRACKET;
}

/** Whether an entry has nothing but facts: one name, no attributes, no holes. */
function hasFactsOnly(row: Float64Array): boolean {
  return (
    row[ROW.status] === 0 &&
    ((row[ROW.mode] ?? 0) & constants.S_IFMT) === constants.S_IFREG &&
    (row[ROW.links] ?? 0) < 2 &&
    row[ROW.attributes] === ATTRIBUTES.none &&
    (row[ROW.blocks] ?? 0) * BLOCK_BYTES >= (row[ROW.size] ?? 0)
  );
}
