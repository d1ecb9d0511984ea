/**
 * How a stored content becomes its bytes again: opened, decompressed where it was compressed, compared with its id, which is the SHA-256 of the bytes.
 * A module of its own, so that another thread can load it and little else.
 */
import { hash } from "node:crypto";
import { DrayError } from "@drayage/base";
import { createKernels } from "@drayage/kernels";
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

export class ResticContentDecoder {
  readonly #opener: Opener;

  constructor(opener: Opener) {
    this.#opener = opener;
  }

  static async create(options: ResticDecoderOptions): Promise<ResticContentDecoder> {
    const { poly1305 } = await createKernels();
    return new ResticContentDecoder(createOpener(options.key, poly1305));
  }

  /** Throws REPO_CORRUPT, naming content and pack, for what does not open, does not decompress to the stated length, or is not what its id says. */
  decode(stored: Uint8Array, form: StoredForm): Uint8Array {
    const what = `content "${form.id}" of pack "${form.pack}"`;
    const opened = this.#opener.open(stored);
    if (opened === undefined) throw damaged(form, "it is damaged: its authentication does not match");
    const plain = form.isCompressed ? decompressZstd(opened, form.plainLength, what) : opened;
    if (plain.length !== form.plainLength) throw damaged(form, `it has ${plain.length} bytes, ${form.plainLength} were wanted`);
    if (!this.isGenuine(plain, form.id)) throw damaged(form, "its bytes are not those that its id says");
    return plain;
  }

  isGenuine(plain: Uint8Array, id: string): boolean {
    return hash("sha256", plain, "hex") === id;
  }
}

function damaged({ id, pack }: StoredForm, why: string): DrayError {
  return new DrayError("REPO_CORRUPT", `Cannot read content "${id}" of pack "${pack}": ${why}`, { context: { content: id, pack } });
}
