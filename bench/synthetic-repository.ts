/**
 * A repository of as many contents as one likes, made in seconds: its indexes, directory listings, snapshot and packs of directories are real, its packs of
 * data are there by name only. Whatever looks into indexes, walks snapshots or maintains works on it as on a real one, kopia too; data cannot be read.
 */
import { type Clock, type RandomSource, randomHex } from "../packages/base/src/index.ts";
import type { BlobStorage } from "../packages/blob/src/index.ts";
import { Contents } from "../packages/repo/src/content/contents.ts";
import { createRepository, DirectoryListingWriter, emptyStats, parseObjectId, type RepositoryIdentity } from "../packages/repo/src/index.ts";
import { IndexV2Builder } from "../packages/repo/src/index-blobs/index-v2.ts";

export const SYNTHETIC_PASSWORD = "synthetic";
const KEY_BYTES = 17;
/** 500 contents fill a pack of the usual size. */
const CONTENT_BYTES = 42_000;
const CONTENTS_PER_PACK = 500;
const FILES_PER_DIRECTORY = 1000;

export interface SyntheticOptions {
  readonly contents: number;
  /** Small index blobs besides the large one; a tenth of the contents is spread over them. */
  readonly smallIndexes?: number;
  /** A snapshot whose files are the contents. @default true */
  readonly snapshot?: boolean;
  readonly identity: RepositoryIdentity;
  readonly clock: Clock;
  readonly random: RandomSource;
}

export async function makeSyntheticRepository(storage: BlobStorage, options: SyntheticOptions): Promise<void> {
  const { contents: count, smallIndexes = 20, snapshot = true, identity, clock, random } = options;
  const repository = await createRepository(storage, { password: SYNTHETIC_PASSWORD, identity, clock, random });
  const { contents } = repository;
  if (!(contents instanceof Contents)) throw new Error("the repository has no contents of its own");
  const session = `s${randomHex(random, 8)}148`;
  const packs = Array.from({ length: Math.ceil(count / CONTENTS_PER_PACK) }, () => `p${randomHex(random, 16)}-${session}`);
  for (const pack of packs) await storage.put(pack, new Uint8Array(32));

  const small = Math.min(smallIndexes, Math.floor(count / 10));
  const builders = Array.from({ length: 1 + small }, (_, i) => new IndexV2Builder(KEY_BYTES, i === 0 ? count : Math.ceil(count / 10 / small)));
  const key = Buffer.alloc(KEY_BYTES);
  // A day and more ago: nothing of it is too young for anything.
  const seconds = Math.floor(clock.nowMs() / 1000) - 100_000;
  for (let i = 0; i < count; i++) {
    keyInto(key, i, count);
    builders[small > 0 && i % 10 === 0 ? 1 + ((i / 10) % small) : 0]?.add({
      ...{ key, packBlobId: packs[i % packs.length] ?? "", packOffset: 32 + Math.floor(i / packs.length) * CONTENT_BYTES },
      ...{ packedLength: CONTENT_BYTES, originalLength: CONTENT_BYTES - 28, compressionId: 0, formatVersion: 3, timestampSeconds: seconds, deleted: false },
    });
  }
  for (const builder of builders) await contents.indexBlobs.write([builder.build()], `s${randomHex(random, 8)}148`);
  await repository.contents.refresh();
  if (snapshot) {
    const common = { mode: 0o644, mtimeNs: 5n, uid: 0, gid: 0 };
    const root = new DirectoryListingWriter(repository.objectWriters);
    const name = (i: number): string => String(i).padStart(9, "0");
    for (let first = 0; first < count; first += FILES_PER_DIRECTORY) {
      const listing = new DirectoryListingWriter(repository.objectWriters);
      for (let i = first; i < Math.min(first + FILES_PER_DIRECTORY, count); i++) {
        const { objectId } = { objectId: keyInto(key, i, count).toString("hex", 1) };
        parseObjectId(objectId);
        await listing.add({ ...common, name: `file-${name(i)}`, type: "file", size: CONTENT_BYTES - 28, objectId: objectId as never });
      }
      const { objectId, summary } = await listing.finish({ mtimeNs: 5n });
      await root.add({ ...common, mode: 0o755, name: `folder-${name(first)}`, type: "directory", size: 0, objectId, summary });
    }
    const { objectId, summary } = await root.finish({ mtimeNs: 5n });
    await repository.snapshots.save({
      source: { host: identity.host, userName: identity.userName, path: "/data" },
      ...{ description: "", startTimeNs: clock.nowNs(), endTimeNs: clock.nowNs(), stats: emptyStats, tags: {}, pins: [] },
      rootEntry: { ...common, mode: 0o755, name: "data", type: "directory", size: 0, objectId, summary },
    });
  }
  await repository.flush();
  await repository.close();
}

/** How long a pack of data would be, by the index. */
export const packBytes = (contents: number): number => 32 + Math.ceil(contents / Math.ceil(contents / CONTENTS_PER_PACK)) * CONTENT_BYTES;

/** The key of content i: ascending with i, spread over all keys, and otherwise without order. */
export function keyInto(key: Buffer, i: number, count: number): Buffer {
  key[0] = 0;
  key.writeUIntBE(Math.floor((i + 0.5) * (2 ** 48 / count)), 1, 6);
  let state = (i ^ 0x9e3779b9) >>> 0;
  for (let at = 7; at < KEY_BYTES; at++) {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    key[at] = state >>> 24;
  }
  return key;
}
