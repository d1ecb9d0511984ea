import { describe, expect, it } from "vitest";
import type { Scenario } from "../test/generations/matrix.ts";
import { SCENARIOS } from "../test/generations/scenarios.ts";
import { generationFaults, generationsPage, unprovenScenarios } from "./generations.ts";

const scenario = (change: Partial<Scenario>): Scenario => ({
  way: "mover-today",
  cells: ["containers/filesystem/full"],
  file: "tools/generations.test.ts",
  title: "says what it has a scenario for, and what not",
  shows: { "containers/filesystem/full": "generationsPage" },
  ...change,
});

describe("the matrix of generations", () => {
  it("stands on scenarios that are there and speak of their cells", () => {
    expect(generationFaults()).toEqual([]);
  });

  it("says what it has a scenario for, and what not", () => {
    const cellsOf = (title: string, scenarios?: readonly Scenario[]): string[] | undefined =>
      generationsPage(scenarios)
        .split("\n")
        .find((row) => row.startsWith(`| ${title} |`))
        ?.split("|")
        .slice(2, -1)
        .map((cell) => cell.trim());
    expect(cellsOf("today: CSI data mover")).toEqual(Array(8).fill("proven"));
    const restic = "OADP 1.1 to 1.5: file-system backup, restic";
    expect(cellsOf(restic)).toEqual(["proven", "proven", ...Array<string>(6).fill("not offered")]);
    expect(cellsOf(restic, [])).toEqual(["not proven", "not proven", ...Array<string>(6).fill("not offered")]);
  });

  it.each([
    ["is gone", { title: "no such test" }, "is not there"],
    ["does not show its cell", { shows: { "containers/filesystem/full": ["no", "such", "text"].join(" ") } }, 'has no "no such text"'],
    ["does not say what shows its cell", { shows: {} }, "says of containers/filesystem/full not what shows it"],
    [
      "proves what is said to be outside",
      { way: "fsb-today", cells: ["VMs/block/full"], shows: { "VMs/block/full": "generationsPage" } },
      "which is said to be outside",
    ],
  ] as const)("is at fault when a scenario %s", (_what, change, fault) => {
    expect(generationFaults([scenario(change)])).toContainEqual(expect.stringContaining(fault));
  });

  it("needs each scenario among the tests that passed, of the files that ran", () => {
    const [first, ...others] = SCENARIOS;
    const names = (scenarios: readonly Scenario[]): Set<string> => new Set(scenarios.map(({ file, title }) => `${file}: ${title}`));
    const files = new Set(SCENARIOS.map(({ file }) => file));
    expect(unprovenScenarios({ files, passed: names(SCENARIOS) })).toEqual([]);
    expect(unprovenScenarios({ files, passed: names(others) })).toEqual([`${first?.way}: scenario "${first?.title}" of ${first?.file} has not passed`]);
    expect(unprovenScenarios({ files: new Set(), passed: new Set() })).toEqual([]);
  });
});
