/**
 * Feeds every decoder of stored bytes with damaged input: `npm run fuzz -- [--runs 1000000] [--seed 1] [--decoder "policy"]`.
 * Ends with 1 at the first input that is answered by anything but a value or a typed error, or that takes longer than a second, and prints it.
 */
import { parseArgs } from "node:util";
import { isDrayError } from "../packages/base/src/index.ts";
import { seededRandom } from "../packages/base/src/testing/index.ts";
import { type Decoder, decoders } from "../packages/repo/src/testing/decoders.ts";
import { mutate } from "../packages/repo/src/testing/mutations.ts";

const SLOW_MS = 1000;
const EXPECTED = ["REPO_CORRUPT", "REPO_UNSUPPORTED", "USAGE"];

const { values } = parseArgs({
  options: { runs: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" }, decoder: { type: "string" } },
});

async function fuzz(decoder: Decoder, runs: number, seed: number): Promise<string | undefined> {
  const random = seededRandom(seed);
  for (let run = 0; run < runs; run++) {
    const bytes = mutate(decoder.examples[run % decoder.examples.length] as Uint8Array, random);
    const startedMs = performance.now();
    let problem: string | undefined;
    try {
      await decoder.decode(bytes);
    } catch (error) {
      if (!isDrayError(error) || !EXPECTED.includes(error.code)) problem = error instanceof Error ? (error.stack ?? error.message) : String(error);
    }
    const took = performance.now() - startedMs;
    if (took > SLOW_MS) problem ??= `took ${Math.round(took)} ms`;
    if (problem !== undefined) return `run ${run}, seed ${seed}: ${problem}\n${Buffer.from(bytes).toString("base64")}`;
  }
  return undefined;
}

const chosen = decoders.filter(({ name }) => values.decoder === undefined || name === values.decoder);
if (chosen.length === 0) {
  process.stderr.write(`No decoder "${values.decoder ?? ""}"; there are: ${decoders.map(({ name }) => name).join(", ")}\n`);
  process.exitCode = 2;
}
for (const decoder of chosen) {
  const startedMs = performance.now();
  const problem = await fuzz(decoder, Number(values.runs), Number(values.seed));
  process.stdout.write(`${problem === undefined ? "ok    " : "FAILED"} ${decoder.name} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)\n`);
  if (problem === undefined) continue;
  process.stdout.write(`${problem}\n`);
  process.exitCode = 1;
}
