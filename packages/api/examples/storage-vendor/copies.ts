/** Copies under way in this process. One that was lost with an earlier process is begun anew by whoever finds its object InProgress: it has the same name. */
import type { Report } from "./appliance.ts";

export type CopyState =
  | { readonly state: "running"; readonly bytesDone: number; readonly totalBytes: number }
  | { readonly state: "done"; readonly bytes: number }
  | { readonly state: "failed"; readonly message: string };

interface Running {
  state: CopyState;
  readonly abort: AbortController;
}

export class Copies {
  readonly #running = new Map<string, Running>();
  /** Called when a copy has ended, so that the controller looks at once. */
  readonly #onEnd: () => void;

  constructor(onEnd: () => void) {
    this.#onEnd = onEnd;
  }

  of(uid: string): CopyState | undefined {
    return this.#running.get(uid)?.state;
  }

  start(uid: string, copy: (report: Report, signal: AbortSignal) => Promise<number>): void {
    const running: Running = { state: { state: "running", bytesDone: 0, totalBytes: 0 }, abort: new AbortController() };
    this.#running.set(uid, running);
    const report: Report = (bytesDone, totalBytes) => {
      running.state = { state: "running", bytesDone, totalBytes };
    };
    copy(report, running.abort.signal)
      .then(
        (bytes) => {
          running.state = { state: "done", bytes };
        },
        (error: unknown) => {
          running.state = { state: "failed", message: error instanceof Error ? error.message : String(error) };
        },
      )
      .finally(this.#onEnd);
  }

  cancel(uid: string): void {
    this.#running.get(uid)?.abort.abort(new Error("canceled"));
  }

  forget(uid: string): void {
    this.#running.delete(uid);
  }

  cancelAll(): void {
    for (const { abort } of this.#running.values()) abort.abort(new Error("the controller ends"));
  }
}
