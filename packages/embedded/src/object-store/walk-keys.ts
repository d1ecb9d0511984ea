import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { compareUtf8 } from "@drayage/base";
import { fileKeyPart, folderKeyPart } from "./key-path.ts";

export interface WalkOptions {
  readonly prefix: string;
  /** Empty: none. */
  readonly delimiter: string;
  /** Only what sorts after this. */
  readonly after: string;
}

export type WalkEntry = { readonly kind: "key" | "prefix"; readonly text: string };

/**
 * The keys of a bucket's folder and, with a delimiter, their common prefixes, in byte order. Folders are read only when their turn comes and something in them can be wanted.
 */
export async function* walkKeys(root: string, options: WalkOptions): AsyncIterable<WalkEntry> {
  const { prefix, delimiter, after } = options;
  let folded = "";
  // What is still to come, last first. A folder stands for its smallest possible key.
  const pending: Pending[] = [{ text: "", path: root }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { text, path } = next;
    if (folded !== "" && text.startsWith(folded)) continue;
    const common = commonPrefix(text, prefix, delimiter);
    if (path === undefined) {
      if (common === undefined) yield { kind: "key", text };
      else if (compareUtf8(common, after) > 0) {
        folded = common;
        yield { kind: "prefix", text: common };
      }
    } else if (common !== undefined && compareUtf8(common, after) <= 0) {
      // Every key in here belongs to a common prefix that was given out before.
    } else if (common !== undefined && (await holdsKey(path))) {
      folded = common;
      yield { kind: "prefix", text: common };
    } else {
      pending.push(...(await readFolder(path, text)).filter((entry) => isWanted(entry, prefix, after)));
      pending.sort((a, b) => compareUtf8(b.text, a.text));
    }
  }
}

interface Pending {
  readonly text: string;
  /** Set for a folder that is not read yet. */
  readonly path: string | undefined;
}

function commonPrefix(text: string, prefix: string, delimiter: string): string | undefined {
  if (delimiter === "" || !text.startsWith(prefix)) return undefined;
  const at = text.indexOf(delimiter, prefix.length);
  return at < 0 ? undefined : text.slice(0, at + delimiter.length);
}

function isWanted({ text, path }: Pending, prefix: string, after: string): boolean {
  if (path === undefined) return text.startsWith(prefix) && compareUtf8(text, after) > 0;
  return (text.startsWith(prefix) || prefix.startsWith(text)) && (after.startsWith(text) || compareUtf8(text, after) > 0);
}

async function readFolder(path: string, text: string): Promise<Pending[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => []);
  return entries.flatMap((entry): Pending[] => {
    const part = entry.isDirectory() ? folderKeyPart(entry.name) : entry.isFile() ? fileKeyPart(entry.name) : undefined;
    if (part === undefined) return [];
    return [{ text: text + part, path: entry.isDirectory() ? join(path, entry.name) : undefined }];
  });
}

async function holdsKey(path: string): Promise<boolean> {
  for (const entry of await readFolder(path, "")) if (entry.path === undefined || (await holdsKey(entry.path))) return true;
  return false;
}
