/**
 * Index, maintenance and verification of large synthetic repositories beside kopia: CPU seconds, peak memory, and memory per content.
 *
 *   node scripts/node24.cjs node bench/index-scale.ts make FOLDER CONTENTS [no-snapshot]     makes a repository (file:// layout of kopia)
 *   node scripts/node24.cjs node bench/index-scale.ts compare FOLDER CONTENTS [small]        measures both on it; lines of JSON
 *
 * `compare` runs each command in a process of its own: what a user would run from the bundled program where there is such a command, the engine alone where there is none. kopia is
 * found as the compat tests find it. What changes the repository works on a copy.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, truncateSync } from "node:fs";
import { homedir, tmpdir } from "node:os";
import { basename, join } from "node:path";
import { keepYoungGenerationSmall } from "../apps/dray/src/heap-growth.ts";
import { nullLogger, systemClock, systemRandom } from "../packages/base/src/index.ts";
import { openFilesystemStorage } from "../packages/blob/src/index.ts";
import { idOfKey } from "../packages/repo/src/content/content-id.ts";
import { type ContentId, Contents, maintainRepository, noSafety, openRepository, type Repository } from "../packages/repo/src/index.ts";
import { ensureBundle } from "../tools/bundle.ts";
import { keyInto, makeSyntheticRepository, packBytes, SYNTHETIC_PASSWORD } from "./synthetic-repository.ts";

const LOOKUPS = 100_000;
const compileCache = join(import.meta.dirname, "..", "node_modules", ".cache", "compile");
/** Of each command, the two programs in turn. */
const RUNS = 2;
const identity = { userName: "user", host: "host" };

interface Figures {
  readonly wallSeconds: number;
  readonly cpuSeconds: number;
  readonly peakMiB: number;
}

/** What the commands of ours do, each in a fresh process. `cache`: a folder of runs that stays between processes. */
const OURS: Record<string, (repository: Repository, count: number) => Promise<Record<string, number>>> = {
  open: (repository) => Promise.resolve({ ...contentsOf(repository).indexSize }),
  list(repository) {
    let contents = 0;
    for (const _ of repository.contents.list()) contents++;
    return Promise.resolve({ contents });
  },
  lookups(repository, count) {
    const keys = lookedUp(count);
    const cpu = process.cpuUsage();
    let found = 0;
    for (const id of keys) if (repository.contents.info(id) !== undefined) found++;
    const hits = process.cpuUsage(cpu);
    const absent = keys.map((id) => `${id.slice(0, -1)}${id.endsWith("0") ? "1" : "0"}` as typeof id);
    const again = process.cpuUsage();
    let missing = 0;
    for (const id of absent) if (repository.contents.info(id) === undefined) missing++;
    const misses = process.cpuUsage(again);
    return Promise.resolve({ found, missing, hitSeconds: (hits.user + hits.system) / 1e6, missSeconds: (misses.user + misses.system) / 1e6 });
  },
  snapshots: async (repository) => ({ snapshots: (await repository.snapshots.list()).snapshots.length }),
  async maintain(repository) {
    // As the command does.
    keepYoungGenerationSmall();
    const { tasks } = await maintainRepository(repository, { mode: "full", safety: noSafety });
    return { tasks: tasks.length, inUse: tasks.find(({ task }) => task === "snapshot-gc")?.figures["inUse"] ?? 0 };
  },
};

/** In an order in which neighbours are far apart. */
function lookedUp(count: number): ContentId[] {
  return Array.from({ length: LOOKUPS }, (_, i) => idOfKey(keyInto(Buffer.alloc(17), (i * 7_919_993) % count, count)));
}

/** Builds the program that looks contents up with kopia's library, where there is a Go compiler and the module that pins kopia; undefined elsewhere. */
function buildKopiaLookups(folder: string): string | undefined {
  const module = join(process.env["BENCH_PEERS"] ?? join(import.meta.dirname, "..", "..", "shared", "peers"), "kopia");
  if (!existsSync(join(module, "go.mod")) || spawnSync("go", ["version"]).status !== 0) return undefined;
  mkdirSync(folder);
  for (const file of [join(module, "go.mod"), join(module, "go.sum"), join(import.meta.dirname, "kopia-lookups", "main.go")])
    copyFileSync(file, join(folder, basename(file)));
  const env = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-mod=mod -buildvcs=false" };
  execFileSync("go", ["build", "-trimpath", "-o", "kopia-lookups", "."], { cwd: folder, env, stdio: "inherit" });
  return join(folder, "kopia-lookups");
}

function contentsOf({ contents }: Repository): Contents {
  if (contents instanceof Contents) return contents;
  throw new Error("no contents");
}

async function runOurs(what: string, folder: string, count: number, cache: string | undefined): Promise<void> {
  const before = process.cpuUsage();
  const storage = await openFilesystemStorage({ path: folder });
  const repository = await openRepository(storage, {
    ...{ password: SYNTHETIC_PASSWORD, identity, clock: systemClock, random: systemRandom, logger: nullLogger },
    indexCache: cache === undefined ? undefined : { folder: cache },
  });
  const opened = process.cpuUsage(before);
  const result = await OURS[what]?.(repository, count);
  await repository.close();
  process.stdout.write(
    JSON.stringify({ what, ...result, openSeconds: (opened.user + opened.system) / 1e6, selfPeakMiB: process.resourceUsage().maxRSS / 1024 }),
  );
}

