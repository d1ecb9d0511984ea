/** A layer of an image: a tar file that is the same for the same files, whatever the machine, the time and the user that make it. */
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { constants, gzipSync } from "node:zlib";
import { pack } from "tar-stream";

/** One file, folder or link; the path begins with a slash. Everything belongs to root. */
export type LayerEntry = { readonly path: string; readonly mode: number } & (
  | { readonly type: "directory" }
  | { readonly type: "symlink"; readonly target: string }
  | { readonly type: "file"; readonly content: Uint8Array | { readonly source: string } }
);

export interface Layer {
  /** Of the plain tar file. */
  readonly diffId: string;
  readonly blob: Uint8Array;
  readonly mediaType: string;
}

/** The layer of these entries; folders above them are added. `compression` is a level of gzip, 0 for none. */
export async function makeLayer(entries: readonly LayerEntry[], compression: number): Promise<Layer> {
  const tar = await tarOf(withParents(entries));
  const blob = compression === 0 ? tar : gzipSync(tar, { level: compression, strategy: constants.Z_DEFAULT_STRATEGY });
  return {
    diffId: digestOf(tar),
    blob,
    mediaType: `application/vnd.oci.image.layer.v1.tar${compression === 0 ? "" : "+gzip"}`,
  };
}

export function digestOf(bytes: Uint8Array): string {
  return `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
}

/** Sorted by path, each once, and every folder before what is in it. Throws when two entries have one path. */
export function withParents(entries: readonly LayerEntry[]): LayerEntry[] {
  const byPath = new Map<string, LayerEntry>();
  for (const entry of entries) {
    if (byPath.has(entry.path)) throw new Error(`Cannot make a layer: "${entry.path}" is in it twice`);
    byPath.set(entry.path, entry);
  }
  for (const { path } of entries) {
    for (let end = path.lastIndexOf("/"); end > 0; end = path.lastIndexOf("/", end - 1)) {
      const folder = path.slice(0, end);
      if (!byPath.has(folder)) byPath.set(folder, { path: folder, type: "directory", mode: 0o755 });
    }
  }
  return [...byPath.values()].sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function tarOf(entries: readonly LayerEntry[]): Promise<Buffer> {
  const tar = pack();
  const parts: Buffer[] = [];
  const read = (async () => {
    for await (const part of tar) parts.push(part as Buffer);
  })();
  for (const entry of entries) {
    const name = entry.path.slice(1);
    const header = { name, mode: entry.mode, uid: 0, gid: 0, mtime: new Date(0) };
    await new Promise<void>((resolve, reject) => {
      const done = (error?: Error | null): void => (error == null ? resolve() : reject(error));
      if (entry.type === "directory") tar.entry({ ...header, name: `${name}/`, type: "directory" }, done);
      else if (entry.type === "symlink") tar.entry({ ...header, type: "symlink", linkname: entry.target }, done);
      else tar.entry({ ...header, type: "file" }, Buffer.from("source" in entry.content ? readFileSync(entry.content.source) : entry.content), done);
    });
  }
  tar.finalize();
  await read;
  return Buffer.concat(parts);
}
