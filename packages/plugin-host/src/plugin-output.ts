/** What a plug-in prints, in bounded memory. */

const LINE_BYTES_MAX = 8192;
const TAIL_LINES = 5;

/** Cuts what comes into lines; a line longer than the limit is cut there, and its rest is dropped. */
export class LineReader {
  readonly #onLine: (line: string) => void;
  readonly #limit: number;
  #pending = "";
  #dropping = false;

  constructor(onLine: (line: string) => void, limit: number = LINE_BYTES_MAX) {
    this.#onLine = onLine;
    this.#limit = limit;
  }

  readonly push = (bytes: Uint8Array): void => {
    for (const [index, part] of Buffer.from(bytes).toString("utf8").split("\n").entries()) {
      if (index > 0) {
        if (!this.#dropping) this.#onLine(this.#pending);
        this.#pending = "";
        this.#dropping = false;
      }
      if (this.#dropping) continue;
      this.#pending += part;
      if (this.#pending.length <= this.#limit) continue;
      this.#onLine(this.#pending.slice(0, this.#limit));
      this.#pending = "";
      this.#dropping = true;
    }
  };
}

/** The last lines, for messages. */
export class LogTail {
  readonly #lines: string[] = [];

  add(line: string): void {
    if (line.trim() === "") return;
    this.#lines.push(line.slice(0, 300));
    if (this.#lines.length > TAIL_LINES) this.#lines.shift();
  }

  /** `; its last words: …`, or nothing when it said nothing. */
  words(): string {
    return this.#lines.length === 0 ? "" : `; its last words: ${this.#lines.join(" / ")}`;
  }
}
