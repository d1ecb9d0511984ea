/** Choices of a simulation, each made by its seed. */
import { DrayError, type RandomSource } from "@drayage/base";

export class Draw {
  readonly random: RandomSource;

  constructor(random: RandomSource) {
    this.random = random;
  }

  /** True in this share of all cases. */
  chance(share: number): boolean {
    return this.random.fraction() < share;
  }

  /** A whole number from 0 up to, not including, the limit. */
  below(limit: number): number {
    return Math.floor(this.random.fraction() * limit);
  }

  /** A whole number from `least` to `most`. */
  between(least: number, most: number): number {
    return least + this.below(most - least + 1);
  }

  pick<T>(choices: readonly T[]): T {
    const picked = choices[this.below(choices.length)];
    if (picked === undefined) throw new DrayError("INVARIANT", "there is nothing to pick from");
    return picked;
  }
}
