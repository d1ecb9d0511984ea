import type { RequestFacts } from "./store-faults.ts";

export interface RequestRecord extends RequestFacts {
  readonly query: string;
  readonly atMs: number;
  readonly durationMs: number;
  /** 0 when the connection was cut. */
  readonly status: number;
  readonly errorCode: string | undefined;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** The last requests, and counts of all since the start. */
export class RequestLog {
  readonly #limit: number;
  readonly #records: RequestRecord[] = [];
  readonly #counts = new Map<string, number>();

  constructor(limit: number) {
    this.#limit = limit;
  }

  add(record: RequestRecord): void {
    this.#counts.set(record.operation, this.count(record.operation) + 1);
    this.#records.push(record);
    if (this.#records.length > this.#limit) this.#records.splice(0, this.#records.length - this.#limit);
  }

  /** Oldest first. */
  list(): readonly RequestRecord[] {
    return [...this.#records];
  }

  /** How many requests of an operation there were, also those no longer listed. */
  count(operation: string): number {
    return this.#counts.get(operation) ?? 0;
  }

  clear(): void {
    this.#records.length = 0;
    this.#counts.clear();
  }
}
