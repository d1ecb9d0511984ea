import { DrayError, type Logger, nullLogger, type RandomSource, systemRandom, toHex } from "@drayage/base";
import { nativeCreateFiles } from "./batch/create-files.ts";
import { nativeFindKeys } from "./batch/find-keys.ts";
import { nativeFiles } from "./batch/native-files.ts";
import { nativeOpenSealed } from "./batch/open-sealed.ts";
import { portableFiles } from "./batch/portable-files.ts";
import { nativeUnattributed } from "./batch/unattributed.ts";
import { compressorByHeader, compressorByName, withNativeZstd } from "./compression/compressors.ts";
import { createAes256Ctr } from "./encryption/aes-256-ctr.ts";
import { createEncryptor, encryptionSources } from "./encryption/encryptors.ts";
import { createHasher, SELF_TEST } from "./hash/hashers.ts";
import { createPoly1305 } from "./mac/poly1305.ts";
import type { NativeAddon } from "./native/addon.ts";
import { type LoadedAddon, loadNative } from "./native/load-native.ts";
import { createSplitter } from "./splitter/splitters.ts";
import { nativeReadsAhead } from "./system/reads-ahead.ts";
import { systemCalls } from "./system/system-calls.ts";
import type { KernelInfo, Kernels } from "./types.ts";

export interface KernelOptions {
  /** Where nonces come from. */
  readonly random?: RandomSource;
  readonly logger?: Logger;
  /** `native` and `portable` force a build. The environment's `DRAY_KERNELS` where it is not given; otherwise the native one where it is there. */
  readonly build?: string;
  /** Finds the addon. */
  readonly load?: () => LoadedAddon;
}

/**
 * Chooses the build of every kernel for this machine and tests it once. Compiles nothing: `prepareNative` does.
 * An addon that is there and fails is logged once as a warning, and the portable build is used.
 * Throws USAGE for a build that is not known, NOT_SUPPORTED when the native build is forced and cannot be had, and when the default hash gives a wrong digest: a repository written on would be unreadable elsewhere.
 */
export async function createKernels(options: KernelOptions = {}): Promise<Kernels> {
  const random = options.random ?? systemRandom;
  const { addon, info } = chooseBuild(options);
  const hasher = await createHasher(
    SELF_TEST.hash,
    Uint8Array.from({ length: 32 }, (_, i) => i),
    addon,
  );
  const digest = toHex(hasher.hash(SELF_TEST.message));
  if (digest !== SELF_TEST.digest) {
    throw new DrayError("NOT_SUPPORTED", `Cannot use ${SELF_TEST.hash} on this machine: the self-test gave ${digest}, ${SELF_TEST.digest} was expected`);
  }
  return {
    splitter: (name) => createSplitter(name, addon),
    hasher: (name, key) => createHasher(name, key, addon),
    encryptor: (name, keyDerivationSecret) => createEncryptor(name, keyDerivationSecret, random, encryptionSources(addon)),
    poly1305: createPoly1305(addon),
    aes256Ctr: createAes256Ctr(addon),
    compressor: (name) => withNativeZstd(compressorByName(name), addon),
    compressorByHeader: (headerId) => withNativeZstd(compressorByHeader(headerId), addon),
    system: addon === undefined ? systemCalls : { ...systemCalls, alignedBuffer: (bytes) => inLargePages(addon, systemCalls.alignedBuffer(bytes)) },
    files: addon === undefined ? portableFiles(systemCalls) : nativeFiles(addon),
    findKeys: addon === undefined ? undefined : nativeFindKeys(addon),
    createFiles: addon === undefined ? undefined : nativeCreateFiles(addon),
    openSealed: addon === undefined ? undefined : nativeOpenSealed(addon),
    readsAhead: addon === undefined ? undefined : nativeReadsAhead(addon),
    unattributed: addon === undefined ? undefined : nativeUnattributed(addon),
    info,
  };
}

/** What is smaller would mostly be a part of one such page. */
const LARGE_PAGES_FROM_BYTES = 4 << 20;

function inLargePages(addon: NativeAddon, memory: Uint8Array): Uint8Array {
  if (memory.length >= LARGE_PAGES_FROM_BYTES) addon.adviseHugePages(memory);
  return memory;
}

/** SHA-256 of many ranges side by side, as the addon's `sha256Ranges`. Undefined where that gains nothing: without the addon, and without vectors. */
export function sideBySideSha256(options: KernelOptions = {}): NativeAddon["sha256Ranges"] | undefined {
  const { addon } = chooseBuild(options);
  return addon?.hasVectors === true ? addon.sha256Ranges : undefined;
}

/** Reasons that were logged: one warning per thread is enough, however many repositories it opens. */
const warned = new Set<string>();

function chooseBuild({ build = process.env["DRAY_KERNELS"] ?? "", load = loadNative, logger = nullLogger }: KernelOptions): {
  readonly addon: NativeAddon | undefined;
  readonly info: KernelInfo;
} {
  if (!["", "native", "portable"].includes(build)) throw new DrayError("USAGE", `Cannot use kernels "${build}" (DRAY_KERNELS): native or portable is wanted`);
  if (build === "portable") return { addon: undefined, info: { build: "portable", reason: "it was asked for" } };
  const found = load();
  if (found.addon !== undefined) return { addon: found.addon, info: { build: "native" } };
  const { reason, broken } = found;
  if (build === "native") {
    throw new DrayError("NOT_SUPPORTED", `Cannot use the native kernels: ${reason}`, {
      hint: "Unset DRAY_KERNELS: the portable kernels do the same work, and the native ones are compiled in the background where a C++ compiler (c++) is installed.",
    });
  }
  if (broken && !warned.has(reason)) {
    warned.add(reason);
    logger.warn(`The portable kernels are used, which are slower: ${reason}`);
  }
  return { addon: undefined, info: { build: "portable", reason } };
}
