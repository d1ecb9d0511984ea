/**
 * Decodes contents of a job side by side, some ahead of what is being written, for decoders that are faster so.
 *
 * Memory: AHEAD_BYTES for the contents, while there is something to decode.
 */
import { SEALED_CONTENT } from "@drayage/kernels";
import type { ContentDecoder } from "./restore-source.ts";
import { CONTENT, DEVICE_PART, TARGET, type WriteJob } from "./write-job.ts";

/** Room for ten contents of the usual length of a large file: so many are hashed side by side, and unequal lengths leave few lanes idle for long. restic's longest one has 8 MiB. */
const AHEAD_BYTES = 16 << 20;
/** A cancellation waits for as many. */
const CONTENTS_MAX = 256;
/** Up to this, contents are small, and those of a job have no need of all the room. */
const SMALL_ROOM_BYTES = 2 << 20;
const ID_BYTES = 32;

export class DecodeAhead {
  readonly #decodeMany: NonNullable<ContentDecoder["decodeMany"]>;
  readonly #rows = new Float64Array(CONTENTS_MAX * SEALED_CONTENT.columns);
  readonly #ids = Buffer.alloc(CONTENTS_MAX * ID_BYTES);
  readonly #done = new Uint8Array(CONTENTS_MAX);
  #out: Uint8Array = new Uint8Array(0);
  #job: WriteJob | undefined;
  /** Contents [first, end) of the job were tried. */
  #first = 0;
  #end = 0;

  constructor(decodeMany: NonNullable<ContentDecoder["decodeMany"]>) {
    this.#decodeMany = decodeMany;
  }

  /** The plaintext of a content, valid until one beyond those decoded with it is asked for; undefined for one that is to be decoded by itself. Contents are asked for in order. */
  take(job: WriteJob, index: number): Uint8Array | undefined {
    if (job.pack === undefined) return undefined;
    if (job !== this.#job || index >= this.#end) this.#fill(job, index);
    const at = index - this.#first;
    if (this.#done[at] !== 1) return undefined;
    const row = at * SEALED_CONTENT.columns;
    const start = this.#rows[row + SEALED_CONTENT.plainStart] ?? 0;
    return this.#out.subarray(start, start + (this.#rows[row + SEALED_CONTENT.plainLength] ?? 0));
  }

  /** Lets go of the job. */
  forget(): void {
    this.#job = undefined;
  }

  #fill(job: WriteJob, first: number): void {
    this.#job = job;
    this.#first = first;
    let count = 0;
    let bytes = 0;
    for (let index = first; index < job.contentIds.length && count < CONTENTS_MAX; index++, count++) {
      const from = index * CONTENT.columns;
      const plainLength = job.contents[from + CONTENT.originalLength] ?? 0;
      if (bytes + plainLength > AHEAD_BYTES) break;
      const row = count * SEALED_CONTENT.columns;
      this.#rows[row + SEALED_CONTENT.start] = job.contents[from + CONTENT.at] ?? 0;
      this.#rows[row + SEALED_CONTENT.length] = job.contents[from + CONTENT.length] ?? 0;
      this.#rows[row + SEALED_CONTENT.plainStart] = bytes;
      this.#rows[row + SEALED_CONTENT.plainLength] = plainLength;
      this.#rows[row + SEALED_CONTENT.isCompressed] = job.contents[from + CONTENT.form] ?? 0;
      this.#ids.write(job.contentIds[index] ?? "", count * ID_BYTES, ID_BYTES, "hex");
      bytes += plainLength;
    }
    this.#end = first + Math.max(1, count);
    this.#done[0] = 0;
    // What goes to a device has to lie in memory as it will there.
    if (count === 0 || job.targets[TARGET.kind] === DEVICE_PART) {
      this.#done.fill(0, 0, count);
      return;
    }
    // Once and for all: what is outgrown would stay until the collector comes, and memory that nothing was written to is none.
    if (this.#out.length < bytes) this.#out = new Uint8Array(bytes <= SMALL_ROOM_BYTES ? SMALL_ROOM_BYTES : AHEAD_BYTES);
    this.#decodeMany({ data: job.bytes, rows: this.#rows, count, ids: this.#ids, out: this.#out, done: this.#done });
  }
}
