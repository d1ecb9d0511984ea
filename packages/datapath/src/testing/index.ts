/** Data for tests of the data path. */
import { createCipheriv } from "node:crypto";

/** Repeatable bytes that neither compress nor deduplicate, fast: the key stream of AES-128-CTR under a key made from the seed. */
export function patternBytes(length: number, seed = 1): Buffer {
  const key = Buffer.alloc(16);
  key.writeUInt32BE(seed >>> 0);
  return createCipheriv("aes-128-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}
