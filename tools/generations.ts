/**
 * docs/generations.md: which volumes, of which generation of OADP's data mover and of today, are proven to come back, and by which scenario.
 *
 * What is checked: each scenario is a test that is there, is not left out of runs, and has in its text what makes it prove each of its cells; a cell is proven or outside, not both. That the
 * scenarios ran and passed is checked where they run: `npm test` fails when one of them is not among the tests that passed.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { CELLS, type Cell, EXTENTS, MODES, type Scenario, WAYS, type Way, WORKLOADS } from "../test/generations/matrix.ts";
import { OUTSIDE, SCENARIOS } from "../test/generations/scenarios.ts";
import { testCases } from "./test-cases.ts";

const root = resolve(import.meta.dirname, "..");

/** What is wrong with the scenarios; empty when the page can be believed. */
export function generationFaults(scenarios: readonly Scenario[] = SCENARIOS): string[] {
  const faults: string[] = [];
  for (const { way, cells, file, title, shows } of scenarios) {
    const where = `${way}: scenario "${title}" of ${file}`;
    const path = join(root, file);
    const found = existsSync(path) ? testCases(readFileSync(path, "utf8")).filter((test) => test.title === title) : [];
    if (found.length === 0) faults.push(`${where} is not there`);
    if (found.some(({ skipped }) => skipped)) faults.push(`${where} is left out of runs`);
    for (const cell of cells) {
      const text = shows[cell];
      if (text === undefined) faults.push(`${where} says of ${cell} not what shows it`);
      else if (found.length > 0 && !found.some((test) => test.text.includes(text))) faults.push(`${where} has no "${text}", by which ${cell} is proven`);
      if (OUTSIDE.some((outside) => outside.way === way && outside.cells.includes(cell))) faults.push(`${where} proves ${cell}, which is said to be outside`);
    }
  }
  return faults;
}

/** Scenarios of the files that ran which did not pass, by the names of tests that did. */
export function unprovenScenarios(ran: { readonly files: ReadonlySet<string>; readonly passed: ReadonlySet<string> }): string[] {
  const missing = SCENARIOS.filter(({ file, title }) => ran.files.has(file) && !ran.passed.has(`${file}: ${title}`));
  return missing.map(({ way, file, title }) => `${way}: scenario "${title}" of ${file} has not passed`);
}

export function generationsPage(scenarios: readonly Scenario[] = SCENARIOS): string {
  const states = Object.keys(WAYS).flatMap((way) => CELLS.map((cell) => stateOf(scenarios, way as Way, cell)));
  const count = (state: string): number => states.filter((one) => one === state).length;
  return [
    "# Generations: what comes back",
    "",
    "Written by `tools/docs.ts` from `test/generations`. **proven** means that a scenario which runs in CI makes such a volume (or takes a fixture of one), backs it up, restores it and compares every byte;",
    "the gate fails when a scenario is gone, left out of runs, or no longer says what makes it prove its cell, and `npm test` fails when one did not pass. **not proven** means that no scenario does, whatever may work.",
    "**not offered** means that the way of that generation does not take such volumes, for the reason given at the end. *Incremental* means that the second backup stored what changed alone.",
    "",
    `${count("proven")} cells are proven, ${count("not proven")} are not proven, ${count("not offered")} are not offered.`,
    "",
    `| | ${columns().join(" | ")} |`,
    `|---|${columns()
      .map(() => "---")
      .join("|")}|`,
    ...Object.entries(WAYS).map(([way, title]) => `| ${title} | ${CELLS.map((cell) => stateOf(scenarios, way as Way, cell)).join(" | ")} |`),
    "",
    "Volumes of virtual machines are those of KubeVirt's and CDI's objects, whose launcher pod has the disks; no hypervisor takes part. Devices need root, so that block cells are proven where the tests run as root, as CI does.",
    "OADP 1.3, 1.4 and 1.5 brought Velero 1.12 to 1.16, whose objects, bucket and repositories are those of Velero 1.18, which is the one that takes part here.",
    "OADP 1.1 and 1.2 brought Velero 1.9 and 1.11: their backups by VolSync and by restic are fixtures, made by restic in their layout (`test/fixtures`); their CSI snapshots are stood for by those of Velero 1.18.",
    "",
    "## Scenarios",
    "",
    "| way | cells | test |",
    "|---|---|---|",
    ...scenarios.map(({ way, cells, file, title }) => `| ${WAYS[way]} | ${cells.map(nameOf).join("; ")} | ${escaped(title)} (\`${file}\`) |`),
    "",
    "## Not offered",
    "",
    "| way | cells | why |",
    "|---|---|---|",
    ...OUTSIDE.map(({ way, cells, why }) => `| ${WAYS[way]} | ${cells.map(nameOf).join("; ")} | ${why} |`),
    "",
  ].join("\n");
}

function stateOf(scenarios: readonly Scenario[], way: Way, cell: Cell): "proven" | "not proven" | "not offered" {
  if (scenarios.some((scenario) => scenario.way === way && scenario.cells.includes(cell))) return "proven";
  return OUTSIDE.some((outside) => outside.way === way && outside.cells.includes(cell)) ? "not offered" : "not proven";
}

function columns(): string[] {
  return WORKLOADS.flatMap((workload) => MODES.flatMap((mode) => EXTENTS.map((extent) => `${workload}, ${mode}, ${extent}`)));
}

function nameOf(cell: Cell): string {
  return cell.replaceAll("/", ", ");
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|");
}
