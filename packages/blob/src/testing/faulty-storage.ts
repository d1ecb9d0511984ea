import { type Code, concat, DrayError } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";
import type { StorageOperation } from "../wrappers/metered-storage.ts";

/** What goes wrong with one call. */
export type Fault =
  /** Nothing happens; the error comes. BLOB_UNAVAILABLE where no code is said; BLOB_THROTTLED is a 503. */
  | { readonly kind: "fail"; readonly code?: Code }
  /** The call takes effect, and then its answer is lost. */
  | { readonly kind: "appliedButTimedOut" }
  /** A put stores only a first part and fails, as a storage without atomic puts does when its writer is killed. Any other call only fails. */
  | { readonly kind: "torn"; readonly bytes?: number };

export interface FaultyCall {
  /** Counts from 1 over all operations. */
  readonly index: number;
  readonly operation: StorageOperation;
  readonly id: BlobId;
}

export type FaultPlan = (call: FaultyCall) => Fault | undefined;

/** The k-th call, counted over all operations from 1, goes wrong; with `repeat` all from it on. */
export function faultAt(k: number, fault: Fault = { kind: "fail" }, repeat = false): FaultPlan {
  return ({ index }) => (index === k || (repeat && index > k) ? fault : undefined);
}

/** Calls that this says go wrong. */
export function faultWhen(matches: (call: FaultyCall) => boolean, fault: Fault = { kind: "fail" }): FaultPlan {
  return (call) => (matches(call) ? fault : undefined);
}

/** A storage whose calls go wrong by plan. Run a piece of work for k = 1, 2, … until `calls` stays below k to see every point of failure. */
export class FaultyStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  /** May be changed at any time; undefined: nothing goes wrong. */
  plan: FaultPlan | undefined;
  readonly history: FaultyCall[] = [];

  constructor(inner: BlobStorage, plan?: FaultPlan) {
    this.#inner = inner;
    this.plan = plan;
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  /** Calls made so far. */
  get calls(): number {
    return this.history.length;
  }

  get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    return this.#run("get", id, () => this.#inner.get(id, options));
  }

  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    return this.#run("head", id, () => this.#inner.head(id, signal));
  }

  async put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    const whole = data instanceof Uint8Array ? data : concat(data);
    await this.#run("put", id, (fault) => {
      const stored = fault?.kind === "torn" ? whole.subarray(0, fault.bytes ?? whole.length >> 1) : whole;
      return this.#inner.put(id, stored, options);
    });
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#run("delete", id, () => this.#inner.delete(id, signal));
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const fault = this.#next("list", prefix);
    if (fault === undefined) {
      yield* this.#inner.list(prefix, signal);
      return;
    }
    // A listing that fails has given out its first entry: the caller must not take that for all.
    if (fault.kind !== "fail") {
      for await (const entry of this.#inner.list(prefix, signal)) {
        yield entry;
        break;
      }
    }
    throw errorOf(fault, "list", prefix);
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#run("extendRetention", id, () => this.#inner.extendRetention(id, retention, signal));
  }

  close(): Promise<void> {
    return this.#inner.close();
  }

  #next(operation: StorageOperation, id: BlobId): Fault | undefined {
    const call = { index: this.history.length + 1, operation, id };
    this.history.push(call);
    return this.plan?.(call);
  }

  async #run<T>(operation: StorageOperation, id: BlobId, work: (fault: Fault | undefined) => Promise<T>): Promise<T> {
    const fault = this.#next(operation, id);
    if (fault === undefined) return await work(undefined);
    if (fault.kind === "appliedButTimedOut" || (fault.kind === "torn" && operation === "put")) await work(fault);
    throw errorOf(fault, operation, id);
  }
}

function errorOf(fault: Fault, operation: StorageOperation, id: BlobId): DrayError {
  const code = fault.kind === "fail" ? (fault.code ?? "BLOB_UNAVAILABLE") : fault.kind === "torn" ? "BLOB_UNAVAILABLE" : "TIMED_OUT";
  return new DrayError(code, `Cannot ${operation} "${id}": injected fault (${fault.kind})`);
}
