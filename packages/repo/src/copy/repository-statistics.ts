/** What a repository holds and what it takes, by kinds of contents, compressors and blobs. */
import { compressorByHeader } from "@drayage/kernels";
import type { Repository } from "../repository.ts";

export interface CountAndBytes {
  readonly count: number;
  readonly bytes: number;
}

export interface RepositoryStatistics {
  /** Contents that are in use or may be again. `bytes` as stored. */
  readonly contents: CountAndBytes & { readonly originalBytes: number };
  /** Marked deleted: maintenance gives their space back. */
  readonly deletedContents: CountAndBytes;
  /** By prefix: `` data, `k` directories, `x` lists, `m` manifests. */
  readonly byPrefix: Readonly<Record<string, CountAndBytes & { readonly originalBytes: number }>>;
  /** By compressor; `none` where nothing was gained or wanted. */
  readonly byCompressor: Readonly<Record<string, CountAndBytes & { readonly originalBytes: number }>>;
  /** By size before compression: up to so many bytes. */
  readonly bySize: readonly (CountAndBytes & { readonly upTo: number })[];
  /** By the letter that their names begin with; `kopia` for the blobs of the format. */
  readonly blobs: Readonly<Record<string, CountAndBytes>>;
  /** Bytes in packs that no content uses. */
  readonly unusedPackBytes: number;
}

const SIZES: readonly number[] = [10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8].map(Math.round);

class Counter {
  count = 0;
  bytes = 0;
  originalBytes = 0;

  add(bytes: number, originalBytes = 0): void {
    this.count++;
    this.bytes += bytes;
    this.originalBytes += originalBytes;
  }
}

/** Walks the index and lists every blob. Memory does not depend on how many there are. */
export async function repositoryStatistics({ contents, storage }: Repository, signal?: AbortSignal): Promise<RepositoryStatistics> {
  const [all, deleted] = [new Counter(), new Counter()];
  const [prefixes, compressors, blobs] = [new Map<string, Counter>(), new Map<string, Counter>(), new Map<string, Counter>()];
  const sizes = SIZES.map(() => new Counter());
  for (const { id, packedLength, originalLength, compressionId, deleted: isDeleted } of contents.list({ includeDeleted: true })) {
    if (isDeleted) {
      deleted.add(packedLength);
      continue;
    }
    all.add(packedLength, originalLength);
    counterOf(prefixes, id.length % 2 === 0 ? "" : (id[0] ?? "")).add(packedLength, originalLength);
    counterOf(compressors, compressionId === 0 ? "none" : compressorByHeader(compressionId).name).add(packedLength, originalLength);
    (sizes.find((_counter, index) => originalLength <= (SIZES[index] ?? 0)) ?? sizes.at(-1))?.add(packedLength);
  }
  for await (const { id, length } of storage.list("", signal)) counterOf(blobs, id.startsWith("kopia.") ? "kopia" : (id[0] ?? "")).add(length);
  const inPacks = (blobs.get("p")?.bytes ?? 0) + (blobs.get("q")?.bytes ?? 0);
  return {
    contents: plain(all),
    deletedContents: { count: deleted.count, bytes: deleted.bytes },
    byPrefix: plainMap(prefixes),
    byCompressor: plainMap(compressors),
    bySize: sizes.map(({ count, bytes }, index) => ({ upTo: SIZES[index] ?? 0, count, bytes })).filter(({ count }) => count > 0),
    blobs: Object.fromEntries([...blobs].map(([name, { count, bytes }]) => [name, { count, bytes }])),
    unusedPackBytes: Math.max(0, inPacks - all.bytes - deleted.bytes),
  };
}

function counterOf(counters: Map<string, Counter>, name: string): Counter {
  const counter = counters.get(name) ?? new Counter();
  counters.set(name, counter);
  return counter;
}

function plain({ count, bytes, originalBytes }: Counter): CountAndBytes & { readonly originalBytes: number } {
  return { count, bytes, originalBytes };
}

function plainMap(counters: ReadonlyMap<string, Counter>): Record<string, CountAndBytes & { readonly originalBytes: number }> {
  return Object.fromEntries([...counters].map(([name, counter]) => [name, plain(counter)]));
}
