/**
 * Runs Drayage beside kopia and restic on the same data, alternating, and writes what came out into bench/results.md as ratios.
 *
 *   npm run bench                     2 GiB of large files and 100,000 small ones, three runs each
 *   npm run bench -- --quick          a small version, in under three minutes
 *   npm run bench -- --repo s3        into a bucket on loopback (versitygw) instead of a local folder
 *
 * The harness (`make-data`, `peers`) lies beside the repository, or where BENCH_HARNESS says; it finds the peers' programs by itself and says how to build them.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism, cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ensureBundle } from "../tools/bundle.ts";

const root = resolve(import.meta.dirname, "..");
const harness = process.env["BENCH_HARNESS"] ?? resolve(root, "..", "shared", "bench");
const results = join(root, "bench", "results.md");
const BEGIN = "<!-- begin of the last run: written by bench/run.ts -->";
const END = "<!-- end of the last run -->";
const PHASES = ["backup", "rescan", "incremental"] as const;

interface Line {
  readonly peer: string;
  readonly phase: string;
  readonly wall_s: number;
  readonly user_s: number;
  readonly sys_s: number;
  readonly rss_mib: number;
  readonly load?: number;
}

interface Work {
  readonly kind: "large" | "small";
  readonly scale: string;
}

async function main(): Promise<void> {
  const quick = process.argv.includes("--quick");
  const repo = process.argv.includes("s3") ? "s3" : "fs";
  if (!existsSync(join(harness, "peers"))) throw new Error(`Cannot run the benchmarks: there is no harness at "${harness}"; BENCH_HARNESS says where it is`);
  const folder = mkdtempSync(join(tmpdir(), "dray-bench-"));
  try {
    const bin = writeLauncher(folder, await ensureBundle());
    const works: readonly Work[] = quick
      ? [
          { kind: "large", scale: "0.125" },
          { kind: "small", scale: "0.1" },
        ]
      : [
          { kind: "large", scale: "1" },
          { kind: "small", scale: "1" },
        ];
    const peers = quick ? "kopia,dray" : "kopia,restic,dray";
    const text = works.map((work) => measure({ folder, bin, work, peers, repo, reps: quick ? 1 : 3 })).join("\n");
    const head = `${BEGIN}\n## The last run of \`npm run bench${quick ? " -- --quick" : ""}\`\n\n${machine()}\n`;
    save(`${head}\n${text}${END}\n`);
    process.stdout.write(`\nWritten to ${results}\n`);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

interface Measurement {
  readonly folder: string;
  readonly bin: string;
  readonly work: Work;
  readonly peers: string;
  readonly repo: string;
  readonly reps: number;
}

function measure({ folder, bin, work, peers, repo, reps }: Measurement): string {
  const data = join(folder, work.kind);
  const out = join(folder, `${work.kind}.jsonl`);
  run(join(harness, "make-data"), ["create", work.kind, data, "--scale", work.scale]);
  const phases = ["create", ...PHASES].join(",");
  run(join(harness, "peers"), [
    "run",
    "--data",
    data,
    "--peer",
    peers,
    "--repo",
    repo,
    "--reps",
    String(reps),
    "--phases",
    phases,
    "--work",
    join(folder, "work"),
    "--bin",
    bin,
    "--out",
    out,
  ]);
  const lines = readFileSync(out, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
  rmSync(data, { recursive: true, force: true });
  const table = tableOf(work, lines, peers.split(","));
  process.stdout.write(`\n${table}`);
  return table;
}

/** Medians, and how many times kopia's figure ours goes into it. */
function tableOf({ kind, scale }: Work, lines: readonly Line[], peers: readonly string[]): string {
  const rows = [
    `### ${kind}, scale ${scale}`,
    "",
    "| phase | program | wall s | user + sys s | peak RSS MiB | kopia's wall ÷ its | kopia's CPU ÷ its |",
    "|---|---|---|---|---|---|---|",
  ];
  for (const phase of PHASES) {
    const of = (peer: string): readonly Line[] => lines.filter((line) => line.peer === peer && line.phase === phase);
    const base = figures(of("kopia"));
    for (const peer of peers) {
      const found = figures(of(peer));
      if (found === undefined) continue;
      const ratio = (a: number | undefined, b: number): string => (a === undefined || b === 0 ? "-" : (a / b).toFixed(2));
      rows.push(
        `| ${phase} | ${peer} | ${found.wall.toFixed(2)} | ${found.user.toFixed(2)} + ${found.sys.toFixed(2)} | ${found.rss.toFixed(0)} | ${ratio(base?.wall, found.wall)} | ${ratio(base === undefined ? undefined : base.user + base.sys, found.user + found.sys)} |`,
      );
    }
  }
  return `${rows.join("\n")}\n`;
}

function figures(lines: readonly Line[]): { readonly wall: number; readonly user: number; readonly sys: number; readonly rss: number } | undefined {
  if (lines.length === 0) return undefined;
  const median = (pick: (line: Line) => number): number => lines.map(pick).sort((a, b) => a - b)[Math.floor(lines.length / 2)] ?? 0;
  return { wall: median((line) => line.wall_s), user: median((line) => line.user_s), sys: median((line) => line.sys_s), rss: median((line) => line.rss_mib) };
}

/** The program as the harness calls it: its bundle, without the launcher's own process, whose figures would be ours. */
function writeLauncher(folder: string, entry: string): string {
  const path = join(folder, "dray");
  const cache = join(root, "node_modules", ".cache", "compile");
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, `#!/bin/sh\nNODE_COMPILE_CACHE='${cache}' exec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(path, 0o755);
  // The addon is compiled before anything is measured.
  execFileSync(
    process.execPath,
    ["-e", `import(${JSON.stringify(join(root, "packages", "kernels", "src", "index.ts"))}).then((kernels) => kernels.prepareNative())`],
    { stdio: "ignore" },
  );
  return path;
}

function machine(): string {
  return `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? "unknown processor"}, Node ${process.versions.node}, load before ${readFileSync("/proc/loadavg", "utf8").split(" ")[0]}. Read the ratios, and CPU rather than wall time where other jobs ran.`;
}

function save(section: string): void {
  const text = existsSync(results) ? readFileSync(results, "utf8") : "# Measurements\n";
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  const rest = from >= 0 && to > from ? text.slice(0, from) + text.slice(to + END.length).replace(/^\n/, "") : text;
  writeFileSync(results, `${rest.trimEnd()}\n\n${section}`);
}

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`Cannot go on: "${command} ${args.join(" ")}" ended with ${status}`);
}

await main();
