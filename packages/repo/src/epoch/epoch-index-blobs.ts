/**
 * The epoch protocol for those who read and write indexes (kopia-format.md 6.5).
 *
 * Time is cut into epochs. Everybody writes into the current one; maintenance alone advances it, and compacts epochs that are settled, two behind.
 * An index counts only if it landed where nobody compacts yet: a writer therefore knows the epoch afresh before it puts, and looks again afterwards.
 *
 *   state ─── valid for `refreshFrequency` from the moment its loading began ───►
 *     write: needs 75 % of that left │ put xn<W>_… │ look again: W + 2 or more? too late, take it back
 */
import { type Clock, DrayError, hasCode, type Logger } from "@drayage/base";
import type { BlobMetadata, BlobStorage } from "@drayage/blob";
import { type ContentCodec, invariantReadBack } from "../content/content-codec.ts";
import type { EpochParameters } from "../format/block-format.ts";
import type { RepositoryFormat } from "../format/repository-format.ts";
import type { ActiveIndexBlobs, IndexBlobs } from "../index-blobs/index-blobs.ts";
import { removeTornBlob } from "../index-blobs/remove-torn-blob.ts";
import { EPOCH_PREFIX } from "./epoch-names.ts";
import { type EpochState, isSettled, listUncompacted, loadEpochState, loadWriteEpoch } from "./epoch-state.ts";

/** A write may begin with this much of the state's time left. */
const WRITE_NEEDS = 0.75;
const LOADS_MAX = 10;
const FIRST_DELAY_MS = 100;
const DELAY_FACTOR = 1.5;
const DELAY_MAX_MS = 15_000;

export interface EpochDependencies {
  readonly storage: BlobStorage;
  readonly format: RepositoryFormat;
  readonly codec: ContentCodec;
  readonly clock: Clock;
  readonly logger: Logger;
}

interface Loaded<T> {
  readonly value: T;
  readonly validUntilMs: number;
}

export class EpochIndexBlobs implements IndexBlobs {
  readonly #on: EpochDependencies;
  #state: Loaded<EpochState> | undefined;
  /** All of the state that a write needs: it costs a list instead of seven. */
  #writeEpoch: Loaded<number> | undefined;

  constructor(dependencies: EpochDependencies) {
    this.#on = dependencies;
  }

