/** Work that ends in any order, taken up in the order in which it began. */
export class InOrder {
  #tail: Promise<void> = Promise.resolve();
  #pending = 0;
  #failure: { readonly error: unknown } | undefined;
  #wake: (() => void)[] = [];

  /** `take` is called once `work` is there and everything before it was taken. After a failure of either nothing more is taken; `end` throws it. */
  push<T>(work: Promise<T> | T, take: (result: T) => Promise<void> | void): void {
    this.#pending++;
    // Its failure is seen when its turn comes; until then somebody must be listening.
    if (work instanceof Promise) work.catch(() => undefined);
    this.#tail = this.#tail.then(async () => {
      try {
        if (this.#failure === undefined) await take(await work);
      } catch (error) {
        this.#failure ??= { error };
      } finally {
        this.#pending--;
        for (const wake of this.#wake.splice(0)) wake();
      }
    });
  }

  /** How many are not taken yet. */
  get pending(): number {
    return this.#pending;
  }

  /** Waits until fewer than `count` are not taken yet. Throws the first failure. */
  async fewerThan(count: number): Promise<void> {
    while (this.#pending >= count && this.#failure === undefined) await new Promise<void>((resolve) => this.#wake.push(resolve));
    this.#check();
  }

  /** Waits until everything was taken. Throws the first failure, after everything has ended. */
  async end(): Promise<void> {
    await this.settled();
    this.#check();
  }

  /** Waits until nothing is under way, whatever became of it. */
  async settled(): Promise<void> {
    await this.#tail;
  }

  #check(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
