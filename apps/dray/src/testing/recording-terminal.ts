import type { RandomSource } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { Terminal } from "../terminal.ts";

/** A terminal that keeps what a command prints. */
export class RecordingTerminal implements Terminal {
  text = "";
  errors = "";
  exitCode = 0;
  debug = false;
  readonly outIsTerminal = false;
  readonly errIsTerminal = false;
  readonly columns = 80;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: VirtualClock;
  readonly random: RandomSource;
  readonly abort = new AbortController();
  readonly #input: Uint8Array;

  constructor(
    options: {
      readonly env?: Readonly<Record<string, string | undefined>>;
      readonly cwd?: string;
      readonly input?: Uint8Array;
      readonly random?: RandomSource;
      readonly clock?: VirtualClock;
    } = {},
  ) {
    // Several clients of one repository need randomness of their own each: with one seed they would give their packs the same names.
    this.random = options.random ?? seededRandom(1);
    this.clock = options.clock ?? new VirtualClock();
    this.env = options.env ?? {};
    this.cwd = options.cwd ?? "/";
    this.#input = options.input ?? new Uint8Array();
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  out(text: string): void {
    this.text += text;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.text += new TextDecoder().decode(bytes);
  }

  err(text: string): void {
    this.errors += text;
  }

  askSecret(prompt: string): Promise<string> {
    return Promise.reject(new Error(`nobody answers "${prompt}"`));
  }

  readInput(): Promise<Uint8Array> {
    return Promise.resolve(this.#input);
  }
}
