import { errorFields, type Logger } from "@drayage/base";
import { isStatusError } from "./status-error.ts";

/**
 * Keys to be worked on in a turn of their own, each at most once however often it was added: what a change causes does not hold up the request that made it. Work that is refused
 * (the object is gone, or was changed meanwhile) is done with, since the change that came between adds the key again. Anything else is logged.
 */
export class TurnQueue {
  readonly #work: (key: string) => void;
  readonly #isStopped: () => boolean;
  readonly #logger: Logger;
  readonly #keys = new Set<string>();
  #scheduled = false;

  constructor(options: { readonly work: (key: string) => void; readonly isStopped: () => boolean; readonly logger: Logger }) {
    this.#work = options.work;
    this.#isStopped = options.isStopped;
    this.#logger = options.logger;
  }

  add(key: string): void {
    this.#keys.add(key);
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => this.#run());
  }

  #run(): void {
    this.#scheduled = false;
    const keys = [...this.#keys];
    this.#keys.clear();
    for (const key of keys) {
      if (this.#isStopped()) return;
      try {
        this.#work(key);
      } catch (error) {
        if (!isStatusError(error)) this.#logger.error("work that a change caused has failed", { key, ...errorFields(error) });
      }
    }
  }
}
