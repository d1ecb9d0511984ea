/** See docs/development/simulation.md. A seed that fails prints itself; `DRAYAGE_SEEDS=17` runs it alone, `DRAYAGE_SEEDS=1..2000` many, `DRAYAGE_CAST=others` with one cast. */
import { describe, expect, it } from "vitest";
import { CASTS, type Cast } from "./cast.ts";
import { runSimulation } from "./run-simulation.ts";

/** A seed that found something once stays here. */
const FIXED: Readonly<Record<Cast, readonly number[]>> = {
  ours: [1, 2, 3, 4, 5, 6, 7, 23, 2049, 2182, 5070, 5083, 5236],
  others: [1, 2, 41, 136],
  volsync: [1, 2, 91, 99, 101, 104],
};

function seeds(cast: Cast): readonly number[] {
  const text = process.env["DRAYAGE_SEEDS"] ?? "";
  const wanted = process.env["DRAYAGE_CAST"] ?? cast;
  if (wanted !== cast) return [];
  if (text === "") return FIXED[cast];
  return text.split(",").flatMap((part) => {
    const [first = Number.NaN, last = first] = part.split("..").map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });
}

describe.each(CASTS)("with %s", (cast) => {
  it.each(seeds(cast))("everything ends once, nothing is left over and nothing is done for nothing: seed %d", async (seed) => {
    const { problems } = await runSimulation(seed, cast);
    const again = `DRAYAGE_CAST=${cast} DRAYAGE_SEEDS=${seed} npx vitest run --project unit ${import.meta.filename}`;
    expect(problems, `run it again with: ${again}`).toEqual([]);
  });
});
