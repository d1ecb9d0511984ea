import type { S3ErrorCode } from "./s3-error.ts";

/** What a request is about, as far as a rule or the log looks at it. */
export interface RequestFacts {
  /** Counts from 1 since the start. */
  readonly index: number;
  /** S3's name of the operation: `PutObject`, `ListObjectsV2`. */
  readonly operation: string;
  readonly method: string;
  readonly bucket: string;
  readonly key: string;
}

export type StoreFault =
  /** Answered with an error; nothing happens. */
  | { readonly kind: "error"; readonly code: S3ErrorCode }
  /** The request takes effect, and the connection is cut instead of the answer. */
  | { readonly kind: "lostAnswer" }
  /** The connection is cut before anything happens. */
  | { readonly kind: "reset" }
  /** The body of the answer is cut off after this many bytes, although its announced length is that of the whole. */
  | { readonly kind: "truncate"; readonly afterBytes: number }
  /** The answer is held back. */
  | { readonly kind: "delay"; readonly ms: number }
  /** Nothing happens before the promise is settled: a request is kept under way for as long as a test needs it. */
  | { readonly kind: "hold"; readonly until: Promise<unknown> }
  /** The body of the answer comes in pieces of this size with a pause before each. */
  | { readonly kind: "slow"; readonly pieceBytes: number; readonly pauseMs: number };

export interface FaultRule {
  readonly matches: (request: RequestFacts) => boolean;
  readonly fault: StoreFault;
  /** How often it strikes before it is spent; for ever when left out. */
  readonly times?: number;
}

/** What goes wrong at the store; changed at any time while it runs. */
export class StoreFaults {
  /** `reset` cuts every connection at once, `unavailable` answers 503. */
  outage: "none" | "reset" | "unavailable" = "none";
  /** Overwrite although `If-None-Match` or `If-Match` forbid it, as older servers do. */
  ignoreConditionalHeaders = false;
  #rules: { readonly rule: FaultRule; left: number }[] = [];

  /** Adds a rule; the first one that matches a request strikes. The returned function takes it away. */
  add(rule: FaultRule): () => void {
    const entry = { rule, left: rule.times ?? Number.POSITIVE_INFINITY };
    this.#rules.push(entry);
    return () => {
      this.#rules = this.#rules.filter((other) => other !== entry);
    };
  }

  clear(): void {
    this.#rules = [];
    this.outage = "none";
    this.ignoreConditionalHeaders = false;
  }

  /** The fault of this request, counted as struck. */
  strike(request: RequestFacts): StoreFault | undefined {
    const entry = this.#rules.find(({ rule, left }) => left > 0 && rule.matches(request));
    if (entry === undefined) return undefined;
    entry.left--;
    return entry.rule.fault;
  }
}
