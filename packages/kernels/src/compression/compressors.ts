/**
 * Kopia's compressors by name and by header id (kopia-format.md 3.4). Levels within a family share a decoder, and a writer may choose any encoder settings,
 * so each name is mapped to the level of Node's codec that comes nearest in effort.
 */
import { constants, deflateRawSync, gunzipSync, gzipSync, inflateRawSync, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { concat, DrayError, isDrayError } from "@drayage/base";
import type { NativeAddon } from "../native/addon.ts";
import type { Compressor } from "../types.ts";
import { decodeLz4Frame } from "./lz4-frame.ts";
import { decodeS2Stream, encodeS2Stream } from "./s2-stream.ts";

/** Bytes of the header id in front of every compressed payload. */
export const COMPRESSION_HEADER_BYTES = 4;

interface Codec {
  readonly compress: ((data: Uint8Array) => Uint8Array) | undefined;
  readonly decompress: (data: Uint8Array, lengthMax: number) => Uint8Array;
}

const zstd = (level: number): Codec => ({
  compress: (data) =>
    zstdCompressSync(data, {
      chunkSize: outputChunk(data.length, data.length),
      params: { [constants.ZSTD_c_compressionLevel]: level },
      pledgedSrcSize: data.length,
    }),
  decompress: decompressZstd,
});
const gzip = (level: number): Codec => ({
  compress: (data) => gzipSync(data, { chunkSize: outputChunk(data.length, data.length), level }),
  decompress: (data, lengthMax) => gunzipSync(data, { maxOutputLength: Math.max(lengthMax, 1), chunkSize: outputChunk(lengthMax, data.length) }),
});
const deflate = (level: number): Codec => ({
  compress: (data) => deflateRawSync(data, { chunkSize: outputChunk(data.length, data.length), level }),
  decompress: (data, lengthMax) => inflateRawSync(data, { maxOutputLength: Math.max(lengthMax, 1), chunkSize: outputChunk(lengthMax, data.length) }),
});
const s2: Codec = { compress: encodeS2Stream, decompress: decodeS2Stream };
const FASTEST = 1;
const DEFAULT = 6;
const BEST = 9;

const ZSTD_LEVELS: Readonly<Record<string, number>> & Readonly<Record<"zstd" | "zstd-fastest" | "zstd-better-compression" | "zstd-best-compression", number>> =
  {
    zstd: 3,
    "zstd-fastest": 1,
    "zstd-better-compression": 7,
    "zstd-best-compression": 12,
  };

const TABLE: readonly (readonly [name: string, headerId: number, codec: Codec])[] = [
  ["gzip", 0x1000, gzip(DEFAULT)],
  ["gzip-best-speed", 0x1001, gzip(FASTEST)],
  ["gzip-best-compression", 0x1002, gzip(BEST)],
  ["zstd", 0x1100, zstd(ZSTD_LEVELS["zstd"])],
  ["zstd-fastest", 0x1101, zstd(ZSTD_LEVELS["zstd-fastest"])],
  ["zstd-better-compression", 0x1102, zstd(ZSTD_LEVELS["zstd-better-compression"])],
  ["zstd-best-compression", 0x1103, zstd(ZSTD_LEVELS["zstd-best-compression"])],
  ["s2-default", 0x1200, s2],
  ["s2-better", 0x1201, s2],
  ["s2-parallel-4", 0x1202, s2],
  ["s2-parallel-8", 0x1203, s2],
  ["pgzip", 0x1300, gzip(DEFAULT)],
  ["pgzip-best-speed", 0x1301, gzip(FASTEST)],
  ["pgzip-best-compression", 0x1302, gzip(BEST)],
  // Deprecated by Kopia and gone from its later releases: read, never written.
  ["lz4", 0x1400, { compress: undefined, decompress: decodeLz4Frame }],
  ["deflate-default", 0x1500, deflate(DEFAULT)],
  ["deflate-best-speed", 0x1501, deflate(FASTEST)],
  ["deflate-best-compression", 0x1502, deflate(BEST)],
];

const COMPRESSORS: readonly Compressor[] = TABLE.map(([name, headerId, codec]) => ({
  name,
  headerId,
  compress: codec.compress,
  decompress: (data, lengthMax) => guarded(name, lengthMax, () => codec.decompress(data, lengthMax)),
}));
const BY_NAME: ReadonlyMap<string, Compressor> = new Map(COMPRESSORS.map((compressor) => [compressor.name, compressor]));
const BY_HEADER: ReadonlyMap<number, Compressor> = new Map(COMPRESSORS.map((compressor) => [compressor.headerId, compressor]));

/** Names of all compressors; each can be read, all but `lz4` can be written. */
export const COMPRESSOR_NAMES: readonly string[] = [...BY_NAME.keys()];

/** The compressor of a name. Throws REPO_UNSUPPORTED for one that is not known. */
export function compressorByName(name: string): Compressor {
  const found = BY_NAME.get(name);
  if (found === undefined) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot compress with "${name}": no such compressor is known`, {
      hint: `Known compressors: ${COMPRESSOR_NAMES.join(", ")}.`,
    });
  }
  return found;
}

/** The same compressor over the addon's zstd, where it is one and the addon has it: the same frames from a context that stays. */
export function withNativeZstd(compressor: Compressor, addon: NativeAddon | undefined): Compressor {
  const level = ZSTD_LEVELS[compressor.name];
  if (level === undefined || addon?.hasZstd !== true) return compressor;
  return {
    ...compressor,
    zstdLevel: level,
    compressInto: (data, out, at) => addon.zstdCompress(data, level, out, at),
    expandsTo: addon.zstdExpandsTo,
    decompressInto: addon.zstdExpand,
    decompress: (data, lengthMax) => expandNatively(addon, data, lengthMax) ?? compressor.decompress(data, lengthMax),
  };
}

/** What this is too long for, or damaged, goes to Node's decoder: it says what is wrong. */
function expandNatively(addon: NativeAddon, data: Uint8Array, lengthMax: number): Uint8Array | undefined {
  if (data.length === 0 || lengthMax > EXPANDED_AT_ONCE_MAX) return undefined;
  const out = new Uint8Array(lengthMax);
  const length = addon.zstdExpand(data, out);
  if (length < 0) return undefined;
  return length === lengthMax ? out : out.subarray(0, length);
}

/** Memory is taken for all that may come out, so only up to the size of a content. */
const EXPANDED_AT_ONCE_MAX = 16 << 20;

/** The compressor of a header id. Throws REPO_UNSUPPORTED for one that is not known. */
export function compressorByHeader(headerId: number): Compressor {
  const found = BY_HEADER.get(headerId);
  if (found === undefined) throw new DrayError("REPO_UNSUPPORTED", `Cannot decompress: compression 0x${headerId.toString(16)} is not known`);
  return found;
}

/**
 * Kopia's zstd payloads may be several frames in a row; Node's decoder stops after the first, so it is asked how far it came.
 * A frame that makes no output (empty or skippable) is passed over like any other.
 */
function decompressZstd(data: Uint8Array, lengthMax: number): Uint8Array {
  const parts: Uint8Array[] = [];
  let room = lengthMax;
  for (let at = 0; at < data.length; ) {
    const rest = data.subarray(at);
    // The `info` option is documented for every zlib class, yet the types of the one-shot zstd functions leave its result out.
    const result = zstdDecompressSync(rest, { maxOutputLength: Math.max(room, 1), chunkSize: outputChunk(room, rest.length), info: true }) as unknown as {
      readonly buffer: Buffer;
      readonly engine: { readonly bytesWritten: number };
    };
    if (result.engine.bytesWritten === 0) throw new DrayError("REPO_CORRUPT", `Cannot decompress: no zstd frame at ${at} of ${data.length} bytes`);
    parts.push(result.buffer);
    room -= result.buffer.length;
    at += result.engine.bytesWritten;
  }
  const [only] = parts;
  return parts.length === 1 && only !== undefined ? only : concat(parts);
}

/**
 * A codec's output is gathered in pieces: one large enough for the whole result saves joining them. No larger than the input gives reason for: the length that is allowed may be
 * far above the one that comes, and a stream may hold thousands of frames of a few bytes.
 */
function outputChunk(lengthMax: number, inputBytes: number): number {
  return Math.min(Math.max(lengthMax + 256, 1024), Math.max(32 * inputBytes, 4096), 9 * 1024 * 1024);
}

/** Runs a decoder; whatever it throws, and an output that is too long, is REPO_CORRUPT. */
function guarded(name: string, lengthMax: number, decode: () => Uint8Array): Uint8Array {
  let out: Uint8Array;
  try {
    out = decode();
  } catch (cause) {
    if (isDrayError(cause)) throw cause;
    throw new DrayError("REPO_CORRUPT", `Cannot decompress "${name}" data: it is damaged, or longer than the ${lengthMax} bytes expected`, { cause });
  }
  if (out.length > lengthMax) throw new DrayError("REPO_CORRUPT", `Cannot decompress "${name}" data: ${out.length} bytes came out, ${lengthMax} were expected`);
  return out;
}
