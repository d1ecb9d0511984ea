/**
 * Memory for packs, of which there is so much and no more: those who find none wait in line, which is what holds back whoever fills packs faster than they are stored.
 *
 * It is shared between threads and not handed over: the collector of a thread takes memory that arrives for newly allocated, and looks for as much garbage.
 */
export class PackMemory {
  readonly #bufferBytes: number;
  #left: number;
  readonly #spare: Uint8Array[] = [];
  readonly #waiting: ((buffer: Uint8Array) => void)[] = [];

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
    if (buffer === undefined) this.#waiting.push(use);
    else use(buffer);
  }

  /** Resolves with memory for a pack, behind those who wait. */
  take(): Promise<Uint8Array> {
    return new Promise((resolve) => this.give(resolve));
  }

  /** The same, before all who wait. */
  takeFirst(): Promise<Uint8Array> {
    return new Promise((resolve) => {
      const buffer = this.#spare.pop() ?? this.#allocate();
      if (buffer === undefined) this.#waiting.unshift(resolve);
      else resolve(buffer);
    });
  }

  giveBack(buffer: Uint8Array): void {
    const whole = new Uint8Array(buffer.buffer);
    const use = this.#waiting.shift();
    if (use === undefined) this.#spare.push(whole);
    else use(whole);
  }

  #allocate(): Uint8Array | undefined {
    if (this.#left === 0) return undefined;
    this.#left--;
    return this.#newMemory(this.#bufferBytes);
  }
}
