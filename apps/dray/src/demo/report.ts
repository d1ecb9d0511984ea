/** What the demo saw, and how it is told: one line a step while it runs, one table at the end. */
import { formatBytes } from "@drayage/base";
import { formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

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

/** Whether everything that was checked held. */
export function allHeld(report: DemoReport): boolean {
  return report.checks.every(({ differences }) => differences === undefined || differences === 0) && report.checks.some(({ differences }) => differences === 0);
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
    {
      header: "RESULT",
      value: (row) => (row.differences === undefined ? `not checked: ${row.why ?? ""}` : row.differences === 0 ? "equal" : `${row.differences} DIFFER`),
    },
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
