/** Loads the addon named by the first argument and tests it; the exit code says whether it can be trusted. */
import { requireAddon } from "./addon.ts";
import { selfTest } from "./self-test.ts";

const problem = selfTest(requireAddon(process.argv[2] ?? ""));
if (problem !== undefined) {
  process.stderr.write(`self-test: ${problem}\n`);
  process.exitCode = 1;
}
