/**
 * What Drayage adds to Kopia's listings: docs/formats/extended-attributes.md, version 1. Members named `drayage`, which Kopia ignores.
 *
 *   of an entry     {"name":"<base64>","link":"<group>","holes":[[offset,length],…],"xattrs":{"<name>":"<base64>",…}}
 *   of a listing    {"version":1,"xattrs":{…},"special":[{"name","kind","mode","mtime","uid","gid","device","drayage"},…]}
 */
import { compareUtf8, DrayError, fromBase64, toBase64 } from "@drayage/base";
import { isMembers, type Members } from "../object/entry-document.ts";
import { byteStringOf, goJsonBytes, goJsonString, goMode, goTime, isUtf8, parseGoMode, parseGoTime, textOfByteString } from "./go-text.ts";

/** The member's name, in entries and in listings. */
export const MEMBER = "drayage";
export const EXTENDED_VERSION = 1;
export const HOLES_MAX = 256;

export interface Hole {
  readonly offset: number;
  readonly length: number;
}

export interface StoredAttribute {
  readonly name: string;
  readonly value: Uint8Array;
}

/** Additions to one entry. */
export interface EntryExtension {
  /** Entries of one snapshot with the same text are names of one file. */
  readonly linkGroup?: string;
  readonly holes?: readonly Hole[];
  readonly xattrs?: readonly StoredAttribute[];
}

export const SPECIAL_KINDS = ["fifo", "socket", "char", "block"] as const;
export type SpecialKind = (typeof SPECIAL_KINDS)[number];

/** What Kopia has no type for. */
export interface SpecialEntry {
  /** A byte string. */
  readonly name: string;
  readonly kind: SpecialKind;
  readonly mode: number;
  readonly mtimeNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly device?: { readonly major: number; readonly minor: number };
  readonly extension?: EntryExtension;
}

/** Additions to one listing. */
export interface ListingExtension {
  readonly xattrs: readonly StoredAttribute[];
  readonly special: readonly SpecialEntry[];
  /** Greater than EXTENDED_VERSION when a later program wrote it. */
  readonly version: number;
}

export const noListingExtension: ListingExtension = { version: EXTENDED_VERSION, xattrs: [], special: [] };

/** The JSON text of an entry's addition, or undefined when there is nothing to add. `name` is the byte string of the entry's name. */
export function encodeEntryExtension(name: string, extension: EntryExtension | undefined): string | undefined {
  const parts: string[] = [];
  if (!isUtf8(name)) parts.push(`"name":"${Buffer.from(name, "latin1").toString("base64")}"`);
  if (extension?.linkGroup !== undefined) parts.push(`"link":${goJsonString(extension.linkGroup)}`);
  if (extension?.holes !== undefined && extension.holes.length > 0) {
    parts.push(`"holes":[${largestHoles(extension.holes).map((hole) => `[${hole.offset},${hole.length}]`)}]`);
  }
  if (extension?.xattrs !== undefined && extension.xattrs.length > 0) parts.push(`"xattrs":${encodeXattrs(extension.xattrs)}`);
  return parts.length === 0 ? undefined : `{${parts}}`;
}

/**
 * The addition of an entry, and the byte string of its name where that is not UTF-8. `storedName` is the entry's own name, which the two must agree on.
 * Throws REPO_CORRUPT.
 */
export function decodeEntryExtension(value: unknown, storedName: string, size: number): { readonly name?: string; readonly extension?: EntryExtension } {
  if (value === undefined) return {};
  const members = membersOf(value, storedName);
  const name = members["name"] === undefined ? undefined : decodeName(members["name"], storedName);
  const extension: EntryExtension = {
    ...(members["link"] === undefined ? {} : { linkGroup: decodeText(members["link"], storedName) }),
    ...(members["holes"] === undefined ? {} : { holes: decodeHoles(members["holes"], storedName, size) }),
    ...(members["xattrs"] === undefined ? {} : { xattrs: decodeXattrs(members["xattrs"], storedName) }),
  };
  return { ...(name === undefined ? {} : { name }), ...(Object.keys(extension).length === 0 ? {} : { extension }) };
}

/** The JSON text of a listing's addition, or undefined when there is nothing to add. */
export function encodeListingExtension(extension: ListingExtension): string | undefined {
  if (extension.xattrs.length === 0 && extension.special.length === 0) return undefined;
  const parts = [`"version":${EXTENDED_VERSION}`];
  if (extension.xattrs.length > 0) parts.push(`"xattrs":${encodeXattrs(extension.xattrs)}`);
  if (extension.special.length > 0) parts.push(`"special":[${extension.special.map(encodeSpecial)}]`);
  return `{${parts}}`;
}

export function decodeListingExtension(value: unknown, what: string): ListingExtension {
  if (value === undefined) return noListingExtension;
  const members = membersOf(value, what);
  const { version, special = [] } = members;
  if (!isNumber(version) || !Array.isArray(special)) throw corrupt(what, value);
  return {
    version,
    xattrs: members["xattrs"] === undefined ? [] : decodeXattrs(members["xattrs"], what),
    // A kind that a later version knows is left out rather than the whole directory refused.
    special: special.map((entry) => decodeSpecial(entry, what, version)).filter((entry) => entry !== undefined),
  };
}

