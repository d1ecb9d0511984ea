import { createDecipheriv } from "node:crypto";
import type { NativeAddon } from "../native/addon.ts";

/**
 * AES-256 in counter mode, which encrypts as it decrypts. `counter` is the whole first counter block, 16 bytes. The result is a view of `room` where that is given and long enough
 * and the build can, else an array of its own; `room` must not overlap `data`.
 */
export type Aes256Ctr = (key: Uint8Array, counter: Uint8Array, data: Uint8Array, room?: Uint8Array) => Uint8Array;

/** Over the addon where it has the function. */
export function createAes256Ctr(addon?: NativeAddon): Aes256Ctr {
  if (addon?.hasAead !== true) return portableAes256Ctr;
  return (key, counter, data, room) => {
    const out = room !== undefined && room.length >= data.length ? room.subarray(0, data.length) : new Uint8Array(data.length);
    addon.aes256Ctr(key, counter, data, out);
    return out;
  };
}

export const portableAes256Ctr: Aes256Ctr = (key, counter, data) => {
  const out = createDecipheriv("aes-256-ctr", key, counter).update(data);
  return new Uint8Array(out.buffer, out.byteOffset, out.length);
};
