/**
 * One entry of a directory listing, and the `rootEntry` of a snapshot manifest (kopia-format.md 7.5).
 *
 *   {"name":"a","type":"f","mode":"0644","size":12,"mtime":"2023-11-14T22:13:26.006Z","uid":1000,"gid":1001,"obj":"b0de…","summ":{…},"drayage":{…}}
 *
 * Keys in this order; all but `obj` are left out when zero or empty. The size of a directory is never stored: it is in `summ`.
 */
import { DrayError } from "@drayage/base";
import { isMembers } from "../object/entry-document.ts";
import { type ObjectId, objectIdOf } from "../object/object-id.ts";
import { type DirectorySummary, decodeSummary, encodeSummary } from "./directory-summary.ts";
import { decodeEntryExtension, type EntryExtension, encodeEntryExtension, MEMBER } from "./extended-metadata.ts";
import { byteStringOf, goJsonBytes, goMode, goTime, parseGoMode, parseGoTime } from "./go-text.ts";

export type EntryType = "file" | "directory" | "symlink";

export interface DirectoryEntry {
  /** A byte string (go-text.ts). Not checked here: the file of a block snapshot has a path for a name. */
  readonly name: string;
  readonly type: EntryType;
  /** The low 12 bits of st_mode. */
  readonly mode: number;
  /** Bytes of a file or of a link's target; 0 for directories. */
  readonly size: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  readonly uid: number;
  readonly gid: number;
  readonly objectId: ObjectId;
  /** Of directories, and of a file that is a snapshot's root. */
  readonly summary?: DirectorySummary;
  readonly extension?: EntryExtension;
}

const LETTERS = { file: "f", directory: "d", symlink: "s" } as const satisfies Record<EntryType, string>;
/** By the letter of a listing. */
export const ENTRY_TYPES: Readonly<Record<string, EntryType>> = { f: "file", d: "directory", s: "symlink" };

export function encodeDirectoryEntry(entry: DirectoryEntry): string {
  let text = "{";
  if (entry.name !== "") text += `"name":${goJsonBytes(entry.name)},`;
  text += `"type":"${LETTERS[entry.type]}",`;
  if (entry.mode !== 0) text += `"mode":"${goMode(entry.mode)}",`;
  if (entry.size !== 0 && entry.type !== "directory") text += `"size":${entry.size},`;
  if (entry.mtimeNs !== 0n) text += `"mtime":"${goTime(entry.mtimeNs)}",`;
  if (entry.uid !== 0) text += `"uid":${entry.uid},`;
  if (entry.gid !== 0) text += `"gid":${entry.gid},`;
  text += `"obj":"${entry.objectId}"`;
  if (entry.summary !== undefined) text += `,"summ":${encodeSummary(entry.summary)}`;
  const extension = encodeEntryExtension(entry.name, entry.extension);
  if (extension !== undefined) text += `,"${MEMBER}":${extension}`;
  return `${text}}`;
}

/** Throws REPO_CORRUPT, naming the entry and `what` it is part of. */
export function decodeDirectoryEntry(value: unknown, what: string): DirectoryEntry {
  const members = isMembers(value) ? value : {};
  const { name = "", type: letter, mode, size = 0, mtime, uid = 0, gid = 0, obj, summ } = members;
  const type = typeof letter === "string" ? ENTRY_TYPES[letter] : undefined;
  if (typeof name !== "string" || type === undefined || typeof obj !== "string" || !isCount(size) || !isCount(uid) || !isCount(gid)) {
    throw new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${JSON.stringify(value)?.slice(0, 300)} is not an entry of a directory`);
  }
  const { name: rawName, extension } = decodeEntryExtension(members[MEMBER], name, size);
  return {
    name: rawName ?? byteStringOf(name),
    type,
    mode: mode === undefined ? 0 : parseGoMode(mode),
    size,
    mtimeNs: mtime === undefined ? 0n : parseGoTime(mtime),
    uid,
    gid,
    objectId: objectIdOf(obj),
    ...(summ === undefined || summ === null ? {} : { summary: decodeSummary(summ, what) }),
    ...(extension === undefined ? {} : { extension }),
  };
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}
