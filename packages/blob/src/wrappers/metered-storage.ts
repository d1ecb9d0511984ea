import { type Clock, isDrayError } from "@drayage/base";
import type { BlobCapabilities, BlobId, BlobMetadata, BlobRetention, BlobStorage, GetBlobOptions, PutBlobOptions } from "../storage.ts";

export const STORAGE_OPERATIONS = ["get", "head", "put", "delete", "list", "extendRetention"] as const;
export type StorageOperation = (typeof STORAGE_OPERATIONS)[number];

export interface OperationTotals {
  readonly calls: number;
  readonly failures: number;
  /** Bytes of blobs read (get) or stored (put); 0 for the rest. */
  readonly bytes: number;
  readonly durationMs: number;
}

/** One finished call, for a metrics system. A listing counts as one call. */
export interface StorageCall {
  readonly operation: StorageOperation;
  readonly durationMs: number;
  readonly bytes: number;
  /** Undefined when it succeeded; `aborted` for a cancelled one. */
  readonly failure: string | undefined;
}

export interface MeterOptions {
  readonly clock: Clock;
  readonly onCall?: (call: StorageCall) => void;
  /** When the storage is closed, with all totals. */
  readonly onClose?: (storage: MeteredStorage) => void;
}

/** Counts calls, bytes, failures and time by operation. */
export class MeteredStorage implements BlobStorage {
  readonly #inner: BlobStorage;
  readonly #options: MeterOptions;
  readonly #totals = new Map<StorageOperation, OperationTotals>();

  constructor(inner: BlobStorage, options: MeterOptions) {
    this.#inner = inner;
    this.#options = options;
  }

  get description(): string {
    return this.#inner.description;
  }

  get capabilities(): BlobCapabilities {
    return this.#inner.capabilities;
  }

  totals(operation: StorageOperation): OperationTotals {
    return this.#totals.get(operation) ?? { calls: 0, failures: 0, bytes: 0, durationMs: 0 };
  }

  get(id: BlobId, options?: GetBlobOptions): Promise<Uint8Array> {
    return this.#measured(
      "get",
      (bytes) => bytes.length,
      () => this.#inner.get(id, options),
    );
  }

  head(id: BlobId, signal?: AbortSignal): Promise<BlobMetadata> {
    return this.#measured(
      "head",
      () => 0,
      () => this.#inner.head(id, signal),
    );
  }

  put(id: BlobId, data: Uint8Array | readonly Uint8Array[], options?: PutBlobOptions): Promise<void> {
    const length = data instanceof Uint8Array ? data.length : data.reduce((sum, part) => sum + part.length, 0);
    return this.#measured(
      "put",
      () => length,
      () => this.#inner.put(id, data, options),
    );
  }

  delete(id: BlobId, signal?: AbortSignal): Promise<void> {
    return this.#measured(
      "delete",
      () => 0,
      () => this.#inner.delete(id, signal),
    );
  }

  async *list(prefix: BlobId, signal?: AbortSignal): AsyncIterable<BlobMetadata> {
    const startedMs = this.#options.clock.monotonicMs();
    let failure: string | undefined;
    try {
      yield* this.#inner.list(prefix, signal);
    } catch (error) {
      failure = failureOf(error);
      throw error;
    } finally {
      this.#count({ operation: "list", durationMs: this.#options.clock.monotonicMs() - startedMs, bytes: 0, failure });
    }
  }

  extendRetention(id: BlobId, retention: BlobRetention, signal?: AbortSignal): Promise<void> {
    return this.#measured(
      "extendRetention",
      () => 0,
      () => this.#inner.extendRetention(id, retention, signal),
    );
  }

  async close(): Promise<void> {
    this.#options.onClose?.(this);
    await this.#inner.close();
  }

  async #measured<T>(operation: StorageOperation, bytesOf: (result: T) => number, work: () => Promise<T>): Promise<T> {
    const startedMs = this.#options.clock.monotonicMs();
    try {
      const result = await work();
      this.#count({ operation, durationMs: this.#options.clock.monotonicMs() - startedMs, bytes: bytesOf(result), failure: undefined });
      return result;
    } catch (error) {
      this.#count({ operation, durationMs: this.#options.clock.monotonicMs() - startedMs, bytes: 0, failure: failureOf(error) });
      throw error;
    }
  }

  #count(call: StorageCall): void {
    const before = this.totals(call.operation);
    this.#totals.set(call.operation, {
      calls: before.calls + 1,
      failures: before.failures + (call.failure === undefined ? 0 : 1),
      bytes: before.bytes + call.bytes,
      durationMs: before.durationMs + call.durationMs,
    });
    this.#options.onCall?.(call);
  }
}

function failureOf(error: unknown): string {
  return isDrayError(error) ? error.code : "aborted";
}
