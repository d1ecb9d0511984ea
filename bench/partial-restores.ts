/**
 * One directory of many, restored by kopia and by us from S3 on loopback, in turn: what is fetched for it, and in how many requests.
 *
 *   node scripts/node24.cjs node bench/partial-restores.ts DATA PART…       DATA: a folder of files (make-data of the harness); PART: paths in it; RUNS=n, 2 by default
 *
 * Each program restores from the repository that it wrote itself, and we also from kopia's; each restore is by a client that knows nothing yet, through a proxy that counts bytes, so that its
 * times say little. Everything is in a folder of its own in TMPDIR. Lines of JSON, and a table in the end.
 */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { ensureBundle } from "../tools/bundle.ts";
import { GATEWAY_KEYS, Gateway, PEERS_BIN } from "./counting-gateway.ts";

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
const store = (verb: "create" | "connect", address: string): string[] =>
  kopia(
    ...["repository", verb, "s3", "--bucket", "kopia", "--endpoint", address.replace("http://", ""), "--region", "us-east-1", "--disable-tls"],
    ...["--access-key", GATEWAY_KEYS.AWS_ACCESS_KEY_ID, "--secret-access-key", GATEWAY_KEYS.AWS_SECRET_ACCESS_KEY],
  );
const dray = (bucket: string, address: string, ...args: string[]): string[] => [
  ...[process.execPath, entry, ...args, "--repository", `s3://${bucket}?endpoint=${address}&region=us-east-1&pathStyle=true`],
];

interface Fetched {
  readonly mib: number;
  readonly requests: number;
}

async function main(): Promise<void> {
  const buckets = join(work, "buckets");
  for (const bucket of ["kopia", "dray"]) mkdirSync(join(buckets, bucket), { recursive: true });
  const gateway = await Gateway.start(buckets);
  try {
    const writer = join(work, "writer");
    await run(store("create", gateway.address), writer);
    await run(kopia("snapshot", "create", data), writer);
    const [{ id = "" } = {}] = JSON.parse(await run([join(PEERS_BIN, "kopia"), "snapshot", "list", "--json", data], writer)) as { id?: string }[];
    await run(dray("dray", gateway.address, "repo", "create"), writer);
    const own = /\b[0-9a-f]{32}\b/.exec(await run(dray("dray", gateway.address, "snapshot", "create", data), writer))?.[0] ?? "";
    const table = ["| part | program | MiB fetched | requests | kopia's bytes ÷ its |", "|---|---|---|---|---|"];
    for (const part of parts) {
      const all = new Map<string, Fetched[]>();
      for (let each = 0; each < runs; each++) {
        for (const who of ["kopia", "Drayage", "Drayage, of what kopia wrote"]) {
          const state = join(work, "reader");
          const target = join(work, "target");
          const before = { bytes: gateway.bytes, requests: gateway.requests };
          if (who === "kopia") {
            await run(store("connect", gateway.counted), state);
            await run(kopia("snapshot", "restore", `${id}/${part}`, target), state);
          } else {
            const [bucket, snapshot] = who === "Drayage" ? ["dray", own] : ["kopia", id];
            await run(dray(bucket, gateway.counted, "snapshot", "restore", `${snapshot}/${part}`, target), state);
          }
          const fetched = { mib: (gateway.bytes - before.bytes) / 2 ** 20, requests: gateway.requests - before.requests };
          for (const path of [state, target]) rmSync(path, { recursive: true, force: true });
          all.set(who, [...(all.get(who) ?? []), fetched]);
          process.stdout.write(`${JSON.stringify({ part, who, ...fetched })}\n`);
        }
      }
      const mean = (who: string, of: keyof Fetched): number => (all.get(who) ?? []).reduce((sum, fetched) => sum + fetched[of], 0) / runs;
      for (const who of all.keys())
        table.push(
          `| ${part} | ${who} | ${mean(who, "mib").toFixed(2)} | ${mean(who, "requests").toFixed(0)} | ${(mean("kopia", "mib") / mean(who, "mib")).toFixed(2)} |`,
        );
    }
    process.stdout.write(`\n${table.join("\n")}\n`);
  } finally {
    gateway.close();
    rmSync(work, { recursive: true, force: true });
  }
}

await main();
