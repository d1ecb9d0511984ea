/**
 * Who takes a new movement first. Any agent may, and without an order all try at once: of fifty writes one succeeds. Each agent has a place in the order of a movement, other for each so that
 * the work spreads (rendezvous hashing), and leaves it to those before it for a moment. Nothing depends on it: the claim is a compare-and-swap, and who is late or alone takes it all the same.
 */
import { createHash } from "node:crypto";
import type { Clock } from "@drayage/base";

const STEP_MS = 200;
/** Nodes without an agent have a place as well, and are waited for in vain. */
const LEFT_TO_OTHERS_MAX_MS = 2_000;
/** More than are new at a time. */
const KNOWN_MAX = 10_000;

/** How long after it was first seen a node's agent may take a movement, in milliseconds. `readyNodes` are those whose agents may. */
export function claimDelayMs(uid: string, nodeName: string, readyNodes: readonly string[]): number {
  const own = weight(uid, nodeName);
  const before = readyNodes.filter((other) => other !== nodeName && weight(uid, other) < own).length;
  return Math.min(before * STEP_MS, LEFT_TO_OTHERS_MAX_MS);
}

/** 48 bits of a hash: the order of the nodes by it is as good as drawn. */
function weight(uid: string, nodeName: string): number {
  return createHash("sha256").update(`${uid} ${nodeName}`).digest().readUIntBE(0, 6);
}

/** Since when an agent has known of new movements, by its own clock: the one that stamps their creation is another's, and counts in seconds. */
export class KnownMovements {
  readonly #clock: Clock;
  readonly #since = new Map<string, number>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Tells that a movement was seen; one that is not new any more is forgotten. */
  seen(uid: string | undefined, isNew: boolean): void {
    if (uid === undefined) return;
    if (!isNew) this.#since.delete(uid);
    else if (!this.#since.has(uid)) {
      // What was deleted while it was new is still here.
      if (this.#since.size >= KNOWN_MAX) this.#since.clear();
      this.#since.set(uid, this.#clock.monotonicMs());
    }
  }

  /** How long a new movement has been known, in milliseconds; 0 for one that has not been seen. */
  forMs(uid = ""): number {
    return this.#clock.monotonicMs() - (this.#since.get(uid) ?? this.#clock.monotonicMs());
  }
}
