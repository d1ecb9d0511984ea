/**
 * scrypt (RFC 7914): PBKDF2 makes blocks of a password, ROMix stretches each, PBKDF2 makes a key of them. With the addon ROMix takes half of the processor time that Node's takes, which
 * is a good part of what a short command costs.
 */
import { pbkdf2Sync, scrypt } from "node:crypto";
import { loadNative } from "../native/load-native.ts";

export interface ScryptParameters {
  readonly N: number;
  readonly r: number;
  readonly p: number;
}

/** 128 · N · r bytes, and the little that OpenSSL wants besides; Node's default is half of what the usual repository needs. */
const MEMORY_SLACK = 64 << 20;

/** A key of `length` bytes; memory of 128 · N · r bytes is needed for a while. Runs on a thread of its own. */
export async function scryptKey(
  password: Uint8Array,
  salt: Uint8Array,
  { N, r, p }: ScryptParameters,
  length: number,
  mix: ScryptMix | undefined = nativeMix(),
): Promise<Uint8Array> {
  if (mix !== undefined) {
    const blocks = pbkdf2Sync(password, salt, 1, 128 * r * p, "sha256");
    return pbkdf2Sync(password, await mix(blocks, N, r), 1, length, "sha256");
  }
  return await new Promise((resolve, reject) => {
    scrypt(password, salt, length, { N, r, p, maxmem: 128 * N * r + MEMORY_SLACK }, (error, key) => (error === null ? resolve(key) : reject(error)));
  });
}

export type ScryptMix = (blocks: Uint8Array, N: number, r: number) => Promise<Uint8Array>;

function nativeMix(): ScryptMix | undefined {
  if (process.env["DRAY_KERNELS"] === "portable") return undefined;
  const { addon } = loadNative();
  return addon?.hasAead === true ? addon.scryptMix : undefined;
}
