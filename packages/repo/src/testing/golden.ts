/** The golden vectors of kopia 0.22.3, for tests of this package. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { fromBase64, fromHex } from "@drayage/base";

export interface GoldenFormat {
  readonly password: string;
  readonly nonce: string;
  readonly FEK: string;
  readonly inner: string;
  readonly "kopia.repository": string;
  readonly "kopia.blobcfg (plaintext {})": string;
  readonly maintenanceKey: string;
  readonly "kopia.maintenance plaintext": string;
  readonly "kopia.maintenance": string;
}

export interface GoldenIndex {
  readonly hex?: string;
  readonly len: number;
  readonly sha: string;
  readonly shards: readonly string[];
}

/** A whole small repository; entries are [id, pack, offset, packed length, original length, timestamp, deleted, format version, compression in hex]. */
export interface GoldenRepository {
  readonly inner: string;
  readonly snapshotID: string;
  readonly rootListing: string;
  readonly tree: readonly { readonly path: string; readonly type: string; readonly obj: string }[];
  readonly entries: readonly (readonly [string, string, number, number, number, number, boolean, number, string])[];
  readonly blobs: Readonly<Record<string, string>>;
}

interface Golden {
  readonly formatBlob: Readonly<Record<"scrypt-65536-8-1" | "pbkdf2-sha256-600000", GoldenFormat>>;
  readonly indexBlob: { readonly plaintext: string; readonly name: string; readonly nonce: string; readonly stored: string };
  readonly postamble: { readonly liv: string; readonly offset: number; readonly length: number; readonly bytes: string };
  readonly indexes: { readonly shape: Readonly<Record<string, string>>; readonly values: Readonly<Record<string, GoldenIndex>> };
  readonly repositories: { readonly items: Readonly<Record<"tiny-v3" | "tiny-v1" | "tiny-ecc", GoldenRepository>> };
}

export const golden: Golden = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../test/fixtures/kopia-0.22.3/vectors.json"), "utf8")) as Golden;

/** The password of the repositories among the vectors. */
export const GOLDEN_PASSWORD = "correct horse";

export function bytesOfHex(hex: string): Uint8Array {
  const bytes = fromHex(hex);
  if (bytes === undefined) throw new Error(`not hex: ${hex.slice(0, 40)}`);
  return bytes;
}

export function goldenBlobs(repository: GoldenRepository): [id: string, bytes: Uint8Array][] {
  return Object.entries(repository.blobs).map(([id, text]) => [id, fromBase64(text) ?? new Uint8Array()]);
}
