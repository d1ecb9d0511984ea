/**
 * Trees: one directory each, as the JSON `{"nodes":[…]}`. Members of a node as restic names them (restic: internal/data/node.go); those that are not known are passed over.
 */
import { fromBase64, hasCode } from "@drayage/base";
import { byteStringOf, unquoteGo } from "./go-quote.ts";
import { corrupt, isMembers, listObjects, type Members, parseCount, parseId, parseIds, parseText, parseUint64 } from "./json.ts";
import { parseTime } from "./time.ts";

export type NodeType = "file" | "dir" | "symlink" | "dev" | "chardev" | "fifo" | "socket" | "irregular" | "";

export interface ResticNode {
  /** A byte string; a name that a directory can have. */
  readonly name: string;
  readonly type: NodeType;
  /** The low 12 bits of st_mode. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  /** Nanoseconds since 1970. */
  readonly mtimeNs: bigint;
  readonly size: number;
  /** How many names the file had; with more than one, inode and device tell which belong together. */
  readonly links: number;
  readonly inode: bigint;
  readonly deviceId: bigint;
  /** Of a symbolic link, a byte string. */
  readonly target: string;
  readonly xattrs: readonly { readonly name: string; readonly value: Uint8Array }[];
  /** Of a device. */
  readonly device: { readonly major: number; readonly minor: number };
  /** Ids of a file's contents, one after the other. */
  readonly contents: Uint8Array;
  /** Id of a directory's tree. */
  readonly subtree: Uint8Array | undefined;
}

const TYPES: readonly string[] = ["file", "dir", "symlink", "dev", "chardev", "fifo", "socket", "irregular", ""];
/** Bits of Go's os.FileMode. */
const GO_SETUID = 1 << 23;
const GO_SETGID = 1 << 22;
const GO_STICKY = 1 << 20;
const NO_DEVICE: ResticNode["device"] = { major: 0, minor: 0 };
const NO_XATTRS: ResticNode["xattrs"] = [];
/** What some file systems number with all of 64 bits. */
const WIDE = ["inode", "device_id", "device"];

/** The nodes one by one, in the order of their names. Throws REPO_CORRUPT. */
export function* decodeTree(json: Uint8Array, what: string): Generator<ResticNode> {
  for (const members of listObjects(json, "nodes", what, WIDE)) yield decodeNode(members, what);
}

function decodeNode(members: Members, tree: string): ResticNode {
  const name = unquoteGo(parseText(members["name"], "name", tree), tree);
  if (name === "" || name === "." || name === ".." || name.includes("/") || name.includes("\0"))
    throw corrupt(tree, `the name ${JSON.stringify(name.slice(0, 200))} cannot be that of an entry of a directory`);
  try {
    return decodeFacts(name, members, tree);
  } catch (error) {
    if (!hasCode(error, "REPO_CORRUPT")) throw error;
    // Once more, for a message that names the entry: making that name for every one costs as much as reading it.
    return decodeFacts(name, members, `${tree}, entry ${JSON.stringify(Buffer.from(name, "latin1").toString())}`);
  }
}

function decodeFacts(name: string, members: Members, what: string): ResticNode {
  const type = members["type"];
  if (typeof type !== "string" || !TYPES.includes(type)) throw corrupt(what, `its type is ${JSON.stringify(type)?.slice(0, 40)}`);
  return {
    name,
    type: type as NodeType,
    mode: permissionsOf(parseCount(members["mode"], "mode", what)),
    uid: parseCount(members["uid"], "uid", what),
    gid: parseCount(members["gid"], "gid", what),
    mtimeNs: parseTime(members["mtime"], "mtime", what),
    size: parseCount(members["size"], "size", what),
    links: parseCount(members["links"], "links", what),
    inode: parseUint64(members["inode"], "inode", what),
    deviceId: parseUint64(members["device_id"], "device_id", what),
    target: targetOf(members, what),
    xattrs: xattrsOf(members["extended_attributes"], what),
    device: members["device"] === undefined ? NO_DEVICE : deviceOf(parseUint64(members["device"], "device", what)),
    contents: parseIds(members["content"], "content", what),
    subtree: members["subtree"] === undefined || members["subtree"] === null ? undefined : parseId(members["subtree"], what),
  };
}

function permissionsOf(mode: number): number {
  return (mode & 0o777) | ((mode & GO_SETUID) === 0 ? 0 : 0o4000) | ((mode & GO_SETGID) === 0 ? 0 : 0o2000) | ((mode & GO_STICKY) === 0 ? 0 : 0o1000);
}

/** The raw target is written beside the other where that is not UTF-8. */
function targetOf(members: Members, what: string): string {
  const raw = members["linktarget_raw"];
  if (raw === undefined || raw === null) return byteStringOf(parseText(members["linktarget"], "linktarget", what));
  return Buffer.from(bytesOf(raw, "linktarget_raw", what)).toString("latin1");
}

function xattrsOf(value: unknown, what: string): ResticNode["xattrs"] {
  if (value === undefined || value === null) return NO_XATTRS;
  if (!Array.isArray(value)) throw corrupt(what, "its extended attributes are not a list");
  return value.map((attribute: unknown) => {
    if (!isMembers(attribute) || typeof attribute["name"] !== "string") throw corrupt(what, "an extended attribute has no name");
    return { name: attribute["name"], value: attribute["value"] === null ? new Uint8Array(0) : bytesOf(attribute["value"], "value", what) };
  });
}

/** Linux's encoding of a device number. */
function deviceOf(device: bigint): { readonly major: number; readonly minor: number } {
  return {
    major: Number(((device >> 8n) & 0xfffn) | ((device >> 32n) & 0xfffff000n)),
    minor: Number((device & 0xffn) | ((device >> 12n) & 0xffffff00n)),
  };
}

function bytesOf(value: unknown, name: string, what: string): Uint8Array {
  const bytes = typeof value === "string" ? fromBase64(value) : undefined;
  if (bytes === undefined) throw corrupt(what, `"${name}" is not base64`);
  return bytes;
}