  async active(signal?: AbortSignal): Promise<ActiveIndexBlobs> {
    this.invalidate();
    for (let attempt = 1; ; attempt++) {
      const loaded = await this.#current(0, signal);
      const blobs = await this.#activeOf(loaded.value, signal);
      // Listing settled epochs took time; what they held may have been compacted away since the state was loaded.
      if (this.#isValid(loaded)) return { blobs, deletionWatermark: loaded.value.deletionWatermark };
      if (attempt === LOADS_MAX) throw tooSlow("list the index blobs");
      this.invalidate();
    }
  }

  async write(indexes: readonly Uint8Array[], sessionId: string, signal?: AbortSignal): Promise<readonly string[]> {
    const { codec } = this.#on;
    const sealed = indexes.map((plain) => {
      const blob = codec.sealBlob("", plain, `${sessionId}-c${indexes.length}`);
      invariantReadBack(Buffer.from(codec.openBlob(blob.id, blob.data)).equals(plain), `index "${blob.id}"`);
      return blob;
    });
    for (let attempt = 1; attempt <= LOADS_MAX; attempt++) {
      const written = await this.#tryWrite(sealed, signal);
      if (written !== undefined) return written;
    }
    throw tooSlow("write index blobs");
  }

  /** The state, with at least this part of its time left. */
  async state(remaining = 0, signal?: AbortSignal): Promise<EpochState> {
    return (await this.#current(remaining, signal)).value;
  }

  /** Makes the next caller load the state again. */
  invalidate(): void {
    this.#state = undefined;
    this.#writeEpoch = undefined;
  }

  get parameters(): EpochParameters {
    return this.#on.format.block.epochParameters;
  }

  /**
   * Puts all blobs in one epoch. Undefined when the epoch changed in between, and it is to be tried again.
   *
   * Nothing that is whole is taken back, whatever fails: from the moment it is there, others may rely on what it names. One that stays is harmless: the contents that it names are
   * stored, and the same index is written again under the same name, or in a later epoch.
   */
  async #tryWrite(sealed: readonly { readonly id: string; readonly data: Uint8Array }[], signal?: AbortSignal): Promise<string[] | undefined> {
    let known = await this.#currentEpoch(WRITE_NEEDS, signal);
    const epoch = known.value;
    const written: string[] = [];
    for (const { id, data } of sealed) {
      if (!this.#isValid(known)) {
        known = await this.#currentEpoch(WRITE_NEEDS, signal);
        if (known.value !== epoch) return undefined;
      }
      const name = `${EPOCH_PREFIX.uncompacted}${epoch}_${id}`;
      try {
        await this.#on.storage.put(name, data, this.#on.format.putOptionsOf(name, signal));
      } catch (error) {
        await removeTornBlob(this.#on.storage, { id: name, data }, this.#on.logger);
        throw error;
      }
      written.push(name);
    }
    this.invalidate();
    const after = await this.#currentEpoch(0, signal);
    if (after.value >= epoch + 2) {
      throw new DrayError("BLOB_UNAVAILABLE", `Cannot write index blobs: it took so long that epoch ${epoch} is closed, ${after.value} is written now`);
    }
    return written;
  }

  async #activeOf(state: EpochState, signal?: AbortSignal): Promise<BlobMetadata[]> {
    const blobs: BlobMetadata[] = [];
    let next = 0;
    for (const range of state.ranges) {
      if (range.last <= next) continue;
      blobs.push(...range.blobs);
      next = range.last + 1;
    }
    for (let epoch = next; epoch <= state.writeEpoch + 1; epoch++) {
      const single = isSettled(state, epoch) ? state.single.get(epoch) : undefined;
      blobs.push(...(single ?? state.uncompacted.get(epoch) ?? (await listUncompacted(this.#on.storage, epoch, signal))));
    }
    return blobs;
  }

  #isValid({ validUntilMs }: Loaded<unknown>): boolean {
    return this.#on.clock.monotonicMs() < validUntilMs;
  }

  /** Whether at least this part of its time is left. */
  #isLeft(known: Loaded<unknown> | undefined, remaining: number): boolean {
    return known !== undefined && known.validUntilMs - this.#on.clock.monotonicMs() > remaining * this.parameters.refreshFrequencyMs;
  }

  /** The state with at least this part of its time left; loads it when there is less. */
  async #current(remaining: number, signal?: AbortSignal): Promise<Loaded<EpochState>> {
    const known = this.#state;
    if (known !== undefined && this.#isLeft(known, remaining)) return known;
    const loaded = await this.#load(() => loadEpochState(this.#on.storage, signal), signal);
    this.#state = loaded;
    this.#writeEpoch = { value: loaded.value.writeEpoch, validUntilMs: loaded.validUntilMs };
    return loaded;
  }

  /** The write epoch in the same way. */
  async #currentEpoch(remaining: number, signal?: AbortSignal): Promise<Loaded<number>> {
    const known = this.#writeEpoch;
    if (known !== undefined && this.#isLeft(known, remaining)) return known;
    this.#writeEpoch = await this.#load(() => loadWriteEpoch(this.#on.storage, signal), signal);
    return this.#writeEpoch;
  }

  /** What is valid from the moment when its loading began. */
  async #load<T>(load: () => Promise<T>, signal?: AbortSignal): Promise<Loaded<T>> {
    const { clock } = this.#on;
    let delayMs = FIRST_DELAY_MS;
    for (let attempt = 1; attempt <= LOADS_MAX; attempt++) {
      const validUntilMs = clock.monotonicMs() + this.parameters.refreshFrequencyMs;
      const loaded: Loaded<T> = { value: await load(), validUntilMs };
      if (this.#isValid(loaded)) return loaded;
      await clock.sleep(delayMs, signal);
      delayMs = Math.min(delayMs * DELAY_FACTOR, DELAY_MAX_MS);
    }
    throw tooSlow("list the epochs");
  }
}

function tooSlow(action: string): DrayError {
  return new DrayError("TIMED_OUT", `Cannot ${action}: each of ${LOADS_MAX} attempts took longer than what was listed stays valid`, {
    hint: "The storage answers very slowly, or the epoch refresh frequency of the repository is too short.",
  });
}

/** Whether an error says that a listed index blob is gone: maintenance compacted it meanwhile, and a new listing helps. */
export function isGone(error: unknown): boolean {
  return hasCode(error, "BLOB_NOT_FOUND");
}
