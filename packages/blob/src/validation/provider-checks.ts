/**
 * What a repository needs of a store, as checks that run against any store that people bring: `dray repo validate-provider`, and in the contract suite on every provider of ours.
 * Each works with blobs of its own and throws when the guarantee is not kept.
 */
import { asBuffer, DrayError, equalBytes, forEachLimit, hasCode, messageOf, utf8 } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "../storage.ts";

export interface CheckContext {
  readonly storage: BlobStorage;
  /** Milliseconds since the epoch, by this machine. */
  readonly nowMs: () => number;
  readonly signal?: AbortSignal;
}

export interface ProviderCheck {
  /** Stable, for `--json`. */
  readonly name: string;
  /** What the store promises when the check passes. */
  readonly guarantee: string;
  /** What it means for a repository when it does not. */
  readonly otherwise: string;
  /** Without a needed one no repository should be kept there. */
  readonly needed: boolean;
  /** Left out by `--quick`: moves megabytes, or makes a thousand requests. */
  readonly slow?: boolean;
  readonly run: (context: CheckContext) => Promise<void>;
}

/** Maintenance refuses to delete above this difference (kopia-format.md 8.4). */
const SKEW_MAX_MS = 5 * 60_000;
const LARGE_BYTES = 24 << 20;
/** More than one page of a listing at every provider: 1,000 at S3 and Google, 5,000 at Azure, where a page may also be shorter. */
const MANY = 1_050;
const AT_ONCE = 16;

