/** Tables of what was measured, with ratios and what of the targets was missed. */
import type { Target, Work } from "./works.ts";

/** A line of the harness. */
export interface Line {
  readonly peer: string;
  readonly phase: string;
  readonly rc?: number;
  readonly wall_s: number;
  readonly user_s: number;
  readonly sys_s: number;
  readonly rss_mib: number;
}

interface Figures {
  readonly wall: number;
  readonly user: number;
  readonly cpu: number;
  readonly rss: number;
}

export interface Report {
  readonly text: string;
  readonly misses: readonly string[];
}

/** Medians of each program, in a table; the targets are of our program. */
export function reportOf({ title, peers, targets }: Work, lines: readonly Line[]): Report {
  const [reference = "", ...others] = peers;
  const ours = others.at(-1) ?? reference;
  const rows = [
    `### ${title}`,
    "",
    "| phase | program | wall s | user + sys s | peak MiB | kopia's wall ÷ its | kopia's CPU ÷ its | its user ÷ kopia's | target |",
    "|---|---|---|---|---|---|---|---|---|",
  ];
  const misses: string[] = [];
  for (const [phase, target] of Object.entries(targets)) {
    const of = (peer: string): Figures | undefined => figuresOf(lines.filter((line) => line.peer === peer && line.phase === phase && (line.rc ?? 0) === 0));
    const base = of(reference);
    for (const peer of peers) {
      const found = of(peer);
      const failed = peer === ours ? (found === undefined ? ["it did not end well"] : missesOf(target, found, base)) : [];
      misses.push(...failed.map((what) => `${title}, ${phase}: ${what}`));
      const verdict = peer !== ours || Object.keys(target).length === 0 ? "" : failed.length === 0 ? "met" : `missed: ${failed.join("; ")}`;
      rows.push(`| ${phase} | ${peer} | ${cells(found, base).join(" | ")} | ${verdict} |`);
    }
  }
  return { text: `${rows.join("\n")}\n`, misses };
}

function cells(found: Figures | undefined, base: Figures | undefined): readonly string[] {
  if (found === undefined) return ["failed", "", "", "", "", ""];
  const ratio = (a: number | undefined, b: number): string => (a === undefined || b === 0 ? "" : (a / b).toFixed(2));
  return [
    found.wall.toFixed(2),
    `${found.user.toFixed(2)} + ${(found.cpu - found.user).toFixed(2)}`,
    found.rss.toFixed(0),
    ratio(base?.wall, found.wall),
    ratio(base?.cpu, found.cpu),
    base === undefined ? "" : ratio(found.user, base.user),
  ];
}

function missesOf(target: Target, found: Figures, base: Figures | undefined): string[] {
  const missed: string[] = [];
  const atLeast = (what: string, wanted: number | undefined, is: number | undefined): void => {
    if (wanted !== undefined && is !== undefined && is < wanted) missed.push(`${what} ${is.toFixed(2)} times, ${wanted} wanted`);
  };
  const atMost = (what: string, wanted: number | undefined, is: number | undefined, unit: string): void => {
    if (wanted !== undefined && is !== undefined && is > wanted)
      missed.push(`${what} ${is.toFixed(2)}${unit}, ${Number(wanted.toFixed(2))}${unit} wanted at most`);
  };
  atLeast("wall", target.wall, base === undefined ? undefined : base.wall / found.wall);
  atLeast("CPU", target.cpu, base === undefined ? undefined : base.cpu / found.cpu);
  atMost("wall", target.seconds, found.wall, " s");
  atMost("user", target.userShare, base === undefined ? undefined : found.user / base.user, " of kopia's");
  atMost("memory", target.mib, found.rss, " MiB");
  atMost("memory", target.memory, base === undefined ? undefined : found.rss / base.rss, " of kopia's");
  return missed;
}

function figuresOf(lines: readonly Line[]): Figures | undefined {
  if (lines.length === 0) return undefined;
  const median = (pick: (line: Line) => number): number => lines.map(pick).sort((a, b) => a - b)[Math.floor(lines.length / 2)] ?? 0;
  return {
    wall: median((line) => line.wall_s),
    user: median((line) => line.user_s),
    cpu: median((line) => line.user_s + line.sys_s),
    rss: median((line) => line.rss_mib),
  };
}
