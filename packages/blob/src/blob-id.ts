import { DrayError } from "@drayage/base";
import type { BlobId } from "./storage.ts";

/** What a blob id may hold: the characters of Kopia's names. No slash, so that an id is one file name and one key, and nothing that a shell or a URL would read otherwise. */
const BLOB_ID = /^[A-Za-z0-9_.-]{1,255}$/;

export function isBlobId(text: string): boolean {
  return BLOB_ID.test(text) && text !== "." && text !== "..";
}

/** Throws INVARIANT for what is not a blob id; every provider checks, so that one does not accept what another would refuse. */
export function checkBlobId(id: BlobId): void {
  if (!isBlobId(id)) {
    throw new DrayError("INVARIANT", `Cannot use blob id ${JSON.stringify(id)}: 1 to 255 characters of A-Z a-z 0-9 _ . - are wanted`);
  }
}
