/** What the demo saw, and how it is told: one line a step while it runs, one table at the end. */
import { formatBytes } from "@drayage/base";
import { formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";
import { ASPECTS, type Comparison } from "./inventory.ts";

export interface DemoStep {
  readonly name: string;
  readonly seconds: number;
}

export interface DemoVolume {
  readonly backup: string;
  readonly volume: string;
  readonly totalBytes: number;
  /** New or changed bytes that had to be stored. */
  readonly incrementalBytes: number;
  readonly seconds: number;
}

export interface DemoCheck {
  readonly what: string;
  /** Facts compared. */
  readonly count: number;
  /** `undefined`: could not be checked here, `why` says so. */
  readonly differences: number | undefined;
  readonly why?: string;
}

export interface DemoReport {
  readonly steps: readonly DemoStep[];
  readonly volumes: readonly DemoVolume[];
  readonly storedBytes: number;
  readonly checks: readonly DemoCheck[];
  readonly seconds: number;
}

/** One check an aspect; without root, owners and the block volume are not checked, and the reader is told. */
export function checksOf({ differences, compared }: Comparison, asRoot: boolean): DemoCheck[] {
  const checks: DemoCheck[] = ASPECTS.map((aspect) => {
    if (aspect === "owners" && !asRoot) return { what: aspect, count: 0, differences: undefined, why: "without root there is one owner only" };
    return { what: aspect, count: compared[aspect], differences: differences.filter((difference) => difference.aspect === aspect).length };
  });
  if (!asRoot) checks.push({ what: "block volume", count: 0, differences: undefined, why: "block devices need root" });
  return checks;
}

/** Whether everything that was checked held. Nothing proves nothing: that files are there must have been among it. */
export function allHeld(report: Pick<DemoReport, "checks">): boolean {
  const sawFiles = report.checks.some(({ what, count }) => what === "presence" && count > 0);
  return sawFiles && report.checks.every(({ differences }) => differences === undefined || differences === 0);
}

function resultOf({ count, differences, why }: DemoCheck): string {
  if (differences === undefined) return `not checked: ${why ?? ""}`;
  if (differences > 0) return `${differences} DIFFER`;
  return count === 0 ? "there are none" : "equal";
}

export function formatReport(report: DemoReport): string {
  const rate = ({ totalBytes, seconds }: DemoVolume): string => (seconds > 0 ? `${formatBytes(totalBytes / seconds)}/s` : "");
  const deduplicated = ({ totalBytes, incrementalBytes }: DemoVolume): string =>
    totalBytes === 0 ? "" : `${Math.max(0, Math.floor((100 * (totalBytes - incrementalBytes)) / totalBytes))} %`;
  const moved = formatTable(report.volumes, [
    { header: "BACKUP", value: (row) => row.backup },
    { header: "VOLUME", value: (row) => row.volume },
    { header: "SIZE", value: (row) => formatBytes(row.totalBytes) },
    { header: "NEW DATA", value: (row) => formatBytes(row.incrementalBytes) },
    { header: "DEDUPLICATED", value: deduplicated },
    { header: "TOOK", value: (row) => `${row.seconds.toFixed(1)} s` },
    { header: "RATE", value: rate },
  ]);
  const checks = formatTable(report.checks, [
    { header: "CHECK", value: (row) => row.what },
    { header: "COMPARED", value: (row) => row.count },
    { header: "RESULT", value: resultOf },
  ]);
  const steps = formatTable(report.steps, [
    { header: "STEP", value: (row) => row.name },
    { header: "SECONDS", value: (row) => row.seconds.toFixed(1) },
  ]);
  const verdict = allHeld(report) ? "Everything came back." : "NOT everything came back.";
  return `\n${steps}\n${moved}In the bucket: ${formatBytes(report.storedBytes)}.\n\n${checks}\n${verdict} (${report.seconds.toFixed(1)} s)\n`;
}

/** Tells the story while it happens: plain lines for people, events for machines. */
export class Narrator {
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly steps: DemoStep[] = [];

  constructor(terminal: Terminal, json: boolean) {
    this.#terminal = terminal;
    this.#json = json;
  }

  async step<T>(name: string, work: () => Promise<T>): Promise<T> {
    const { clock } = this.#terminal;
    const startedMs = clock.monotonicMs();
    if (this.#json) this.#event({ type: "progress", step: name, state: "started" });
    else this.#terminal.out(`▸ ${name}\n`);
    const result = await work();
    const seconds = (clock.monotonicMs() - startedMs) / 1000;
    this.steps.push({ name, seconds });
    if (this.#json) this.#event({ type: "progress", step: name, state: "done", seconds });
    return result;
  }

  note(text: string): void {
    if (this.#json) this.#event({ type: "progress", note: text });
    else this.#terminal.out(`  ${text}\n`);
  }

  end(report: DemoReport): void {
    if (this.#json) this.#event({ type: "summary", ok: allHeld(report), ...report });
    else this.#terminal.out(formatReport(report));
  }

  #event(event: object): void {
    this.#terminal.out(`${JSON.stringify({ ...event, schema: 1 })}\n`);
  }
}
