/**
 * How bytes become a stored content and back (kopia-format.md 3.2–3.4), and how whole blobs are encrypted under their own names (3.6).
 *
 *   content   id = prefix ‖ hash(plain) · payload = plain, or header id u32 BE ‖ compressed when that is shorter · stored = seal(payload, iv = last 16 bytes of the hash)
 *   blob      name = prefix ‖ hex(hash(plain)) ‖ "-" suffix · stored = seal(plain, iv = the 32 hex digits before the first dash)
 *
 * Sealing is encryption, with error correction around it where the repository has one (3.5).
 */
import { concat, DrayError, equalBytes, fromHex, hasCode, invariant, toHex } from "@drayage/base";
import {
  type ByteRanges,
  COMPRESSION_HEADER_BYTES,
  type Compressor,
  type ContentHasher,
  createErrorCorrection,
  type Kernels,
  type PieceOpener,
} from "@drayage/kernels";
import type { ContentDecoderOptions, ContentId } from "../content-port.ts";
import { deriveContentSecret } from "../format/key-hierarchy.ts";
import { hashOf } from "./content-id.ts";
import { ContentSealer } from "./content-sealer.ts";

const IV_BYTES = 16;
/** Header id 0: stored as it is. */
const NOT_COMPRESSED = 0;
const FIRST_COMPRESSED_BYTES = 64 << 10;
/** Contents of so many bytes are compressed where one of some samples, at even distances, becomes shorter. */
const SAMPLED_FROM_BYTES = 1 << 20;
const SAMPLES = 16;
const SAMPLE_BYTES = 8 << 10;

/** What the index has to know to read a content. */
export interface StoredForm {
  readonly id: ContentId;
  readonly packBlobId: string;
  readonly originalLength: number;
  readonly compressionId: number;
}

export interface SealedBlob {
  readonly id: string;
  readonly data: Uint8Array;
}

/** Binds the keys of a repository to the kernels of this thread. */
export async function createContentCodec(block: ContentDecoderOptions, kernels: Kernels): Promise<ContentCodec> {
  const hasher = await kernels.hasher(block.hash, block.secret);
  const encryptor = kernels.encryptor(block.encryption, deriveContentSecret(block.masterKey));
  const correction = block.ecc === "" || block.eccOverheadPercent === 0 ? undefined : createErrorCorrection(block.ecc, block.eccOverheadPercent);
  return new ContentCodec(hasher, new ContentSealer(encryptor, correction), kernels, block.indexVersion >= 2);
}

export class ContentCodec {
  readonly hasher: ContentHasher;
  readonly #sealer: ContentSealer;
  readonly #kernels: Kernels;
  readonly #compresses: boolean;
  #compressed = new Uint8Array(0);
  #sample: Uint8Array | undefined;
  #opened = new Uint8Array(0);

  /** @param compresses - whether the index can say that a content is compressed */
  get findKeys(): Kernels["findKeys"] {
    return this.#kernels.findKeys;
  }

  constructor(hasher: ContentHasher, sealer: ContentSealer, kernels: Kernels, compresses: boolean) {
    this.hasher = hasher;
    this.#sealer = sealer;
    this.#kernels = kernels;
    this.#compresses = compresses;
  }

  /** Bytes that a payload of this length takes in a pack. */
  sealedLength(payloadLength: number): number {
    return this.#sealer.sealedLength(payloadLength);
  }

  /** Damaged shards that error correction put right since opening. */
  get repairedShards(): number {
    return this.#sealer.repairedShards;
  }

