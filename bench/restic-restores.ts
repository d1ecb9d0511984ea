/**
 * Restores of restic repositories by restic and by us, in turn: wall time, processor time, peak memory, and what is fetched for a part of a snapshot.
 *
 *   node scripts/node24.cjs node bench/restic-restores.ts FOLDER ROW…       rows: large, small, s3-large, s3-small, part-large, part-small; RUNS=n, 2 by default
 *
 * FOLDER holds `large` and `small`, restic repositories of the harness's data with the password "pw" (`restic -r FOLDER/large backup .`); targets are made beside them, so that one on
 * tmpfs leaves disks out. Rows of S3 and of parts go through versitygw over the same folder; parts through a proxy that counts bytes, so that their times say little. One line of JSON
 * for each run, and a table in the end. restic has no cache in any run, as in a pod of a mover.
 */
import { spawn, spawnSync } from "node:child_process";
import { rmSync } from "node:fs";
import { join, resolve } from "node:path";
import { ensureBundle } from "../tools/bundle.ts";
import { GATEWAY_KEYS, Gateway, PEERS_BIN } from "./counting-gateway.ts";

const compileCache = join(import.meta.dirname, "..", "node_modules", ".cache", "compile");
const PROGRAMS = ["restic", "Drayage"] as const;
const runs = Number(process.env["RUNS"] ?? 2);
const [folder = ".", ...rows] = process.argv.slice(2);
const root = resolve(folder);
/** One of the small repository's folders, and one of the large one's files. */
const PARTS = { small: process.env["PART_SMALL"] ?? "d00", large: process.env["PART_LARGE"] ?? "text.log" } as const;

type Program = (typeof PROGRAMS)[number];

interface Figures {
  readonly wallSeconds: number;
  readonly userSeconds: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
  readonly fetchedMiB?: number;
  readonly requests?: number;
}

async function measure(program: Program, row: string, gateway: Gateway | undefined, entry: string): Promise<Figures> {
  const repository = row.split("-").at(-1) === "large" ? "large" : "small";
  const isPart = row.startsWith("part");
  const part = isPart ? PARTS[repository] : undefined;
  const endpoint = isPart ? gateway?.counted : gateway?.address;
  const target = join(root, `target-${program}`);
  rmSync(target, { recursive: true, force: true });
  // A file is restored into a folder that is there by neither: restic takes the folder that holds it.
  const ours = [
    ...[process.execPath, entry, "snapshot", "restore", part === undefined ? "latest" : `latest/${part}`, target],
    ...[
      "--repository",
      endpoint === undefined ? `restic+file://${join(root, repository)}` : `restic+s3://${repository}?endpoint=${endpoint}&region=us-east-1&pathStyle=true`,
    ],
  ];
  const theirs = [
    ...[join(PEERS_BIN, "restic"), "-q", "--no-cache", "-r", endpoint === undefined ? join(root, repository) : `s3:${endpoint}/${repository}`],
    ...["restore", "latest", "--target", target, ...(part === undefined ? [] : ["--include", `/${part}`])],
  ];
  const before = { bytes: gateway?.bytes ?? 0, requests: gateway?.requests ?? 0 };
  const said = await timed(program === "restic" ? theirs : ours);
  rmSync(target, { recursive: true, force: true });
  if (!isPart || gateway === undefined) return said;
  return { ...said, fetchedMiB: (gateway.bytes - before.bytes) / 2 ** 20, requests: gateway.requests - before.requests };
}

/** Runs a command under time(1). */
async function timed(command: readonly string[]): Promise<Figures> {
  const child = spawn("/usr/bin/time", ["-f", "%e %U %S %M", ...command], {
    env: { ...process.env, ...GATEWAY_KEYS, RESTIC_PASSWORD: "pw", NODE_COMPILE_CACHE: compileCache },
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    text = (text + chunk).slice(-4096);
  });
  const status = await new Promise((done) => child.on("close", done));
  if (status !== 0) throw new Error(`${command.join(" ")}: ${text}`);
  const [wallSeconds = 0, user = 0, system = 0, kib = 0] = (text.trim().split("\n").at(-1) ?? "").split(" ").map(Number);
  return { wallSeconds, userSeconds: user, cpuSeconds: user + system, peakMiB: kib / 1024 };
}

const loadNow = (): number => Number(spawnSync("cat", ["/proc/loadavg"], { encoding: "utf8" }).stdout.split(" ")[0]);
const entry = await ensureBundle();
const table = [
  "| work | program | wall s | user + sys s | peak MiB | fetched MiB, requests | restic's wall ÷ ours | restic's CPU ÷ ours | restic's user ÷ ours |",
  "|---|---|---|---|---|---|---|---|---|",
];
for (const row of rows) {
  const gateway = row.includes("-") ? await Gateway.start(root) : undefined;
  const all: Record<Program, Figures[]> = { restic: [], Drayage: [] };
  try {
    for (let run = 0; run < runs; run++) {
      for (const program of PROGRAMS) {
        const figures = await measure(program, row, gateway, entry);
        all[program].push(figures);
        process.stdout.write(`${JSON.stringify({ row, program, load: loadNow(), ...figures })}\n`);
      }
    }
  } finally {
    gateway?.close();
  }
  const mean = (program: Program, of: (figures: Figures) => number): number =>
    all[program].reduce((sum, figures) => sum + of(figures), 0) / all[program].length;
  for (const program of PROGRAMS) {
    const of = (what: (figures: Figures) => number): number => mean(program, what);
    const ratio = (what: (figures: Figures) => number): string => (mean("restic", what) / of(what)).toFixed(2);
    const fetched = of((f) => f.requests ?? 0) === 0 ? "" : `${of((f) => f.fetchedMiB ?? 0).toFixed(1)}, ${of((f) => f.requests ?? 0).toFixed(0)}`;
    table.push(
      `| ${row} | ${program} | ${of((f) => f.wallSeconds).toFixed(1)} | ${of((f) => f.userSeconds).toFixed(2)} + ${of((f) => f.cpuSeconds - f.userSeconds).toFixed(2)} | ${of((f) => f.peakMiB).toFixed(0)} | ${fetched} | ${ratio((f) => f.wallSeconds)} | ${ratio((f) => f.cpuSeconds)} | ${ratio((f) => f.userSeconds)} |`,
    );
  }
}
process.stdout.write(`\n${table.join("\n")}\n`);
