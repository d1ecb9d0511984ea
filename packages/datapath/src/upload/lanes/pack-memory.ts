/**
 * Memory for packs, of which there is so much and no more: those who find none wait in line, which is what holds back whoever fills packs faster than they are stored.
 *
 * It is shared between threads and not handed over: the collector of a thread takes memory that arrives for newly allocated, and looks for as much garbage.
 */
export class PackMemory {
  readonly #bufferBytes: number;
  #left: number;
  readonly #spare: Uint8Array[] = [];
  readonly #waiting: Waiting[] = [];
  #ended: { readonly error: unknown } | undefined;

  readonly #newMemory: (bytes: number) => Uint8Array;

  /** `allocate` gives shared memory. */
  constructor(options: { readonly bufferBytes: number; readonly buffers: number; readonly allocate: (bytes: number) => Uint8Array }) {
    this.#bufferBytes = options.bufferBytes;
    this.#left = options.buffers;
    this.#newMemory = options.allocate;
  }

  /** Bytes of each buffer. */
  get bufferBytes(): number {
    return this.#bufferBytes;
  }

  /** Calls `use` with memory for a pack: at once where there is some, else when it is given back. */
  give(use: (buffer: Uint8Array) => void): void {
    const buffer = this.#spare.pop() ?? this.#allocate();
    if (buffer === undefined) this.#waiting.push({ use });
    else use(buffer);
  }

  /** Resolves with memory for a pack, behind those who wait. Throws what `end` was told where there is none. */
  take(): Promise<Uint8Array> {
    return this.#taken((waiting) => this.#waiting.push(waiting));
  }

  /** The same, before all who wait. */
  takeFirst(): Promise<Uint8Array> {
    return this.#taken((waiting) => this.#waiting.unshift(waiting));
  }

  #taken(wait: (waiting: Waiting) => void): Promise<Uint8Array> {
    const taken = new Promise<Uint8Array>((use, fail) => {
      const buffer = this.#spare.pop() ?? this.#allocate();
      if (buffer !== undefined) use(buffer);
      else if (this.#ended !== undefined) fail(this.#ended.error);
      else wait({ use, fail });
    });
    // It may be taken for later, and nobody comes to ask.
    taken.catch(() => undefined);
    return taken;
  }

  /** What others hold may never come back: who waits for it is told `error`, now and later. */
  end(error: unknown): void {
    this.#ended ??= { error };
    for (const { fail } of this.#waiting) fail?.(error);
    this.#waiting.splice(0, this.#waiting.length, ...this.#waiting.filter(({ fail }) => fail === undefined));
  }

  giveBack(buffer: Uint8Array): void {
    const whole = new Uint8Array(buffer.buffer);
    const first = this.#waiting.shift();
    if (first === undefined) this.#spare.push(whole);
    else first.use(whole);
  }

  #allocate(): Uint8Array | undefined {
    if (this.#left === 0) return undefined;
    this.#left--;
    return this.#newMemory(this.#bufferBytes);
  }
}

interface Waiting {
  readonly use: (buffer: Uint8Array) => void;
  readonly fail?: (error: unknown) => void;
}
