export { COMPRESSION_HEADER_BYTES, COMPRESSOR_NAMES, compressorByHeader } from "./compression/compressors.ts";
export { DEFAULT_ENCRYPTION, ENCRYPTIONS, SEAL_OVERHEAD_BYTES } from "./encryption/encryptors.ts";
export * from "./error-correction/error-correction.ts";
export { DEFAULT_HASH, HASHES } from "./hash/hashers.ts";
export * from "./kernels.ts";
export { type PreparedNative, type PrepareNativeOptions, prepareNative, prepareNativeInBackground } from "./native/prepare-native.ts";
export { createSplitter, DEFAULT_SPLITTER, SPLITTERS } from "./splitter/splitters.ts";
export { hasErrno, systemCalls } from "./system/system-calls.ts";
export * from "./types.ts";
