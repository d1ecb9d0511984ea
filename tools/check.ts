/** The one gate: types, lint, format, boundaries, tidy, generated files, documentation, unit tests. `--fast` leaves the tests out. Every step runs, and the failed ones are named at the end. */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const bin = (name: string): string => join(root, "node_modules", ".bin", name);
const tool = (name: string, ...args: string[]): string[] => [process.execPath, join(root, "tools", name), ...args];

const steps: readonly (readonly [name: string, command: readonly string[]])[] = [
  ["types", [bin("tsc"), "-p", "."]],
  ["lint and format", [bin("biome"), "check", "--error-on-warnings", "."]],
  ["promises", [bin("oxlint"), "--type-aware", "packages", "apps", "test", "tools"]],
  ["boundaries", tool("boundaries.ts")],
  ["tidy", tool("tidy.ts")],
  ["generated files", tool("generate-api.ts", "--check")],
  ["bundle of the operator", tool("olm-bundle.ts", "--check")],
  ["docs", tool("docs.ts", "--check")],
  ...(process.argv.includes("--fast") ? [] : ([["unit tests", [bin("vitest"), "run", "--project", "unit"]]] as const)),
];

const failed: string[] = [];
for (const [name, [command, ...args]] of steps) {
  if (command === undefined) continue;
  const startedMs = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  process.stdout.write(`${status === 0 ? "ok    " : "FAILED"} ${name} (${seconds} s)\n`);
  if (status !== 0) failed.push(name);
}
if (failed.length > 0) process.stdout.write(`check failed: ${failed.join(", ")}\n`);
process.exitCode = failed.length > 0 ? 1 : 0;
