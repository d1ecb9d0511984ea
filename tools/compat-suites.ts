/**
 * Which real programs a compat suite needs: read from its source and from the files of its folder that it imports, so that no list has to be kept.
 * A program is needed where it is named to `peer`, `startPeer`, `startPeerDaemon` or `startAzurite` of test/compat/peers.ts.
 */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface CompatSuite {
  /** Its file, absolute. */
  readonly path: string;
  /** Names of programs, sorted. */
  readonly needs: readonly string[];
}

/** The suites of a folder with what each needs, sorted by path. */
export function compatSuites(folder: string): readonly CompatSuite[] {
  return readdirSync(folder, { recursive: true, encoding: "utf8" })
    .filter((name) => name.endsWith(".test.ts"))
    .sort()
    .map((name) => ({ path: join(folder, name), needs: [...neededBy(join(folder, name), new Set())].sort() }));
}

function neededBy(path: string, seen: Set<string>): Set<string> {
  const needs = new Set<string>();
  if (seen.has(path) || !existsSync(path)) return needs;
  seen.add(path);
  const source = readFileSync(path, "utf8");
  for (const [, name] of source.matchAll(/\b(?:peer|startPeer|startPeerDaemon)\(\s*(?:folder, )?"([^"]+)"/g)) if (name !== undefined) needs.add(name);
  if (/\bstartAzurite\(\[?/.test(source) && !source.includes("function startAzurite")) needs.add("azurite");
  for (const [, imported] of source.matchAll(/\bfrom "(\.{1,2}\/[^"]+\.ts)"/g)) {
    if (imported === undefined) continue;
    for (const name of neededBy(join(dirname(path), imported), seen)) needs.add(name);
  }
  return needs;
}
