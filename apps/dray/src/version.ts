import { readFileSync } from "node:fs";

/** The version of this program, from its manifest. */
export function programVersion(): string {
  return (JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as { version: string }).version;
}
