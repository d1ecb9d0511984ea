/** Seals as restic does, for tests of what lies behind the authentication. */
import { createCipheriv, createHash } from "node:crypto";
import { concat } from "@drayage/base";
import { createKernels } from "@drayage/kernels";
import type { ResticRepository } from "../repository.ts";

const { poly1305 } = await createKernels();

/** @param key - encryption, k, r */
export function seal(plaintext: Uint8Array, key: Uint8Array, iv: Uint8Array = new Uint8Array(16).fill(7)): Uint8Array {
  const ciphertext = createCipheriv("aes-256-ctr", key.subarray(0, 32), iv).update(plaintext);
  const s = createCipheriv("aes-128-ecb", key.subarray(32, 48), null).setAutoPadding(false).update(iv);
  return concat([iv, ciphertext, poly1305(concat([key.subarray(48), s]), ciphertext)]);
}

/** Stores a file under the name that its bytes give it, as the repository's own are. */
export async function putSealed(repository: ResticRepository, kind: "index" | "snapshots" | "locks", json: string): Promise<string> {
  const bytes = seal(Buffer.from(json), repository.decoderOptions.key);
  const id = createHash("sha256").update(bytes).digest("hex");
  await repository.store.put(repository.layout.key(kind, id), bytes);
  return id;
}
