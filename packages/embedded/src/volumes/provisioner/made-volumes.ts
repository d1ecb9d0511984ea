/**
 * Volumes that were made a moment ago and that the cache may not have yet. A claim changes while its volume is made, so it is looked at again at once; without this the driver would be asked
 * for the same volume once more, which is right, as it answers with the same one, and work for nothing.
 */
import type { Clock } from "@drayage/base";
import type { PersistentVolume } from "@drayage/kube";

/** A cache that is behind for longer has lost its watch, and whoever asks again is answered with the same volume. */
const KEPT_MS = 10_000;

export class MadeVolumes {
  readonly #clock: Clock;
  /** By name, which is made of the claim's UID. */
  readonly #made = new Map<string, { readonly volume: PersistentVolume; readonly untilMs: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  add(volume: PersistentVolume): void {
    this.#dropOld();
    this.#made.set(volume.metadata.name ?? "", { volume, untilMs: this.#clock.monotonicMs() + KEPT_MS });
  }

  /** The volume as the cache has it, else as it was made. */
  latest(name: string, cached: PersistentVolume | undefined): PersistentVolume | undefined {
    this.#dropOld();
    if (cached === undefined) return this.#made.get(name)?.volume;
    // From now on the cache knows, also when the volume goes.
    this.#made.delete(name);
    return cached;
  }

  #dropOld(): void {
    const nowMs = this.#clock.monotonicMs();
    for (const [name, { untilMs }] of this.#made) if (untilMs <= nowMs) this.#made.delete(name);
  }
}
