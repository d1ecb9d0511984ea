/**
 * What every stored byte of a repository passes through, contents, indexes, markers and logs alike: encryption, and error correction around it where the
 * repository has one (kopia-format.md 3.3, 3.5). The `kopia.*` blobs have their own.
 */
import type { ByteRanges, ContentEncryptor, ErrorCorrection, PieceOpener } from "@drayage/kernels";

export class ContentSealer {
  readonly #encryptor: ContentEncryptor;
  readonly #correction: ErrorCorrection | undefined;
  #repairedShards = 0;

  constructor(encryptor: ContentEncryptor, correction: ErrorCorrection | undefined) {
    this.#encryptor = encryptor;
    this.#correction = correction;
  }

  /** Damaged shards that were put right since the repository was opened. Each stands for bytes that the storage has lost. */
  get repairedShards(): number {
    return this.#repairedShards;
  }

  /** Bytes that a plaintext of this length takes when sealed. */
  sealedLength(length: number): number {
    const encrypted = length + this.#encryptor.overheadBytes;
    return this.#correction?.storedLength(encrypted) ?? encrypted;
  }

  /** Writes the sealed plaintext into `out` at `at`; returns the bytes written. `iv` may have any length. */
  seal(plaintext: Uint8Array, iv: Uint8Array, out: Uint8Array, at: number): number {
    if (this.#correction === undefined) return this.#encryptor.seal(plaintext, iv, out, at);
    const encrypted = new Uint8Array(plaintext.length + this.#encryptor.overheadBytes);
    this.#encryptor.seal(plaintext, iv, encrypted, 0);
    return this.#correction.encode(encrypted, out, at);
  }

  /** Whether sealed bytes open to this plaintext. */
  opensTo(sealed: Uint8Array, iv: Uint8Array, plaintext: Uint8Array): boolean {
    if (this.#correction === undefined) return this.#encryptor.opensTo(sealed, iv, plaintext);
    return this.#encryptor.opensTo(this.#correction.decode(sealed).data, iv, plaintext);
  }

  /**
   * Seals ranges of a buffer one behind the other and reads each back (kernels: `sealRanges`). The index of the first that opens to something else, or -1.
   * Not with error correction: see `sealsRanges`.
   */
  sealRanges(ranges: ByteRanges, ivs: Uint8Array, ivBytes: number, out: Uint8Array, at: number): number {
    return this.#encryptor.sealRanges(ranges, ivs, ivBytes, out, at);
  }

  /** Whether `sealRanges` can be used. */
  get sealsRanges(): boolean {
    return this.#correction === undefined;
  }

  /** The plaintext, in `into` as the encryptor does. Throws REPO_CORRUPT when the tag does not match, or when more is damaged than error correction makes good. */
  open(sealed: Uint8Array, iv: Uint8Array, into?: Uint8Array): Uint8Array {
    if (this.#correction === undefined) return this.#encryptor.open(sealed, iv, into);
    const { data, repairedShards } = this.#correction.decode(sealed);
    this.#repairedShards += repairedShards;
    return this.#encryptor.open(data, iv, into);
  }

  /** Opens a sealed text piece by piece; undefined where error correction is around it, which needs the whole. */
  opener(iv: Uint8Array): PieceOpener | undefined {
    return this.#correction === undefined ? this.#encryptor.opener(iv) : undefined;
  }
}
