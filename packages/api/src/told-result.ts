/**
 * A mover's result in the last message of its progress Event, ahead of its container's end, which a kubelet looks for once a second at moments of its own. Whoever may write Events could make
 * up a result, so it comes with a proof: HMAC-SHA256 over the pod's UID and the result, by a key that is in the Secret of this one movement (`MOVER_SECRET_KEYS.resultKey`). The termination
 * message says the same as before, and counts where nothing was told, where a proof is wrong, and for everything that is not a whole success.
 */
import { createHmac, timingSafeEqual } from "node:crypto";
import { parseObject } from "./json-object.ts";

export interface ToldResult {
  /** As it stands in the termination message. */
  readonly result: string;
  /** 64 hexadecimal digits. */
  readonly proof: string;
}

/** Bytes of a key. */
export const RESULT_KEY_BYTES = 32;
/** So that a proof is of nothing else that may once be made by the same key. */
const PURPOSE = "drayage data path result";

/** Proves that a result comes from the pod that was given `key`. */
export function proveResult(key: Uint8Array, podUid: string, result: string): ToldResult {
  return { result, proof: digestOf(key, podUid, result).toString("hex") };
}

/** Whether a result was told by the pod that was given `key`. */
export function isProven(key: Uint8Array, podUid: string, { result, proof }: ToldResult): boolean {
  const [given, wanted] = [Buffer.from(proof, "hex"), digestOf(key, podUid, result)];
  return key.length === RESULT_KEY_BYTES && given.length === wanted.length && timingSafeEqual(given, wanted);
}

/** The result in the message of a progress Event, or undefined where there is none. It is not proven yet. */
export function parseToldResult(message: string): ToldResult | undefined {
  const { result, proof } = parseObject(message) ?? {};
  return typeof result === "string" && typeof proof === "string" && /^[0-9a-f]{64}$/.test(proof) ? { result, proof } : undefined;
}

function digestOf(key: Uint8Array, podUid: string, result: string): Buffer {
  return createHmac("sha256", key)
    .update(JSON.stringify([PURPOSE, podUid, result]))
    .digest();
}