  /** Compresses where asked for, and where that is shorter. The payload may be `data` itself, and is valid until the next call. Throws REPO_UNSUPPORTED for a compressor that is not known. */
  compress(data: Uint8Array, compressor: string | undefined): { readonly payload: Uint8Array; readonly compressionId: number } {
    const raw = { payload: data, compressionId: NOT_COMPRESSED };
    if (compressor === undefined || compressor === "" || compressor === "none" || !this.#compresses) return raw;
    const chosen = this.#kernels.compressor(compressor);
    const { compress, compressInto, headerId, name } = chosen;
    if (compress === undefined) throw new DrayError("REPO_UNSUPPORTED", `Cannot compress with "${name}": it is only read, no longer written`);
    if (data.length >= SAMPLED_FROM_BYTES && !this.#shrinksInSamples(chosen, data)) return raw;
    if (compressInto !== undefined) return this.#compressInto(compressInto, data, headerId);
    const stream = compress(data);
    if (stream.length + COMPRESSION_HEADER_BYTES >= data.length) return raw;
    const header = new Uint8Array(COMPRESSION_HEADER_BYTES);
    new DataView(header.buffer).setUint32(0, headerId);
    return { payload: concat([header, stream]), compressionId: headerId };
  }

  /**
   * Whether a compressor makes any sample of a large content shorter. Of what is compressed or encrypted already none is, and going through all of it costs as much as hashing it;
   * what only repeats at a distance is missed, and stored as it is.
   */
  #shrinksInSamples({ compress, compressInto }: Compressor, data: Uint8Array): boolean {
    this.#sample ??= new Uint8Array(SAMPLE_BYTES);
    for (let i = 0; i < SAMPLES; i++) {
      const from = Math.floor((i * (data.length - SAMPLE_BYTES)) / (SAMPLES - 1));
      const sample = data.subarray(from, from + SAMPLE_BYTES);
      const length = compressInto === undefined ? compress?.(sample).length : compressInto(sample, this.#sample, 0);
      // None: it did not fit.
      if (length !== undefined && length > 0 && length < SAMPLE_BYTES) return true;
    }
    return false;
  }

  /** Into memory that is kept; the payload is valid until the next call. No room for as much as went in: only what is shorter is of use. */
  #compressInto(
    compressInto: NonNullable<Compressor["compressInto"]>,
    data: Uint8Array,
    headerId: number,
  ): { readonly payload: Uint8Array; readonly compressionId: number } {
    if (this.#compressed.length < data.length) this.#compressed = new Uint8Array(Math.max(data.length, FIRST_COMPRESSED_BYTES));
    const out = this.#compressed.subarray(0, data.length);
    const length = data.length <= COMPRESSION_HEADER_BYTES ? 0 : compressInto(data, out, COMPRESSION_HEADER_BYTES);
    if (length === 0 || length + COMPRESSION_HEADER_BYTES >= data.length) return { payload: data, compressionId: NOT_COMPRESSED };
    new DataView(out.buffer, out.byteOffset).setUint32(0, headerId);
    return { payload: out.subarray(0, COMPRESSION_HEADER_BYTES + length), compressionId: headerId };
  }

  /** Encrypts a payload into `out` at `at`; returns the bytes taken. */
  seal(payload: Uint8Array, hash: Uint8Array, out: Uint8Array, at: number): number {
    return this.#sealer.seal(payload, contentIv(hash), out, at);
  }

  /**
   * The plaintext of a stored content; it may be a view of `into`, where that is given. Throws REPO_CORRUPT naming content and pack, REPO_UNSUPPORTED for a compression that is
   * not known.
   */
  open(sealed: Uint8Array, form: StoredForm, into?: Uint8Array): Uint8Array {
    try {
      const isCompressed = form.compressionId !== NOT_COMPRESSED;
      const payload = this.#sealer.open(sealed, contentIv(hashOf(form.id)), isCompressed ? this.#openedRoom(sealed.length, into) : into);
      const plain = isCompressed ? this.#decompress(payload, form, into) : payload;
      if (plain.length !== form.originalLength) throw new DrayError("REPO_CORRUPT", `it has ${plain.length} bytes, the index says ${form.originalLength}`);
      return plain;
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
      throw new DrayError("REPO_CORRUPT", `Cannot read content "${form.id}" in pack "${form.packBlobId}": ${error.message}`, {
        cause: error,
        context: { contentId: form.id, packBlobId: form.packBlobId },
      });
    }
  }

  /** What was sealed as it is: header id and compressed bytes where the content is compressed. Throws REPO_CORRUPT. */
  payloadOf(sealed: Uint8Array, form: StoredForm): Uint8Array {
    return this.openWith(sealed, contentIv(hashOf(form.id)), `content "${form.id}" in pack "${form.packBlobId}"`);
  }

  /** Encrypts a whole blob under the name that its content gives it. */
  sealBlob(prefix: string, plaintext: Uint8Array, suffix: string): SealedBlob {
    const hash = this.hasher.hash(plaintext);
    const id = `${prefix}${Buffer.from(hash).toString("hex")}${suffix === "" ? "" : `-${suffix}`}`;
    return { id, data: this.sealWith(plaintext, contentIv(hash)) };
  }

  /** The plaintext of a whole blob. Throws REPO_CORRUPT naming it. */
  openBlob(id: string, data: Uint8Array): Uint8Array {
    return this.openWith(data, ivOfBlob(id), `blob "${id}"`);
  }

  /**
   * Opens a blob piece by piece, for those that are too large for memory. Nothing of the plaintext may be believed before `end` returned.
   * Undefined where error correction is around it: that needs all of it.
   */
  blobOpener(id: string): PieceOpener | undefined {
    return this.#sealer.opener(ivOfBlob(id));
  }

  /** Encrypts under an iv of any length: pack-local indexes use the whole hash. */
  sealWith(plaintext: Uint8Array, iv: Uint8Array): Uint8Array {
    const data = new Uint8Array(this.#sealer.sealedLength(plaintext.length));
    this.#sealer.seal(plaintext, iv, data, 0);
    return data;
  }

  openWith(data: Uint8Array, iv: Uint8Array, subject: string): Uint8Array {
    try {
      return this.#sealer.open(data, iv);
    } catch (error) {
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
      throw new DrayError("REPO_CORRUPT", `Cannot decrypt ${subject}: ${error.message}`, { cause: error });
    }
  }

  /** Seals ranges of a buffer as they are, one behind the other, under their hashes, and reads each back: see ContentSealer. Throws INVARIANT. */
  sealRanges(ranges: ByteRanges, hashes: Uint8Array, out: Uint8Array, at: number): void {
    const { digestBytes } = this.hasher;
    const bad = this.#sealer.sealRanges(ranges, ivsOf(hashes, digestBytes, ranges.count), IV_BYTES, out, at);
    if (bad >= 0) invariantReadBack(false, `content "${toHex(hashes.subarray(digestBytes * bad, digestBytes * (bad + 1)))}"`);
  }

  /** Whether `sealRanges` can be used: not with error correction. */
  get sealsRanges(): boolean {
    return this.#sealer.sealsRanges;
  }

  /**
   * Decodes what was just sealed and compares it with what went in. `payload` is what was sealed, where that is still there.
   * Throws INVARIANT: the memory or a codec of this machine cannot be trusted.
   */
  readBack(sealed: Uint8Array, form: StoredForm, data: Uint8Array, payload?: Uint8Array): void {
    let same = false;
    let cause: unknown;
    try {
      // Comparing while decrypting needs no memory for the plaintext; what is compressed must be expanded to be compared.
      same = form.originalLength === data.length && this.#opensTo(sealed, form, data, payload);
    } catch (error) {
      cause = error;
    }
    invariantReadBack(same, `content "${form.id}"`, cause);
  }

  #opensTo(sealed: Uint8Array, form: StoredForm, data: Uint8Array, payload: Uint8Array | undefined): boolean {
    const iv = contentIv(hashOf(form.id));
    if (form.compressionId === NOT_COMPRESSED) return this.#sealer.opensTo(sealed, iv, data);
    const { expandsTo } = this.#kernels.compressorByHeader(form.compressionId);
    if (expandsTo === undefined || payload === undefined) return equalBytes(this.open(sealed, form), data);
    return this.#sealer.opensTo(sealed, iv, payload) && expandsTo(payload.subarray(COMPRESSION_HEADER_BYTES), data);
  }

  /** Memory for what is compressed, between opening and expanding; none where the caller gives none either. */
  #openedRoom(length: number, into: Uint8Array | undefined): Uint8Array | undefined {
    if (into === undefined) return undefined;
    if (this.#opened.length < length) this.#opened = new Uint8Array(Math.max(length, FIRST_COMPRESSED_BYTES));
    return this.#opened;
  }

  #decompress(payload: Uint8Array, form: StoredForm, into: Uint8Array | undefined): Uint8Array {
    if (payload.length < COMPRESSION_HEADER_BYTES) throw new DrayError("REPO_CORRUPT", `compression header is cut off after ${payload.length} bytes`);
    const headerId = new DataView(payload.buffer, payload.byteOffset, COMPRESSION_HEADER_BYTES).getUint32(0);
    if (headerId !== form.compressionId) {
      throw new DrayError("REPO_CORRUPT", `compression is 0x${headerId.toString(16)}, the index says 0x${form.compressionId.toString(16)}`);
    }
    const { decompress, decompressInto } = this.#kernels.compressorByHeader(headerId);
    const stream = payload.subarray(COMPRESSION_HEADER_BYTES);
    if (decompressInto !== undefined && into !== undefined && into.length >= form.originalLength && stream.length > 0) {
      const length = decompressInto(stream, into.subarray(0, form.originalLength));
      if (length >= 0) return into.subarray(0, length);
    }
    // Also where that failed: it says what is wrong.
    return decompress(stream, form.originalLength);
  }
}

/** Throws INVARIANT when what was read back is not what was written. */
export function invariantReadBack(same: boolean, subject: string, cause?: unknown): void {
  if (same) return;
  throw new DrayError("INVARIANT", `Cannot store ${subject}: decoding what was encoded gave something else`, {
    cause,
    hint: "The memory of this machine may be damaged, or this is a defect of Drayage; nothing was uploaded.",
  });
}

/** The ivs of many hashes, one behind the other. */
function ivsOf(hashes: Uint8Array, digestBytes: number, count: number): Uint8Array {
  if (digestBytes === IV_BYTES) return hashes;
  const ivs = new Uint8Array(IV_BYTES * count);
  for (let i = 0; i < count; i++) ivs.set(contentIv(hashes.subarray(digestBytes * i, digestBytes * (i + 1))), IV_BYTES * i);
  return ivs;
}

/** The iv of a whole blob, which its name holds. */
function ivOfBlob(id: string): Uint8Array {
  const dash = id.indexOf("-");
  const base = dash === -1 ? id : id.slice(0, dash);
  const iv = base.length < 2 * IV_BYTES ? undefined : fromHex(base.slice(-2 * IV_BYTES));
  if (iv === undefined) throw new DrayError("REPO_CORRUPT", `Cannot decrypt blob "${id}": its name holds no hash`, { context: { blobId: id } });
  return iv;
}

function contentIv(hash: Uint8Array): Uint8Array {
  invariant(hash.length >= IV_BYTES, `Cannot derive an iv from a hash of ${hash.length} bytes`);
  return hash.subarray(hash.length - IV_BYTES);
}
