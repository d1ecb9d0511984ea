/** A repository of contents in memory, with the real splitters and everything above contents as it ships. */
import { type Clock, DrayError, type RandomSource } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { MemoryStorage } from "@drayage/blob/testing";
import { createSplitter } from "@drayage/kernels";
import { Repository } from "../repository.ts";
import { MemoryContents } from "./memory-contents.ts";

export interface MemoryRepositoryOptions {
  readonly contents?: MemoryContents;
  readonly clock?: Clock;
  readonly random?: RandomSource;
  /** @default "DYNAMIC-128K-BUZHASH", so that small data has several chunks */
  readonly splitter?: string;
}

export function memoryRepository(options: MemoryRepositoryOptions = {}): { readonly repository: Repository; readonly contents: MemoryContents } {
  const clock = options.clock ?? new VirtualClock();
  const contents = options.contents ?? new MemoryContents();
  const repository = new Repository({
    storage: new MemoryStorage(clock),
    contents,
    format: () => ({
      version: 3,
      hash: "MEMORY",
      encryption: "NONE",
      splitter: options.splitter ?? "DYNAMIC-128K-BUZHASH",
      keyAlgorithm: "none",
      indexVersion: 2,
      maxPackBytes: 20 << 20,
      usesEpochs: true,
    }),
    uniqueId: new Uint8Array(32),
    identity: { userName: "user", host: "host" },
    readOnly: false,
    clock,
    random: options.random ?? seededRandom(42),
    createSplitter,
    decompress: () => {
      throw new DrayError("NOT_SUPPORTED", "Cannot expand: nothing is compressed in memory");
    },
    changePassword: async () => undefined,
    close: async () => undefined,
  });
  return { repository, contents };
}
