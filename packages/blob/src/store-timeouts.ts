/** In milliseconds. */
export interface StoreTimeouts {
  readonly connectMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
  /** Until the answer begins; counts the upload of the body. */
  readonly requestMs: number;
}

export const DEFAULT_TIMEOUTS: StoreTimeouts = { connectMs: 10_000, idleMs: 60_000, requestMs: 300_000 };
