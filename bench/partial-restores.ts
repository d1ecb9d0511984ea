/**
 * One directory of many, restored by kopia and by us from S3 on loopback, in turn: what is fetched for it, of which blobs, and in how many requests.
 *
 *   node scripts/node24.cjs node bench/partial-restores.ts DATA PART…       DATA: a folder of files (make-data of the harness); PART: paths in it, . for all of it
 *
 *   RUNS=n       2 by default
 *   DELAY_MS=n   so long each answer is kept back, as by a store that is far away; without it times say little
 *
 * Each program restores from the repository that it wrote itself, and we also from kopia's; each restore is by a client that knows nothing yet (kopia connects first, which is counted and timed
 * with it), through a proxy that counts bytes. Everything is in a folder of its own in TMPDIR. Lines of JSON, and a table in the end.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ensureBundle } from "../tools/bundle.ts";
import { type CountedRequest, GATEWAY_KEYS, Gateway, PEERS_BIN } from "./counting-gateway.ts";

const PASSWORD = "bench";
const runs = Number(process.env["RUNS"] ?? 2);
const [given = "", ...parts] = process.argv.slice(2);
const data = resolve(given);
const work = mkdtempSync(join(tmpdir(), "partial-bench-"));
const entry = await ensureBundle();

/** Runs a program and returns what it printed. */
async function run(command: readonly string[], state: string): Promise<string> {
  const ours = { DRAY_REPOSITORY_PASSWORD: PASSWORD, DRAY_STATE_DIR: state, HOME: state };
  const kopia = {
    KOPIA_PASSWORD: PASSWORD,
    KOPIA_CONFIG_PATH: join(state, "config"),
    KOPIA_CACHE_DIRECTORY: join(state, "cache"),
    KOPIA_LOG_DIR: join(state, "logs"),
  };
  mkdirSync(state, { recursive: true });
  const env = { ...process.env, ...GATEWAY_KEYS, ...ours, ...kopia, KOPIA_CHECK_FOR_UPDATES: "false" };
  const child = spawn(command[0] ?? "", command.slice(1), { env, stdio: ["ignore", "pipe", "pipe"] });
  let [out, complaint] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (chunk: string) => {
    out += chunk;
  });
  child.stderr.setEncoding("utf8").on("data", (chunk: string) => {
    complaint = (complaint + chunk).slice(-4096);
  });
  const status = await new Promise((done) => child.on("close", done));
  if (status !== 0) throw new Error(`${command.join(" ")}: ${complaint}`);
  return out;
}

const kopia = (...args: string[]): string[] => [join(PEERS_BIN, "kopia"), ...args, "--no-progress"];
const repository = (verb: "create" | "connect", address: string): string[] =>
  kopia(
    ...["repository", verb, "s3", "--bucket", "kopia", "--endpoint", address.replace("http://", ""), "--region", "us-east-1", "--disable-tls"],
    ...["--access-key", GATEWAY_KEYS.AWS_ACCESS_KEY_ID, "--secret-access-key", GATEWAY_KEYS.AWS_SECRET_ACCESS_KEY],
  );
const dray = (bucket: string, address: string, ...args: string[]): string[] => [
  ...[process.execPath, entry, ...args, "--repository", `s3://${bucket}?endpoint=${address}&region=us-east-1&pathStyle=true`],
];

/** What a request is for. */
const KINDS = ["index", "listings", "data", "rest"] as const;
type Kind = (typeof KINDS)[number];

interface Fetched {
  readonly mib: number;
  readonly requests: number;
  readonly seconds: number;
  readonly kib: Readonly<Record<Kind, number>>;
}

/** By the letter of a blob's name; listings of names, the format and what else there is are the rest. */
function kindOf({ path }: CountedRequest): Kind {
  const name = new URL(path, "http://any").pathname.split("/")[2] ?? "";
  return name.startsWith("x") ? "index" : name.startsWith("q") ? "listings" : name.startsWith("p") ? "data" : "rest";
}

