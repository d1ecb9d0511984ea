import { type FileHandle, mkdtemp, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type { ArchivedItemRef } from "@drayage/api";
import { compareUtf8, concat, DrayError, fromUtf8, isDrayError, messageOf } from "@drayage/base";
import { extract } from "tar-stream";
import { translateDiskError } from "./disk-error.ts";
import { FORMAT_VERSION, parseEntry, VERSION_ENTRY } from "./layout.ts";

/** The server takes no object over 3 MiB; what is far beyond that is no resource. */
const ENTRY_BYTES_MAX = 64 << 20;
const ENTRIES_MAX = 10_000_000;
/** What is written to the spool file at once. */
const CHUNK_BYTES = 256 << 10;

export interface TarballEntry {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/**
 * The entries of a gzipped tarball in order, one in memory at a time. Throws ARCHIVE_CORRUPT for what is cut short, is no tarball, holds anything but files and folders,
 * or entries beyond 64 MiB.
 */
export async function* readEntries(source: AsyncIterable<Uint8Array>, what: string): AsyncGenerator<TarballEntry> {
  const corrupt = (reason: string, cause?: unknown): DrayError =>
    new DrayError("ARCHIVE_CORRUPT", `Cannot read the tarball of backup "${what}": ${reason}`, {
      ...(cause === undefined ? {} : { cause }),
      hint: "The file in the bucket is damaged; restore it from a copy or an older version.",
    });
  const unpacker = extract();
  const input = Readable.from(source);
  const unzipped = createGunzip();
  // Errors of each stage surface in the loop below.
  input.on("error", (error) => unzipped.destroy(error));
  unzipped.on("error", (error) => unpacker.destroy(error));
  input.pipe(unzipped).pipe(unpacker);
  let count = 0;
  let sawAny = false;
  try {
    for await (const entry of unpacker) {
      sawAny = true;
      const { name, type, size = 0 } = entry.header;
      if (++count > ENTRIES_MAX) throw corrupt(`it has more than ${ENTRIES_MAX} entries`);
      if (type !== "file" && type !== "directory") throw corrupt(`entry "${name}" is a ${type}`);
      if (size > ENTRY_BYTES_MAX) throw corrupt(`entry "${name}" has ${size} bytes, at most ${ENTRY_BYTES_MAX} are wanted`);
      const parts: Uint8Array[] = [];
      for await (const part of entry) parts.push(part as Uint8Array);
      if (type === "file") yield { name, bytes: concat(parts) };
    }
  } catch (error) {
    if (isDrayError(error)) throw error;
    throw corrupt(messageOf(error), error);
  } finally {
    input.destroy();
    unzipped.destroy();
    unpacker.destroy();
  }
  if (!sawAny) throw corrupt("it is empty");
}

interface Place {
  readonly offset: number;
  readonly length: number;
}

const keyOf = ({ namespace, name, version }: { namespace: string | undefined; name: string; version: string }): string =>
  `${version}\u0000${namespace ?? ""}\u0000${namespace === undefined ? "c" : "n"}\u0000${name}`;

/** A backup's tarball, its items in one spool file on disk: no name of an entry ever becomes a path. */
export class TarballReader {
  readonly formatVersion: string;
  readonly #folder: string;
  readonly #spool: FileHandle;
  readonly #resources: ReadonlyMap<string, ReadonlyMap<string, { readonly ref: ArchivedItemRef; readonly place: Place }>>;
  readonly #preferred = new Map<string, readonly ArchivedItemRef[]>();
  readonly #versions = new Map<string, readonly { readonly version: string; readonly preferred: boolean }[]>();
  #disposed = false;

  private constructor(formatVersion: string, folder: string, spool: FileHandle, resources: Map<string, Map<string, { ref: ArchivedItemRef; place: Place }>>) {
    this.formatVersion = formatVersion;
    this.#folder = folder;
    this.#spool = spool;
    this.#resources = resources;
  }

  /**
   * Unpacks a tarball below `temporaryFolder`. Throws ARCHIVE_CORRUPT, ARCHIVE_UNSUPPORTED for a format newer than this program knows unless `anyVersion` is set, PATH_NO_SPACE and PATH_IO for
   * trouble with the disk.
   */
  static async open(
    source: AsyncIterable<Uint8Array>,
    what: string,
    temporaryFolder: string,
    { anyVersion = false }: { readonly anyVersion?: boolean } = {},
  ): Promise<TarballReader> {
    const action = `Cannot unpack the tarball of backup "${what}" in "${temporaryFolder}"`;
    const folder = await mkdtemp(join(temporaryFolder, "restore-")).catch((error: unknown) => {
      throw translateDiskError(error, action);
    });
    let spool: FileHandle | undefined;
    try {
      spool = await open(join(folder, "items"), "wx+", 0o600);
      const resources = new Map<string, Map<string, { ref: ArchivedItemRef; place: Place }>>();
      let formatVersion = "1.0.0";
      let offset = 0;
      let pending: Uint8Array[] = [];
      let pendingBytes = 0;
      const write = async (file: FileHandle): Promise<void> => {
        const chunk = concat(pending);
        // A disk that is nearly full takes a part and says so only of the rest.
        for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at, chunk.length - at, offset - pendingBytes + at)).bytesWritten;
        pending = [];
        pendingBytes = 0;
      };
      for await (const { name, bytes } of readEntries(source, what)) {
        if (name === VERSION_ENTRY) {
          formatVersion = fromUtf8(bytes).trim();
          if (!anyVersion) checkVersion(formatVersion, what);
        }
        const ref = parseEntry(name);
        if (ref === undefined) continue;
        const items = resources.get(ref.groupResource) ?? new Map<string, { ref: ArchivedItemRef; place: Place }>();
        resources.set(ref.groupResource, items.set(keyOf(ref), { ref, place: { offset, length: bytes.length } }));
        offset += bytes.length;
        pending.push(bytes);
        pendingBytes += bytes.length;
        if (pendingBytes >= CHUNK_BYTES) await write(spool);
      }
      await write(spool);
      return new TarballReader(formatVersion, folder, spool, resources);
    } catch (error) {
      await spool?.close();
      await rm(folder, { recursive: true, force: true });
      throw translateDiskError(error, action);
    }
  }

  resources(): readonly string[] {
    return [...this.#resources.keys()].sort(compareUtf8);
  }

  /** Items at the preferred version; those of the form without a version where a resource has no other. */
  items(groupResource: string): readonly ArchivedItemRef[] {
    const known = this.#preferred.get(groupResource);
    if (known !== undefined) return known;
    const all = [...(this.#resources.get(groupResource)?.values() ?? [])].map(({ ref }) => ref);
    const versioned = all.filter(({ version, preferred }) => version !== "" && preferred);
    const chosen = versioned.length > 0 ? versioned : all.filter(({ version }) => version === "");
    chosen.sort((a, b) => compareUtf8(a.namespace ?? "", b.namespace ?? "") || compareUtf8(a.name, b.name));
    this.#preferred.set(groupResource, chosen);
    return chosen;
  }

  versions(groupResource: string): readonly { readonly version: string; readonly preferred: boolean }[] {
    // Whatever an item brings along is looked for by it: not among all items each time.
    const known = this.#versions.get(groupResource);
    if (known !== undefined) return known;
    const found = new Map<string, boolean>();
    for (const { ref } of this.#resources.get(groupResource)?.values() ?? []) if (ref.version !== "") found.set(ref.version, ref.preferred);
    const versions = [...found].map(([version, preferred]) => ({ version, preferred }));
    this.#versions.set(groupResource, versions);
    return versions;
  }

  find(groupResource: string, namespace: string | undefined, name: string): ArchivedItemRef | undefined {
    const items = this.#resources.get(groupResource);
    const [preferred] = this.versions(groupResource).filter((version) => version.preferred);
    return items?.get(keyOf({ namespace, name, version: preferred?.version ?? "" }))?.ref;
  }

  /** Throws ARCHIVE_CORRUPT when the entry is no JSON object. */
  async read(ref: ArchivedItemRef): Promise<{ metadata: Record<string, unknown>; [field: string]: unknown }> {
    const found = this.#resources.get(ref.groupResource)?.get(keyOf(ref));
    const where = `${ref.groupResource} ${ref.namespace === undefined ? "" : `${ref.namespace}/`}${ref.name}`;
    if (found === undefined) throw new DrayError("ARCHIVE_CORRUPT", `Cannot read ${where}: it is not in the backup`);
    const bytes = new Uint8Array(found.place.length);
    const { bytesRead } = await this.#spool.read(bytes, 0, bytes.length, found.place.offset);
    try {
      if (bytesRead !== bytes.length) throw new Error("the spool file is shorter than it was");
      const object = JSON.parse(fromUtf8(bytes)) as unknown;
      if (typeof object !== "object" || object === null || Array.isArray(object)) throw new Error("it is no JSON object");
      const { metadata } = object as { metadata?: unknown };
      if (typeof metadata !== "object" || metadata === null) throw new Error("it has no metadata");
      return object as { metadata: Record<string, unknown> };
    } catch (error) {
      throw new DrayError("ARCHIVE_CORRUPT", `Cannot read ${where} of the backup: ${messageOf(error)}`, { cause: error });
    }
  }

  async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    await this.#spool.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** Later minor versions only add; a later major one may mean anything. */
function checkVersion(version: string, what: string): void {
  const major = /^(\d+)\.\d+/.exec(version)?.[1];
  if (major === undefined) throw new DrayError("ARCHIVE_CORRUPT", `Cannot read backup "${what}": its format version is "${version}"`);
  if (Number(major) > Number(FORMAT_VERSION.split(".")[0])) {
    throw new DrayError(
      "ARCHIVE_UNSUPPORTED",
      `Cannot read backup "${what}": its format version is ${version}, at most ${FORMAT_VERSION.split(".")[0]}.x is read here`,
      { hint: "It was made by a newer program; use that one." },
    );
  }
}
