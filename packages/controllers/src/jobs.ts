/** Long pieces of work of this process, one per object. The object's phase is the record; a job that is not in this table does not run. */
import { isAbort } from "@drayage/base";

interface Job {
  readonly uid: string;
  readonly abort: AbortController;
  readonly done: Promise<void>;
}

export class JobTable {
  readonly #jobs = new Map<string, Job>();
  readonly #onEnd: (name: string) => void;

  /**
   * @param onEnd - called after each job with the name of its object, when its place is free again: the change of the object may have been seen before that, and there is none when the
   *   end of the job could not be written down
   */
  constructor(onEnd: (name: string) => void = () => undefined) {
    this.#onEnd = onEnd;
  }

  get size(): number {
    return this.#jobs.size;
  }

  /** Whether a job runs for this very object; one of a namesake of an earlier life does not count. */
  has(name: string, uid: string): boolean {
    return this.#jobs.get(name)?.uid === uid;
  }

  /** Whether a job runs for a namesake of this object, of an earlier or a later life. */
  isBusyWithAnother(name: string, uid: string): boolean {
    const job = this.#jobs.get(name);
    return job !== undefined && job.uid !== uid;
  }

  /** Starts work unless some is under way for the name. What `work` throws, other than the reason it was ended for, goes to `onDefect`. */
  start(name: string, uid: string, work: (signal: AbortSignal) => Promise<void>, onDefect: (error: unknown) => void): void {
    if (this.#jobs.has(name)) return;
    const abort = new AbortController();
    const done = work(abort.signal)
      .catch((error: unknown) => {
        if (!isAbort(error, abort.signal)) onDefect(error);
      })
      .finally(() => {
        this.#jobs.delete(name);
        this.#onEnd(name);
      });
    this.#jobs.set(name, { uid, abort, done });
  }

  /** Ends the job of a name, unless it is this object's; resolves when it has ended. */
  async cancelOthers(name: string, uid: string | undefined, why: string): Promise<void> {
    const job = this.#jobs.get(name);
    if (job === undefined || job.uid === uid) return;
    job.abort.abort(new DOMException(why, "AbortError"));
    await job.done;
  }

  /** Ends all jobs; resolves when they have. */
  async stop(): Promise<void> {
    const jobs = [...this.#jobs.values()];
    for (const { abort } of jobs) abort.abort(new DOMException("The server is shutting down", "AbortError"));
    await Promise.all(jobs.map(({ done }) => done));
  }

  /** Resolves when no job runs. */
  async idle(): Promise<void> {
    while (this.#jobs.size > 0) await Promise.all([...this.#jobs.values()].map(({ done }) => done));
  }
}
