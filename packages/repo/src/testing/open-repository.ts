/** Repositories in memory, opened for tests. */
import { type Clock, nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { BlobStorage } from "@drayage/blob";
import { MemoryStorage } from "@drayage/blob/testing";
import { type Contents, type OpenContentsOptions, openContents } from "../content/contents.ts";
import type { BlockFormatChoices } from "../format/block-format.ts";
import { rememberingKeys } from "../format/key-hierarchy.ts";
import { createRepositoryFormat } from "../format/repository-format.ts";

/** Hundreds of tests open repositories; each password is stretched once. */
const deriveKey = rememberingKeys();

export const TEST_PASSWORD = "hunter2";

export interface TestRepository {
  readonly storage: BlobStorage;
  readonly clock: VirtualClock;
  /** Opens the contents once more, as another client would. */
  open(options?: Partial<OpenContentsOptions>): Promise<Contents>;
}

/** A new repository in memory under a virtual clock; keys come from a seed, and the KDF is the one that needs no 64 MiB. */
export async function newTestRepository(
  options: { readonly blockFormat?: BlockFormatChoices; readonly seed?: number; readonly wrap?: (inner: BlobStorage) => BlobStorage } = {},
): Promise<TestRepository> {
  const clock = new VirtualClock(Date.UTC(2026, 10, 21));
  const inner = new MemoryStorage(clock);
  const random = seededRandom(options.seed ?? 1);
  const blockFormat = options.blockFormat === undefined ? {} : { blockFormat: options.blockFormat };
  await createRepositoryFormat(inner, { password: TEST_PASSWORD, clock, random, keyAlgorithm: "pbkdf2-sha256-600000", deriveKey, ...blockFormat });
  const storage = options.wrap?.(inner) ?? inner;
  return { storage, clock, open: (changes) => openTestContents(storage, clock, changes) };
}

let opened = 0;

export function openTestContents(storage: BlobStorage, clock: Clock, changes: Partial<OpenContentsOptions> = {}): Promise<Contents> {
  return openContents(storage, {
    password: TEST_PASSWORD,
    clock,
    deriveKey,
    // Each client has its own randomness: two with one seed would give their packs the same names.
    random: seededRandom(1000 + opened++),
    logger: nullLogger,
    identity: { username: "user", hostname: "host" },
    ...changes,
  });
}
