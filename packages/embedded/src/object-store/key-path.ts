/**
 * Where an object's file lies below its bucket's folder. A person sees the keys they know; what a file system cannot hold is escaped with `%`, which itself is always escaped,
 * so every key has exactly one path and every path at most one key:
 *
 *   segment between slashes                      name
 *   ordinary                                     itself
 *   `%`, control characters                      %XX of the code point
 *   empty (`a//b`, `a/`)                         `%`
 *   `.` and `..`                                 %2E, %2E%2E
 *   longer than 200 bytes                        pieces: folders `piece%+`, the last piece as above
 *   an object whose name a folder has            `name%-` (S3 allows `a` beside `a/b`)
 */
import { utf8 } from "@drayage/base";

const PIECE_MAX = 200;
const CONTINUES = "%+";
const BESIDE_FOLDER = "%-";

/** The parts of an object's path: its folders, and its file. */
export function keyPath(key: string): readonly string[] {
  return key.split("/").flatMap((segment) => {
    const pieces = splitPieces(encodeSegment(segment));
    return pieces.map((piece, index) => (index < pieces.length - 1 ? piece + CONTINUES : escapeDots(piece)));
  });
}

/** The name of a file that steps aside for a folder. */
export function besideFolder(name: string): string {
  return name + BESIDE_FOLDER;
}

/** What a folder adds to the keys below it, or undefined for a folder that is none of ours. */
export function folderKeyPart(name: string): string | undefined {
  if (name.endsWith(CONTINUES)) return decodeSegment(name.slice(0, -CONTINUES.length));
  const segment = decodeSegment(name);
  return segment === undefined ? undefined : `${segment}/`;
}

/** What a file adds to its folder's keys, or undefined for a file that is none of ours. */
export function fileKeyPart(name: string): string | undefined {
  return decodeSegment(name.endsWith(BESIDE_FOLDER) ? name.slice(0, -BESIDE_FOLDER.length) : name);
}

function encodeSegment(segment: string): string {
  if (segment === "") return "%";
  return segment.toWellFormed().replace(/[%\p{Cc}]/gu, (char) => `%${(char.codePointAt(0) ?? 0).toString(16).toUpperCase().padStart(2, "0")}`);
}

function escapeDots(name: string): string {
  return name === "." || name === ".." ? name.replaceAll(".", "%2E") : name;
}

function decodeSegment(name: string): string | undefined {
  if (name === "%") return "";
  if (/%(?![0-9A-F]{2})/.test(name)) return undefined;
  return name.replace(/%([0-9A-F]{2})/g, (_all, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
}

/** Cuts at character boundaries, never inside an escape. */
function splitPieces(encoded: string): string[] {
  const pieces: string[] = [];
  let piece = "";
  let bytes = 0;
  for (const unit of encoded.match(/%[0-9A-F]{2}|[\s\S]/gu) ?? []) {
    const length = utf8(unit).length;
    if (bytes + length > PIECE_MAX) {
      pieces.push(piece);
      piece = "";
      bytes = 0;
    }
    piece += unit;
    bytes += length;
  }
  return [...pieces, piece];
}