export const PROVIDER_CHECKS: readonly ProviderCheck[] = [
  {
    name: "read-after-write",
    guarantee: "What was written is read at once, whole, with its length",
    otherwise: "A backup could not trust what it wrote a moment ago.",
    needed: true,
    run: async (context) => {
      for (const text of ["hello", "", "a".repeat(70_000)]) await putAndRead(context, "raw", utf8(text));
      const { length } = await context.storage.head("raw", context.signal);
      if (length !== 70_000) fail(`a blob of 70000 bytes is said to have ${length}`);
    },
  },
  {
    name: "listing-after-write",
    guarantee: "A listing shows every blob that is there and none that was deleted, in order",
    otherwise: "Indexes would be overlooked, and maintenance would delete what is still needed.",
    needed: true,
    run: async (context) => {
      const { storage, signal } = context;
      const ids = ["la-2", "la-10", "la-1", "lb-1"];
      for (const id of ids) await storage.put(id, utf8(id), withSignal(signal));
      await storage.delete("la-10", signal);
      const found = (await listed(context, "la-")).map(({ id }) => id);
      if (found.join(" ") !== "la-1 la-2") fail(`la-1 and la-2 are there, the listing has ${found.join(" ") || "nothing"}`);
    },
  },
  {
    name: "not-found",
    guarantee: "A blob that is not there is said not to be there, and deleting it is no error",
    otherwise: "Absence could not be told from trouble, and interrupted work could not be repeated.",
    needed: true,
    run: async ({ storage, signal }) => {
      const error = await storage.get("absent", withSignal(signal)).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      signal?.throwIfAborted();
      if (!hasCode(error, "BLOB_NOT_FOUND")) fail(error === undefined ? "a blob that was never written is given out" : messageOf(error));
      await storage.delete("absent", signal);
      await storage.delete("absent", signal);
    },
  },
  {
    name: "ranges",
    guarantee: "A range of a blob is exactly the bytes that were asked for",
    otherwise: "Contents could not be read out of packs.",
    needed: true,
    run: async ({ storage, signal }) => {
      await storage.put("ranges", utf8("0123456789"), withSignal(signal));
      for (const [offset, length, wanted] of [
        [0, 4, "0123"],
        [3, 4, "3456"],
        [9, 1, "9"],
      ] as const) {
        const seen = asBuffer(await storage.get("ranges", { offset, length, ...withSignal(signal) })).toString();
        if (seen !== wanted) fail(`${length} bytes from ${offset} of 0123456789 are said to be ${JSON.stringify(seen)}`);
      }
      const beyond = await storage.get("ranges", { offset: 8, length: 4, ...withSignal(signal) }).then(
        () => undefined,
        (thrown: unknown) => thrown,
      );
      signal?.throwIfAborted();
      if (!hasCode(beyond, "BLOB_INVALID_RANGE")) fail("a range that ends behind the blob is answered all the same");
    },
  },
  {
    name: "atomic-replacement",
    guarantee: "Whoever reads a blob while it is replaced sees the old one or the new one, never a part or a mixture",
    otherwise: "Two clients could read a torn format or maintenance blob and damage the repository.",
    needed: true,
    run: async ({ storage, signal }) => {
      const versions = ["a", "b"].map((letter, index) => utf8(letter.repeat(200_000 + 50_000 * index)));
      const [first = utf8(""), second = utf8("")] = versions;
      await storage.put("replaced", first, withSignal(signal));
      let writing = true;
      const writer = (async () => {
        try {
          for (let round = 0; round < 4; round++) await storage.put("replaced", round % 2 === 0 ? second : first, withSignal(signal));
        } finally {
          writing = false;
        }
      })();
      const reader = (async () => {
        while (writing) {
          const seen = asBuffer(await storage.get("replaced", withSignal(signal)));
          if (!versions.some((version) => equalBytes(seen, version))) fail(`a reader saw ${seen.length} bytes that are neither version`);
        }
      })();
      await Promise.all([writer, reader]);
      if (!equalBytes(asBuffer(await storage.get("replaced", withSignal(signal))), first)) fail("the last version written is not the one that stayed");
    },
  },
  {
    name: "concurrent-writers",
    guarantee: "Many writers and readers at once do not disturb each other",
    otherwise: "Backups upload many packs at once; some of them would be damaged.",
    needed: true,
    run: async (context) => {
      const ids = Array.from({ length: 48 }, (_, index) => `concurrent-${index}`);
      await forEachLimit(ids.entries(), AT_ONCE, ([index, id]) => putAndRead(context, id, patterned(10_000 + index * 97, index)), context.signal);
      const found = await listed(context, "concurrent-");
      if (found.length !== ids.length) fail(`${ids.length} blobs were written at once, ${found.length} are listed`);
    },
  },
  {
    name: "large-blobs",
    guarantee: "A blob of the size of a pack comes back byte for byte, also in ranges",
    otherwise: "Packs (20 to 40 MB) would be damaged or refused.",
    needed: true,
    slow: true,
    run: async (context) => {
      const data = patterned(LARGE_BYTES, 7);
      await putAndRead(context, "large", data);
      const tail = await context.storage.get("large", { offset: LARGE_BYTES - 1000, length: 1000, ...withSignal(context.signal) });
      if (!equalBytes(asBuffer(tail), data.subarray(-1000))) fail("its last 1000 bytes are others");
    },
  },
  {
    name: "long-listings",
    guarantee: `A listing of more than one page is complete (${MANY} blobs)`,
    otherwise: "In a repository of any size, blobs would be overlooked and lost.",
    needed: true,
    slow: true,
    run: async (context) => {
      const ids = Array.from({ length: MANY }, (_, index) => `many-${String(index).padStart(5, "0")}`);
      await forEachLimit(ids, AT_ONCE, (id) => context.storage.put(id, utf8("x"), withSignal(context.signal)), context.signal);
      const found = (await listed(context, "many-")).map(({ id }) => id);
      if (found.length !== ids.length || !found.every((id, index) => id === ids[index])) fail(`${ids.length} blobs were written, ${found.length} are listed`);
    },
  },
  {
    name: "clock",
    guarantee: "The store's clock and that of this machine agree within five minutes",
    otherwise: "Maintenance refuses to delete anything: it could not tell old blobs from new ones.",
    needed: true,
    run: async ({ storage, nowMs, signal }) => {
      const beforeMs = nowMs();
      await storage.put("clock", utf8("x"), withSignal(signal));
      const { timestampMs } = await storage.head("clock", signal);
      const skewMs = timestampMs < beforeMs ? beforeMs - timestampMs : Math.max(0, timestampMs - nowMs());
      if (skewMs > SKEW_MAX_MS) fail(`they differ by ${Math.round(skewMs / 1000)} seconds`);
    },
  },
  {
    name: "create-if-absent",
    guarantee: "Of several who create the same blob at once exactly one succeeds",
    otherwise: "Two people who create a repository in the same place at the same moment are not kept apart. Everything else is safe without.",
    needed: false,
    run: async ({ storage, signal }) => {
      if (!storage.capabilities.putIfAbsent) fail("the store does not offer it");
      const outcomes = await Promise.allSettled(
        ["a", "b", "c", "d"].map((text) => storage.put("created", utf8(text), { ifAbsent: true, ...withSignal(signal) })),
      );
      signal?.throwIfAborted();
      const winners = outcomes.filter(({ status }) => status === "fulfilled").length;
      const odd = outcomes.find((outcome) => outcome.status === "rejected" && !hasCode(outcome.reason, "BLOB_ALREADY_EXISTS", "BLOB_UNAVAILABLE"));
      if (odd?.status === "rejected") throw odd.reason;
      if (winners !== 1) fail(`of four at once ${winners} succeeded`);
    },
  },
];

async function putAndRead({ storage, signal }: CheckContext, id: string, data: Uint8Array): Promise<void> {
  await storage.put(id, data, withSignal(signal));
  const seen = asBuffer(await storage.get(id, withSignal(signal)));
  if (!equalBytes(seen, data)) fail(`"${id}" was written with ${data.length} bytes and came back with ${seen.length} that are not the same`);
}

async function listed({ storage, signal }: CheckContext, prefix: string): Promise<readonly BlobMetadata[]> {
  const found: BlobMetadata[] = [];
  for await (const blob of storage.list(prefix, signal)) found.push(blob);
  return found;
}

function withSignal(signal: AbortSignal | undefined): { readonly signal?: AbortSignal } {
  return signal === undefined ? {} : { signal };
}

function patterned(length: number, seed: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = index * 31 + (index >> 8) * 7 + seed;
  return bytes;
}

function fail(what: string): never {
  throw new DrayError("INVARIANT", what);
}
