/**
 * What a person, or a program, sees of a transfer under way: one live line on a terminal, otherwise a line every ten seconds; with `--json` one event a line on standard output.
 *
 *   {"type":"progress"|"summary"|"error",…,"schema":1}
 */
import { formatBytes, isDrayError, messageOf } from "@drayage/base";
import { type DataPathProgress, type EntryProblem, RateMeter, type TransferLimit } from "@drayage/datapath";
import { formatElapsed } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

const LINE_EVERY_MS = 10_000;
const JSON_EVERY_MS = 1_000;
const SCHEMA = 1;
/** Problems printed for people; the count says how many there are. */
const PROBLEMS_SHOWN_MAX = 20;

const LIMITED_BY: Readonly<Record<TransferLimit, string>> = { reading: "reading", processor: "the processor", storage: "the storage" };

export class TransferView {
  readonly #terminal: Terminal;
  readonly #verb: string;
  readonly #json: boolean;
  readonly #rate = new RateMeter();
  #toldMs: number;
  #liveLine = "";

  /** @param verb - `Uploading`, as the line begins */
  constructor(terminal: Terminal, verb: string, json: boolean) {
    this.#terminal = terminal;
    this.#verb = verb;
    this.#json = json;
    this.#toldMs = terminal.clock.monotonicMs();
  }

  readonly onProgress = (progress: DataPathProgress): void => {
    const nowMs = this.#terminal.clock.monotonicMs();
    this.#rate.note(nowMs, progress.bytesDone);
    if (progress.phase === "done") {
      this.clear();
      return;
    }
    if (this.#json) {
      if (nowMs - this.#toldMs < JSON_EVERY_MS) return;
      this.#toldMs = nowMs;
      const rate = this.#rate.perSecond;
      const etaMs = this.#rate.etaMs(progress.bytesTotal);
      this.#event({
        type: "progress",
        ...progress,
        ...(rate === undefined ? {} : { bytesPerSecond: Math.round(rate) }),
        ...(etaMs === undefined ? {} : { etaMs: Math.round(etaMs) }),
      });
    } else if (this.#terminal.errIsTerminal) {
      this.clear();
      this.#liveLine = this.#line(progress).slice(0, this.#terminal.columns - 1);
      this.#terminal.err(this.#liveLine);
    } else if (nowMs - this.#toldMs >= LINE_EVERY_MS) {
      this.#toldMs = nowMs;
      this.#terminal.err(`${this.#line(progress)}\n`);
    }
  };

  /** Takes the live line away. */
  clear(): void {
    if (this.#liveLine !== "") this.#terminal.err("\r\u001b[K");
    this.#liveLine = "";
  }

  /** What went wrong with single entries, and what is worth knowing. */
  problems(problems: readonly EntryProblem[], count: number, kind: "error" | "warning"): void {
    for (const problem of this.#json ? problems : problems.slice(0, PROBLEMS_SHOWN_MAX)) {
      if (this.#json)
        this.#event({
          type: "error",
          severity: kind,
          path: problem.path,
          message: problem.message,
          ...(problem.code === undefined ? {} : { code: problem.code }),
        });
      else this.#terminal.err(`${kind}: ${problem.path}: ${problem.message}\n`);
    }
    if (!this.#json && count > PROBLEMS_SHOWN_MAX) this.#terminal.err(`${kind}: and ${count - PROBLEMS_SHOWN_MAX} more\n`);
  }

  /** What error correction put right: nothing is lost yet, but a store that loses bytes goes on doing so. */
  repaired(shards: number): void {
    if (shards === 0) return;
    const message = `${shards} damaged parts were put right by error correction: the store loses bytes; check its disks, and copy the repository to another`;
    this.problems([{ path: "repository", message }], 1, "warning");
  }

  /** The last thing said: plain lines for people, one event for programs. */
  summary(facts: Readonly<Record<string, unknown>>, text: string): void {
    this.clear();
    if (this.#json) this.#event({ type: "summary", ...facts });
    else this.#terminal.out(text);
  }

  /** Runs the transfer; a failure takes the live line away and, with `--json`, is an event as well. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      this.clear();
      if (this.#json) {
        this.#event({ type: "error", severity: "fatal", message: messageOf(error), ...(isDrayError(error) ? { code: error.code, hint: error.hint } : {}) });
      }
      throw error;
    }
  }

  #line({ phase, bytesDone, bytesTotal, filesDone, filesTotal, errors, limitedBy }: DataPathProgress): string {
    if (phase === "preparing") return `${this.#verb}: preparing`;
    if (phase === "finishing") return `${this.#verb}: finishing`;
    const percent = bytesTotal === 0 ? "" : `${Math.floor((bytesDone * 100) / bytesTotal)} % `;
    const rate = this.#rate.perSecond;
    const etaMs = this.#rate.etaMs(bytesTotal);
    const speed = rate === undefined ? "" : `, ${formatBytes(rate)}/s`;
    const eta = etaMs === undefined || etaMs < 1000 ? "" : `, ${formatElapsed(etaMs)} left`;
    const failed = errors === 0 ? "" : `, ${errors} failed`;
    const limit = limitedBy === undefined ? "" : `, limited by ${LIMITED_BY[limitedBy]}`;
    return `${this.#verb}: ${percent}${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}, ${filesDone} of ${filesTotal} files${speed}${eta}${limit}${failed}`;
  }

  #event(event: Readonly<Record<string, unknown>>): void {
    this.#terminal.out(`${JSON.stringify({ ...event, schema: SCHEMA })}\n`);
  }
}
