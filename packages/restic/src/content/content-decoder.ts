/**
 * How a stored content becomes its bytes again: opened, decompressed where it was compressed, compared with its id, which is the SHA-256 of the bytes.
 * A module of its own, so that another thread can load it and little else.
 */
import { hash } from "node:crypto";
import { DrayError } from "@drayage/base";
import { type Compressor, createKernels, type Kernels, type SealedContents } from "@drayage/kernels";
import { createOpener, type Opener } from "../format/sealed.ts";
import { decompressZstd } from "../format/unpacked-file.ts";

/** What `structuredClone` can copy to another thread. */
export interface ResticDecoderOptions {
  /** 64 bytes. */
  readonly key: Uint8Array;
}

/** As the place of a content says it. */
export interface StoredForm {
  /** 64 hexadecimal digits. */
  readonly id: string;
  readonly plainLength: number;
  readonly isCompressed: boolean;
  /** For messages. */
  readonly pack: string;
}

/** Compressed bytes between opening and expanding take so much more at a time. */
const ROOM_STEP_BYTES = 1 << 20;

export class ResticContentDecoder {
  readonly #opener: Opener;
  readonly #decompressInto: Compressor["decompressInto"];
  /** Decodes many contents of one range at once, marking those that came out as their ids say. Undefined where the build has no faster way than one by one. */
  readonly decodeMany: ((contents: SealedContents) => void) | undefined;
  /** For compressed bytes between opening and expanding; as large as the largest. */
  #room: Uint8Array = new Uint8Array(0);

  constructor(opener: Opener, decompressInto?: Compressor["decompressInto"], decodeMany?: (contents: SealedContents) => void) {
    this.#opener = opener;
    this.#decompressInto = decompressInto;
    this.decodeMany = decodeMany;
  }

  static async create({ key }: ResticDecoderOptions, kernels?: Kernels): Promise<ResticContentDecoder> {
    const { openSealed, ...others } = kernels ?? (await createKernels());
    const ownKey = key.slice();
    const decodeMany = openSealed === undefined ? undefined : (contents: SealedContents): void => openSealed(ownKey, contents);
    return new ResticContentDecoder(createOpener(key, others), others.compressor("zstd").decompressInto, decodeMany);
  }

  /**
   * The plaintext; it may be a view of `scratch`, which must not overlap `stored`.
   * Throws REPO_CORRUPT, naming content and pack, for what does not open, does not decompress to the stated length, or is not what its id says.
   */
  decode(stored: Uint8Array, form: StoredForm, scratch?: Uint8Array): Uint8Array {
    const opened = this.#opener.open(stored, form.isCompressed ? this.#roomFor(stored.length, scratch) : scratch);
    if (opened === undefined) throw damaged(form, "it is damaged: its authentication does not match");
    const plain = form.isCompressed ? this.#expand(opened, form, scratch) : opened;
    if (plain.length !== form.plainLength) throw damaged(form, `it has ${plain.length} bytes, ${form.plainLength} were wanted`);
    if (!this.isGenuine(plain, form.id)) throw damaged(form, "its bytes are not those that its id says");
    return plain;
  }

  #expand(compressed: Uint8Array, form: StoredForm, scratch: Uint8Array | undefined): Uint8Array {
    if (this.#decompressInto !== undefined && scratch !== undefined && scratch.length >= form.plainLength && compressed.length > 0) {
      const length = this.#decompressInto(compressed, scratch.subarray(0, form.plainLength));
      if (length >= 0) return scratch.subarray(0, length);
    }
    // Also where that failed: it says what is wrong.
    return decompressZstd(compressed, form.plainLength, `content "${form.id}" of pack "${form.pack}"`);
  }

  /** None where the caller has none either: who reads a content now and then needs no memory for it in between. */
  #roomFor(length: number, scratch: Uint8Array | undefined): Uint8Array | undefined {
    if (scratch === undefined || this.#decompressInto === undefined) return undefined;
    if (this.#room.length < length) this.#room = new Uint8Array(Math.ceil(length / ROOM_STEP_BYTES) * ROOM_STEP_BYTES);
    return this.#room;
  }

  isGenuine(plain: Uint8Array, id: string): boolean {
    return hash("sha256", plain, "hex") === id;
  }
}

function damaged({ id, pack }: StoredForm, why: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read content "${id}" of pack "${pack}": ${why}`, { context: { content: id, pack } });
}