/** What a piece of work fetched. */
async function counted(gateway: Gateway, work: () => Promise<void>): Promise<Fetched> {
  const asked: CountedRequest[] = [];
  gateway.onRequest = (request) => asked.push(request);
  const startedMs = performance.now();
  await work();
  const seconds = (performance.now() - startedMs) / 1000;
  const bytesOf = (requests: readonly CountedRequest[]): number => requests.reduce((sum, { bytes }) => sum + bytes, 0);
  const kibOf = (kind: Kind): number => bytesOf(asked.filter((request) => kindOf(request) === kind)) / 1024;
  const kib = { index: kibOf("index"), listings: kibOf("listings"), data: kibOf("data"), rest: kibOf("rest") };
  return { mib: bytesOf(asked) / 2 ** 20, requests: asked.length, seconds, kib };
}

interface Stored {
  /** The snapshots. */
  readonly theirs: string;
  readonly ours: string;
}

async function store(gateway: Gateway): Promise<Stored> {
  const writer = join(work, "writer");
  await run(repository("create", gateway.address), writer);
  await run(kopia("snapshot", "create", data), writer);
  const [{ id = "" } = {}] = JSON.parse(await run([join(PEERS_BIN, "kopia"), "snapshot", "list", "--json", data], writer)) as { id?: string }[];
  await run(dray("dray", gateway.address, "repo", "create"), writer);
  const ours = /\b[0-9a-f]{32}\b/.exec(await run(dray("dray", gateway.address, "snapshot", "create", data), writer))?.[0] ?? "";
  return { theirs: id, ours };
}

const PROGRAMS = ["kopia", "Drayage", "Drayage, of what kopia wrote"] as const;

async function restore(who: (typeof PROGRAMS)[number], part: string, { theirs, ours }: Stored, address: string): Promise<void> {
  const state = join(work, "reader");
  const target = join(work, "target");
  const placeIn = (snapshot: string): string => (part === "." ? snapshot : `${snapshot}/${part}`);
  if (who === "kopia") {
    await run(repository("connect", address), state);
    await run(kopia("snapshot", "restore", placeIn(theirs), target), state);
  } else if (who === "Drayage") await run(dray("dray", address, "snapshot", "restore", placeIn(ours), target), state);
  else await run(dray("kopia", address, "snapshot", "restore", placeIn(theirs), target), state);
}

function rowOf(part: string, who: string, all: readonly Fetched[], kopias: readonly Fetched[]): string {
  const mean = (of: (fetched: Fetched) => number, runs = all): number => runs.reduce((sum, fetched) => sum + of(fetched), 0) / runs.length;
  const kinds = KINDS.map((kind) => mean(({ kib }) => kib[kind]).toFixed(0)).join(" · ");
  const ratio = mean(({ mib }) => mib, kopias) / mean(({ mib }) => mib);
  return `| ${part} | ${who} | ${mean(({ mib }) => mib).toFixed(2)} | ${kinds} | ${mean(({ requests }) => requests).toFixed(0)} | ${ratio.toFixed(2)} | ${mean(({ seconds }) => seconds).toFixed(2)} |`;
}

async function main(): Promise<void> {
  const buckets = join(work, "buckets");
  for (const bucket of ["kopia", "dray"]) mkdirSync(join(buckets, bucket), { recursive: true });
  const gateway = await Gateway.start(buckets);
  try {
    const stored = await store(gateway);
    gateway.delayMs = Number(process.env["DELAY_MS"] ?? 0);
    const table = [`| part | program | MiB fetched | KiB of ${KINDS.join(" · ")} | requests | kopia's bytes ÷ its | wall s |`, "|---|---|---|---|---|---|---|"];
    for (const part of parts) {
      const all = new Map<string, Fetched[]>();
      for (let each = 0; each < runs; each++) {
        for (const who of PROGRAMS) {
          const fetched = await counted(gateway, () => restore(who, part, stored, gateway.counted));
          for (const name of ["reader", "target"]) rmSync(join(work, name), { recursive: true, force: true });
          all.set(who, [...(all.get(who) ?? []), fetched]);
          process.stdout.write(`${JSON.stringify({ part, who, ...fetched })}\n`);
        }
      }
      for (const [who, fetched] of all) table.push(rowOf(part, who, fetched, all.get("kopia") ?? []));
    }
    process.stdout.write(`\n${table.join("\n")}\n`);
  } finally {
    gateway.close();
    rmSync(work, { recursive: true, force: true });
  }
}

await main();
