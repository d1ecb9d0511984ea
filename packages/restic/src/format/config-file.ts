/** The file `config`: `{"version":2,"id":"<64 hex>","chunker_polynomial":"<hex>"}`, sealed, never compressed. */
import { DrayError, fromUtf8 } from "@drayage/base";
import { corrupt, isId, parseMembers } from "./json.ts";

export interface ResticConfig {
  /** 2 compresses, 1 does not. */
  readonly version: 1 | 2;
  readonly id: string;
}

/** Throws REPO_CORRUPT, and REPO_UNSUPPORTED for a version that is not known. */
export function decodeConfig(plaintext: Uint8Array, what: string): ResticConfig {
  const { version, id } = parseMembers(fromUtf8(plaintext), what);
  if (typeof id !== "string" || !isId(id)) throw corrupt(what, "it holds no id");
  if (version !== 1 && version !== 2) {
    throw new DrayError("REPO_UNSUPPORTED", `Cannot open ${what}: its format is version ${JSON.stringify(version)?.slice(0, 40)}, 1 and 2 are read here`);
  }
  return { version, id };
}
