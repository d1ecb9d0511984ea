/**
 * Runs Drayage beside kopia and restic on the same data, alternating, and writes what came out on top of bench/results.md: ratios, and which targets were missed.
 *
 *   npm run bench                     every row of the table of targets (works.ts): about an hour, 15 GiB of temporary files
 *   npm run bench -- --only s3        rows whose title holds the text, in capitals or not
 *   npm run bench -- --quick          large and small files in a small version, in under three minutes
 *
 * The harness (`make-data`, `peers`) lies beside the repository, or where BENCH_HARNESS says. The peers' programs are looked for as it does, in PEERS_BIN, ~/.cache/drayage-peers/bin and PATH;
 * those that are missing are built first, which takes some minutes once.
 * Data and repositories go into the folder for temporary files (TMPDIR); those of the rows that leave the disk out, to /dev/shm, where it is a tmpfs with room.
 */
import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  closeSync,
  existsSync,
  ftruncateSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statfsSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { availableParallelism, cpus, homedir, tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { ensureBundle } from "../tools/bundle.ts";
import { type Line, type Report, reportOf } from "./report.ts";
import { type DataSet, OUR_VARIANTS, type Work, works } from "./works.ts";

const root = resolve(import.meta.dirname, "..");
const harness = process.env["BENCH_HARNESS"] ?? resolve(root, "..", "shared", "bench");
const results = join(root, "bench", "results.md");
const BEGIN = "<!-- begin of the last run: written by bench/run.ts -->";
const END = "<!-- end of the last run -->";
const SPARSE_BYTES = 10 * 2 ** 30;
const TMPFS = "/dev/shm";
/** Of statfs(2). */
const TMPFS_MAGIC = 0x01021994;
/** A repository of 2 GiB and its restore, with caches. */
const TMPFS_BYTES = 2 ** 30 * 6;

async function main(): Promise<void> {
  const quick = process.argv.includes("--quick");
  const only = process.argv[process.argv.indexOf("--only") + 1] ?? "";
  const wanted = works(quick).filter(({ title }) => !process.argv.includes("--only") || title.toLowerCase().includes(only.toLowerCase()));
  if (!existsSync(join(harness, "peers"))) throw new Error(`Cannot run the benchmarks: there is no harness at "${harness}"; BENCH_HARNESS says where it is`);
  buildMissing(wanted);
  const folder = mkdtempSync(join(tmpdir(), "dray-bench-"));
  const memory = hasRoom(TMPFS) ? mkdtempSync(join(TMPFS, "dray-bench-")) : undefined;
  try {
    writeLauncher(folder, await ensureBundle());
    writeFileSync(join(folder, "variants.json"), JSON.stringify(OUR_VARIANTS));
    const reports: Report[] = [];
    for (const group of byData(wanted)) {
      const data = makeData(folder, group[0]?.data);
      for (const work of group) {
        if (work.onTmpfs === true && memory === undefined) {
          process.stdout.write(`\n"${work.title}" is left out: "${TMPFS}" is no tmpfs with ${TMPFS_BYTES / 2 ** 30} GiB of room\n`);
          continue;
        }
        const report = measure(folder, data, work, join((work.onTmpfs === true ? memory : undefined) ?? folder, "work"));
        process.stdout.write(`\n${report.text}\n`);
        reports.push(report);
        save(quick, reports);
      }
      rmSync(data, { recursive: true, force: true });
    }
    process.stdout.write(`${missesOf(reports)}\nWritten to ${results}\n`);
  } finally {
    for (const used of [folder, memory]) if (used !== undefined) rmSync(used, { recursive: true, force: true });
  }
}

/** What the works are measured beside, and the store they use. */
function buildMissing(wanted: readonly Work[]): void {
  const names = wanted.flatMap(({ peers, repo }) => [...peers.map((peer) => peer.replace(/-.*/, "")), ...(repo === "s3" ? ["versitygw"] : [])]);
  const folders = [process.env["PEERS_BIN"] ?? "", join(homedir(), ".cache", "drayage-peers", "bin"), ...(process.env["PATH"] ?? "").split(delimiter)];
  const missing = [...new Set(names)].filter((name) => name !== "dray" && !folders.some((folder) => folder !== "" && existsSync(join(folder, name))));
  if (missing.length > 0) run(resolve(harness, "..", "peers", "build"), missing);
}

function hasRoom(folder: string): boolean {
  if (!existsSync(folder)) return false;
  const { type, bavail, bsize } = statfsSync(folder);
  return type === TMPFS_MAGIC && bavail * bsize >= TMPFS_BYTES;
}

/** Works in their order, those on the same data behind each other: it is made once. */
function byData(all: readonly Work[]): readonly (readonly Work[])[] {
  return [...Map.groupBy(all, ({ data }) => JSON.stringify(data)).values()];
}

function makeData(folder: string, data: DataSet | undefined): string {
  if (data === undefined) throw new Error("Cannot make data: no work wants any");
  const path = join(folder, "data");
  if (data.kind !== "sparse") {
    run(join(harness, "make-data"), ["create", data.kind, path, ...data.arguments]);
    return path;
  }
  mkdirSync(path);
  const fd = openSync(join(path, "disk.img"), "wx");
  try {
    ftruncateSync(fd, SPARSE_BYTES);
    for (const offset of [2 ** 30, 7 * 2 ** 30]) writeSync(fd, Buffer.alloc(1 << 20, "an extent "), 0, 1 << 20, offset);
  } finally {
    closeSync(fd);
  }
  // What the harness writes beside the data that it makes.
  writeFileSync(`${path}.bench-data.json`, JSON.stringify({ kind: "sparse", scale: 1, files: 1, dirs: 1, symlinks: 0, bytes: SPARSE_BYTES, seed: 1 }));
  return path;
}

function measure(folder: string, data: string, work: Work, at: string): Report {
  const out = join(folder, "lines.jsonl");
  rmSync(out, { force: true });
  const phases = ["create", ...Object.keys(work.targets)];
  // What is compared with the first snapshot needs one.
  if (!phases.includes("backup")) phases.push("backup");
  // A phase that fails is told in the table; the other rows are wanted all the same.
  spawnSync(
    join(harness, "peers"),
    [
      ...["run", "--data", data, "--peer", work.peers.join(","), "--repo", work.repo, "--reps", String(work.reps)],
      ...["--phases", phases.join(","), "--work", at, "--template", join(folder, "variants.json"), "--out", out],
    ],
    { stdio: ["ignore", "inherit", "inherit"], env: { ...process.env, PATH: `${folder}${delimiter}${process.env["PATH"] ?? ""}` } },
  );
  if (!existsSync(out)) throw new Error(`Cannot measure "${work.title}": the harness at "${harness}" did not begin`);
  const lines = readFileSync(out, "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line) as Line);
  return reportOf(work, lines);
}

/** The program as the harness calls it: its bundle, without the launcher's own process, whose figures would be ours. */
function writeLauncher(folder: string, entry: string): void {
  const path = join(folder, "dray");
  const cache = join(root, "node_modules", ".cache", "compile");
  writeFileSync(path, `#!/bin/sh\nNODE_COMPILE_CACHE='${cache}' exec '${process.execPath}' '${entry}' "$@"\n`);
  chmodSync(path, 0o755);
  // The addon is compiled, and the code in the cache, before anything is measured.
  execFileSync(
    process.execPath,
    ["-e", `import(${JSON.stringify(join(root, "packages", "kernels", "src", "index.ts"))}).then((kernels) => kernels.prepareNative())`],
    { stdio: "ignore" },
  );
  execFileSync(path, ["snapshot", "create", "--help"], { stdio: "ignore" });
}

function missesOf(reports: readonly Report[]): string {
  const misses = reports.flatMap((report) => report.misses);
  return misses.length === 0 ? "Every target was met.\n" : `Missed:\n\n${misses.map((miss) => `- ${miss}`).join("\n")}\n`;
}

/** The latest run stands on top, before what was written by hand; a run that is ended early leaves what it has. */
function save(quick: boolean, reports: readonly Report[]): void {
  const text = existsSync(results) ? readFileSync(results, "utf8") : "# Measurements\n";
  const from = text.indexOf(BEGIN);
  const to = text.indexOf(END);
  const rest = from >= 0 && to > from ? `${text.slice(0, from).trimEnd()}\n${text.slice(to + END.length)}` : text;
  const firstSection = rest.search(/^## /m);
  const head = (firstSection < 0 ? rest : rest.slice(0, firstSection)).trimEnd();
  const tail = firstSection < 0 ? "" : rest.slice(firstSection);
  const title = `## The last run of \`npm run bench${chosen === "" ? "" : ` -- ${chosen}`}\``;
  const small = quick ? " So small a version is mostly the start of the programs; the targets are for the full one." : "";
  const section = [BEGIN, title, "", machine + small, "", missesOf(reports), ...reports.map((report) => report.text), END, ""].join("\n");
  writeFileSync(results, `${head}\n\n${section}\n${tail}`.replace(/\n*$/, "\n"));
}

const chosen = process.argv.slice(2).join(" ");
const machine = `${availableParallelism()} × ${cpus()[0]?.model.trim() ?? "unknown processor"}, Node ${process.versions.node}, load before ${readFileSync("/proc/loadavg", "utf8").split(" ")[0]}. Read the ratios, and CPU rather than wall time where other jobs ran.`;

function run(command: string, args: readonly string[]): void {
  const { status } = spawnSync(command, args, { stdio: ["ignore", "inherit", "inherit"] });
  if (status !== 0) throw new Error(`Cannot go on: "${command} ${args.join(" ")}" ended with ${status}`);
}

await main();
