import { existsSync, readFileSync, writeFileSync } from "node:fs";

/** The text of a file only its owner may read; made from `make` when it is not there yet, or when `replace` says so. */
export function secretFile(path: string, make: () => string, replace = false): string {
  if (!replace && existsSync(path)) return readFileSync(path, "utf8").trim();
  const text = make();
  writeFileSync(path, `${text}\n`, { mode: 0o600 });
  return text;
}
