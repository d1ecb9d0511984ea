/**
 * Every decoder answers every damaged input with a typed error or a value: each prefix, each flipped byte, and seeded mutations. `npm run fuzz` runs a million of those a decoder.
 * Continuous integration runs 20,000 of each (half a minute for all), the gate that everybody waits for 1,000; the seed stays.
 */
import { isDrayError } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { type Decoder, decoders } from "./decoders.ts";
import { mutate } from "./mutations.ts";

const RUNS = process.env["CI"] === undefined ? 1000 : 20_000;
const RUNS_MS_MAX = 180_000;
const PREFIXES_MAX = 1200;
const EXPECTED = ["REPO_CORRUPT", "REPO_UNSUPPORTED", "USAGE"];

async function answers(decoder: Decoder, bytes: Uint8Array, what: string): Promise<void> {
  try {
    await decoder.decode(bytes);
  } catch (error) {
    if (isDrayError(error) && EXPECTED.includes(error.code)) return;
    throw new Error(`${decoder.name}, ${what}: ${Buffer.from(bytes).toString("base64").slice(0, 2000)}`, { cause: error });
  }
}

describe.each(decoders)("the decoder of $name", (decoder) => {
  it("reads its examples", async () => {
    for (const example of decoder.examples) await expect(Promise.resolve(decoder.decode(example))).resolves.toBeDefined();
  });

  it("answers every prefix and every flipped byte", async () => {
    for (const example of decoder.examples) {
      const step = Math.ceil(example.length / PREFIXES_MAX);
      for (let at = 0; at < example.length; at += step) {
        await answers(decoder, example.slice(0, at), `prefix of ${at}`);
        const flipped = example.slice();
        flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
        await answers(decoder, flipped, `byte ${at} flipped`);
      }
    }
  });

  it(
    "answers what is damaged at random",
    async () => {
      const random = seededRandom(20_261_121);
      for (let run = 0; run < RUNS; run++) {
        const example = decoder.examples[run % decoder.examples.length] as Uint8Array;
        await answers(decoder, mutate(example, random), `run ${run}`);
      }
    },
    RUNS_MS_MAX,
  );
});
