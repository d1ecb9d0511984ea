import { DrayError, type RandomSource, systemRandom, toHex } from "@drayage/base";
import { compressorByHeader, compressorByName } from "./compression/compressors.ts";
import { createEncryptor } from "./encryption/encryptors.ts";
import { createHasher, SELF_TEST } from "./hash/hashers.ts";
import { createSplitter } from "./splitter/splitters.ts";
import { systemCalls } from "./system/system-calls.ts";
import type { Kernels } from "./types.ts";

export interface KernelOptions {
  /** Where nonces come from. */
  readonly random?: RandomSource;
}

/**
 * Chooses the build of every kernel for this machine and tests it once.
 * Throws NOT_SUPPORTED when the default hash gives a wrong digest: a repository written on would be unreadable elsewhere.
 */
export async function createKernels(options: KernelOptions = {}): Promise<Kernels> {
  const random = options.random ?? systemRandom;
  const hasher = await createHasher(
    SELF_TEST.hash,
    Uint8Array.from({ length: 32 }, (_, i) => i),
  );
  const digest = toHex(hasher.hash(SELF_TEST.message));
  if (digest !== SELF_TEST.digest) {
    throw new DrayError("NOT_SUPPORTED", `Cannot use ${SELF_TEST.hash} on this machine: the self-test gave ${digest}, ${SELF_TEST.digest} was expected`);
  }
  return {
    splitter: createSplitter,
    hasher: createHasher,
    encryptor: (name, keyDerivationSecret) => createEncryptor(name, keyDerivationSecret, random),
    compressor: compressorByName,
    compressorByHeader,
    system: systemCalls,
  };
}
