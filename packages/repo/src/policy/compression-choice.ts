/** Which compressor a file gets (Kopia: snapshot/policy/compression_policy.go). */
import type { EffectivePolicy } from "./effective-policy.ts";

/**
 * The compressor's name, undefined for none. `only` does not keep other files from being compressed: in Kopia it merely wins over `never`, and so it does here, since
 * the same policy must give the same repository.
 */
export function compressorForFile(policy: EffectivePolicy, name: string, bytes: number): string | undefined {
  const { name: compressor, only, never, minBytes, maxBytes } = policy.compression;
  if (compressor === "" || compressor === "none") return undefined;
  if ((minBytes > 0 && bytes < minBytes) || (maxBytes > 0 && bytes > maxBytes)) return undefined;
  const extension = extensionOf(name);
  if (never.includes(extension) && !only.includes(extension)) return undefined;
  return compressor;
}

/** From the last dot of the name on; a name that begins with its only dot is all extension, as in Go. */
function extensionOf(name: string): string {
  const dot = name.lastIndexOf(".");
  return dot < 0 ? "" : name.slice(dot);
}