/** Runs a command under time(1). */
function timed(command: string, args: readonly string[], env: NodeJS.ProcessEnv = {}, input = ""): Figures & { readonly out: string } {
  const { stdout, stderr, status } = spawnSync("/usr/bin/time", ["-f", "%e %U %S %M", command, ...args], {
    env: { ...process.env, ...env },
    input,
    encoding: "latin1",
    maxBuffer: 1 << 30,
  });
  if (status !== 0) throw new Error(`${command} ${args.join(" ")}: ${stderr}`);
  const [wall = 0, user = 0, system = 0, kib = 0] = (stderr.trim().split("\n").at(-1) ?? "").split(" ").map(Number);
  return { wallSeconds: wall, cpuSeconds: user + system, peakMiB: kib / 1024, out: stdout };
}

async function compare(folder: string, count: number, small: boolean): Promise<void> {
  const program = await ensureBundle();
  const work = mkdtempSync(join(tmpdir(), "dray-index-scale-"));
  const report = (who: string, what: string, { wallSeconds, cpuSeconds, peakMiB }: Figures, more: object = {}): void =>
    void process.stdout.write(
      `${JSON.stringify({ contents: count, who, what, wallSeconds, cpuSeconds: Number(cpuSeconds.toFixed(2)), peakMiB: Math.round(peakMiB), ...more })}\n`,
    );
  const ours = (what: string, place: string, cache?: string): void => {
    const figures = timed(process.execPath, [import.meta.filename, "run", what, place, String(count), ...(cache === undefined ? [] : [cache])]);
    report("Drayage", what + (cache === undefined ? "" : ", with a cache"), figures, JSON.parse(figures.out) as object);
  };
  const kopia = join(process.env["PEERS_BIN"] ?? join(homedir(), ".cache", "drayage-peers", "bin"), "kopia");
  const lookups = buildKopiaLookups(join(work, "lookups"));
  let clients = 0;
  const connected = (place: string): ((what: string, args: readonly string[]) => void) => {
    const home = join(work, `kopia-${clients++}`);
    mkdirSync(home);
    const env = {
      ...{ HOME: home, KOPIA_PASSWORD: SYNTHETIC_PASSWORD, KOPIA_CONFIG_PATH: join(home, "config"), KOPIA_CACHE_DIRECTORY: join(home, "cache") },
      ...{ KOPIA_LOG_DIR: join(home, "log"), KOPIA_CHECK_FOR_UPDATES: "false" },
    };
    execFileSync(kopia, ["repository", "connect", "filesystem", "--path", place, "--override-username=user", "--override-hostname=host"], {
      env: { ...process.env, ...env },
      stdio: "ignore",
    });
    rmSync(join(home, "cache"), { recursive: true, force: true });
    if (lookups !== undefined && place === folder && clients === 1) {
      // Once to have its caches filled, as ours are by the runs before.
      for (const ids of ["", `${lookedUp(count).join("\n")}\n`]) {
        const figures = timed(lookups, [env.KOPIA_CONFIG_PATH], env, ids);
        if (ids !== "") report("kopia", "lookups", figures, JSON.parse(figures.out) as object);
      }
    }
    return (what, args) => report("kopia", what, timed(kopia, args, env));
  };
  const copy = (): string => {
    const place = join(work, `copy-${clients++}`);
    // Blobs are replaced and removed, never written into: names are copied, and not gigabytes of holes.
    execFileSync("cp", ["--archive", "--link", folder, place]);
    return place;
  };
  const asUser = (what: string, place: string, args: readonly string[], home = join(work, `dray-${clients++}`)): void => {
    mkdirSync(home, { recursive: true });
    const env = { HOME: home, XDG_CACHE_HOME: join(home, "cache"), DRAY_REPOSITORY: `file://${place}`, DRAY_REPOSITORY_PASSWORD: SYNTHETIC_PASSWORD };
    report("Drayage", what, timed(process.execPath, [program, ...args], { ...env, NODE_COMPILE_CACHE: compileCache }));
  };
  try {
    const cache = join(work, "cache");
    ours("open", folder);
    ours("open", folder, cache);
    ours("open", folder, cache);
    ours("list", folder);
    ours("lookups", folder);
    const list = ["content", "list"];
    connected(folder)("list", list);
    if (!small) {
      for (let run = 0; run < RUNS; run++) {
        asUser("fresh client, list the snapshots", folder, ["snapshot", "list"]);
        connected(folder)("fresh client, list the snapshots", ["snapshot", "list", "--all"]);
        asUser("verify, contents looked up", folder, ["repo", "verify"]);
        connected(folder)("verify, contents looked up", ["snapshot", "verify"]);
        ours("maintain", copy());
        connected(copy())("maintain", ["maintenance", "run", "--full", "--safety=none"]);
      }
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

const [action = "", folder = "", contents = "0", more] = process.argv.slice(2);
/** Gives the packs of data the length that the index says they have, as holes: verification compares it. */
function stretchPacks(at: string, bytes: number): void {
  for (const entry of readdirSync(at, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && statSync(path).size === 32) truncateSync(path, bytes);
  }
}

if (action === "make") {
  mkdirSync(folder, { recursive: true });
  const storage = await openFilesystemStorage({ path: folder });
  await makeSyntheticRepository(storage, { contents: Number(contents), snapshot: more !== "no-snapshot", identity, clock: systemClock, random: systemRandom });
  stretchPacks(folder, packBytes(Number(contents)));
} else if (action === "run") {
  // run WHAT FOLDER CONTENTS [CACHE]
  await runOurs(folder, contents, Number(more), process.argv[6]);
} else if (action === "compare") {
  await compare(folder, Number(contents), more === "small");
} else {
  process.stderr.write("make FOLDER CONTENTS [no-snapshot], or compare FOLDER CONTENTS [small]\n");
  process.exitCode = 2;
}
