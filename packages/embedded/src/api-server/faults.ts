/** Faults on demand: what a test or a demo wants to go wrong, and for which requests. */
import type { RequestInfo } from "./request-info.ts";

export interface FaultRule {
  /** Which requests; all when left out. */
  readonly matches?: (request: { readonly info: RequestInfo; readonly user: string }) => boolean;
  /** How many requests are hit; without limit when left out. */
  readonly times?: number;
  /** Matching requests that pass first. */
  readonly after?: number;
  readonly delayMs?: number;
  /** The answer instead of the real one. */
  readonly code?: 409 | 429 | 500 | 503 | 504;
  readonly retryAfterSeconds?: number;
  /** Every event of a watch comes this much later, so that one client sees the world in another order than the next. */
  readonly delayEventsMs?: number;
  /** The request is served, but its connection is cut before the answer: the client cannot know. */
  readonly cutAnswer?: boolean;
}

interface ArmedRule {
  readonly rule: FaultRule;
  seen: number;
  hits: number;
}

export class Faults {
  readonly #rules = new Set<ArmedRule>();

  /** Arms a rule; the returned function takes it away. */
  add(rule: FaultRule): () => void {
    const armed = { rule, seen: 0, hits: 0 };
    this.#rules.add(armed);
    return () => void this.#rules.delete(armed);
  }

  clear(): void {
    this.#rules.clear();
  }

  /** The first rule that hits this request. Counts it. */
  take(request: { readonly info: RequestInfo; readonly user: string }): FaultRule | undefined {
    for (const armed of this.#rules) {
      const { rule } = armed;
      if (rule.matches?.(request) === false || armed.hits >= (rule.times ?? Number.POSITIVE_INFINITY)) continue;
      if (armed.seen++ < (rule.after ?? 0)) continue;
      armed.hits++;
      return rule;
    }
    return undefined;
  }
}
