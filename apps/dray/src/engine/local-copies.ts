/** Copies on this machine of blobs that never change: what directories and manifests lie in (`q`). Index blobs are kept by the index itself, and file data (`p`) is read once by a restore. */
import { readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { DrayError, loggerTo } from "@drayage/base";
import { BlobCache, type BlobCacheUse, DEFAULT_BLOB_CACHE_BYTES } from "@drayage/blob";
import type { Terminal } from "../terminal.ts";
import { stateFolder } from "./state-folder.ts";

export function isCopied(blobId: string): boolean {
  return blobId.startsWith("q");
}

/**
 * The copies of what lies at a URL; undefined where none are kept: of folders of this machine, unless DRAY_CACHE_MIB says how much, and where it says 0.
 * Throws USAGE when it says something else.
 */
export function localCopies(url: string, description: string, terminal: Pick<Terminal, "env" | "clock" | "random" | "err">): BlobCache | undefined {
  const text = terminal.env["DRAY_CACHE_MIB"] ?? "";
  if (!/^\d{0,7}$/.test(text)) throw new DrayError("USAGE", `Cannot read DRAY_CACHE_MIB "${text}": a number of MiB is wanted, 0 for no copies`);
  const isFolder = !/^(s3|azure|gs):\/\//.test(url);
  if (text === "" ? isFolder : Number(text) === 0) return undefined;
  return new BlobCache({
    folder: join(stateFolder(terminal.env), "blobs"),
    store: description,
    bytesMax: text === "" ? DEFAULT_BLOB_CACHE_BYTES : Number(text) * 2 ** 20,
    ...{ clock: terminal.clock, random: terminal.random },
    logger: loggerTo(({ level, message, fields }) => {
      if (level === "warn" || level === "error") terminal.err(`dray: warning: ${message}${typeof fields["path"] === "string" ? `: ${fields["path"]}` : ""}\n`);
    }),
  });
}

/** What lies on this machine of a repository. */
export interface LocalCopies {
  /** Of all repositories. */
  readonly indexBytes: number;
  /** Undefined where no blobs are kept. */
  readonly blobs: BlobCacheUse | undefined;
}

export function copiesInUse(url: string, description: string, terminal: Pick<Terminal, "env" | "clock" | "random" | "err">): LocalCopies {
  const indexes = join(stateFolder(terminal.env), "index");
  return { indexBytes: bytesBelow(indexes), blobs: localCopies(url, description, terminal)?.use() };
}

/** Others may remove files and folders meanwhile. */
function bytesBelow(folder: string): number {
  return list(folder).reduce((sum, name) => {
    const path = join(folder, name);
    const found = statSync(path, { throwIfNoEntry: false });
    return sum + (found?.isDirectory() === true ? bytesBelow(path) : (found?.size ?? 0));
  }, 0);
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}