function encodeSpecial(entry: SpecialEntry): string {
  const parts = [`"name":${goJsonBytes(entry.name)}`, `"kind":"${entry.kind}"`];
  if (entry.mode !== 0) parts.push(`"mode":"${goMode(entry.mode)}"`);
  if (entry.mtimeNs !== 0n) parts.push(`"mtime":"${goTime(entry.mtimeNs)}"`);
  if (entry.uid !== 0) parts.push(`"uid":${entry.uid}`);
  if (entry.gid !== 0) parts.push(`"gid":${entry.gid}`);
  if (entry.device !== undefined) parts.push(`"device":"${entry.device.major}:${entry.device.minor}"`);
  const extension = encodeEntryExtension(entry.name, entry.extension);
  if (extension !== undefined) parts.push(`"${MEMBER}":${extension}`);
  return `{${parts}}`;
}

function decodeSpecial(value: unknown, what: string, version: number): SpecialEntry | undefined {
  const members = membersOf(value, what);
  const { name: storedName, kind, mode, mtime, uid = 0, gid = 0, device } = members;
  if (typeof storedName !== "string" || !isNumber(uid) || !isNumber(gid)) throw corrupt(what, value);
  if (!SPECIAL_KINDS.includes(kind as SpecialKind)) {
    if (version > EXTENDED_VERSION) return undefined;
    throw corrupt(what, value);
  }
  const numbers = typeof device === "string" ? /^(\d{1,10}):(\d{1,10})$/.exec(device) : null;
  if ((kind === "char" || kind === "block") && numbers === null) throw corrupt(what, value);
  const { name, extension } = decodeEntryExtension(members[MEMBER], storedName, 0);
  if (!isFileName(name ?? storedName)) throw corrupt(what, value);
  return {
    name: name ?? byteStringOf(storedName),
    kind: kind as SpecialKind,
    mode: mode === undefined ? 0 : parseGoMode(mode),
    mtimeNs: mtime === undefined ? 0n : parseGoTime(mtime),
    uid,
    gid,
    ...(numbers === null ? {} : { device: { major: Number(numbers[1]), minor: Number(numbers[2]) } }),
    ...(extension === undefined ? {} : { extension }),
  };
}

/** No more than HOLES_MAX of them: the largest, in order of offset. */
export function largestHoles(holes: readonly Hole[]): readonly Hole[] {
  if (holes.length <= HOLES_MAX) return holes;
  return [...holes]
    .sort((a, b) => b.length - a.length || a.offset - b.offset)
    .slice(0, HOLES_MAX)
    .sort((a, b) => a.offset - b.offset);
}

function encodeXattrs(xattrs: readonly StoredAttribute[]): string {
  const sorted = [...xattrs].sort((a, b) => compareUtf8(a.name, b.name));
  return `{${sorted.map(({ name, value }) => `${goJsonString(name)}:"${toBase64(value)}"`)}}`;
}

function decodeXattrs(value: unknown, what: string): StoredAttribute[] {
  if (!isMembers(value)) throw corrupt(what, value);
  return Object.entries(value).map(([name, text]) => {
    const bytes = typeof text === "string" ? fromBase64(text) : undefined;
    if (bytes === undefined || name === "" || name.includes("\0")) throw corrupt(what, { [name]: text });
    return { name, value: bytes };
  });
}

function decodeHoles(value: unknown, what: string, size: number): Hole[] {
  if (!Array.isArray(value) || value.length > HOLES_MAX) throw corrupt(what, value);
  let end = -1;
  return value.map((pair: unknown) => {
    const [offset, length] = Array.isArray(pair) && pair.length === 2 ? (pair as unknown[]) : [];
    if (!isNumber(offset) || !isNumber(length) || length === 0 || offset <= end || offset + length > size) throw corrupt(what, pair);
    end = offset + length;
    return { offset, length };
  });
}

function decodeName(value: unknown, storedName: string): string {
  const bytes = typeof value === "string" ? fromBase64(value) : undefined;
  const name = bytes === undefined ? undefined : Buffer.from(bytes).toString("latin1");
  if (name === undefined || !isFileName(name) || isUtf8(name) || textOfByteString(name) !== storedName) throw corrupt(storedName, value);
  return name;
}

/** Whether a name can be that of a file in a directory. */
export function isFileName(name: string): boolean {
  return name !== "" && name !== "." && name !== ".." && !name.includes("/") && !name.includes("\0");
}

function decodeText(value: unknown, what: string): string {
  if (typeof value !== "string") throw corrupt(what, value);
  return value;
}

function membersOf(value: unknown, what: string): Members {
  if (!isMembers(value)) throw corrupt(what, value);
  return value;
}

function isNumber(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function corrupt(what: string, value: unknown): DrayError {
  return new DrayError(
    "REPO_CORRUPT",
    `Cannot read the additions to ${JSON.stringify(what)}: ${JSON.stringify(value)?.slice(0, 200)} is not of the form of docs/formats/extended-attributes.md`,
  );
}
