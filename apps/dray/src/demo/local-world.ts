/** The demo's world on this machine: clusters in folders below one temporary folder, and a bucket beside them as a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { DrayError, hasCode, messageOf, randomHex } from "@drayage/base";
import { clusterDown, clusterUp } from "@drayage/embedded/cluster";
import { roleCommand } from "../cluster/embedded.ts";
import { programMain } from "../roles/embedded-image.ts";
import { KEYS_FILE } from "../roles/embedded-object-store.ts";
import type { Terminal } from "../terminal.ts";
import type { DemoWorld } from "./world.ts";

const BUCKET = "backups";
const REGION = "us-east-1";
const STORE_START_MS = 30_000;
const END_MS = 10_000;

export interface LocalWorld extends DemoWorld {
  readonly folder: string;
}

/** Makes the world's folder and starts its bucket. Throws TIMED_OUT when the object store does not come up; then nothing is left. */
export async function createLocalWorld(terminal: Terminal, nodes: number): Promise<LocalWorld> {
  const folder = mkdtempSync(join(terminal.env["TMPDIR"] ?? tmpdir(), "drayage-demo-"));
  const compileCache = join(folder, "compile-cache");
  const environment = { ...terminal.env, NODE_COMPILE_CACHE: terminal.env["NODE_COMPILE_CACHE"] ?? compileCache };
  const keys = { accessKeyId: `demo${randomHex(terminal.random, 8)}`, secretAccessKey: randomHex(terminal.random, 20) };
  const storeFolder = join(folder, "store");
  mkdirSync(storeFolder, { mode: 0o700 });
  writeFileSync(join(storeFolder, KEYS_FILE), JSON.stringify(keys), { mode: 0o600 });
  const { child, url } = await startStore(storeFolder, environment, terminal).catch((error: unknown) => {
    rmSync(folder, { recursive: true, force: true });
    throw error;
  });
  const up = new Set<string>();
  const at = (name: string): string => join(folder, name);
  // Tens of thousands of files are gone at once under their names; that their blocks are freed is nothing to wait for (some seconds where a file system discards them one by one).
  const removals: Promise<void>[] = [];
  const remove = (path: string): void => {
    if (!existsSync(path)) return;
    const lost = `${path}.lost`;
    renameSync(path, lost);
    const removal = rm(lost, { recursive: true, force: true });
    removal.catch(() => undefined);
    removals.push(removal);
  };

  const destroy = async (name: string): Promise<void> => {
    try {
      await clusterDown({ directory: at(name), clock: terminal.clock });
    } catch (error) {
      // It may never have come to be.
      if (!hasCode(error, "PATH_NOT_FOUND")) throw error;
    }
    remove(at(name));
    up.delete(name);
  };

  return {
    folder,
    store: {
      url,
      bucket: BUCKET,
      region: REGION,
      credentialsFile: `[default]\naws_access_key_id = ${keys.accessKeyId}\naws_secret_access_key = ${keys.secretAccessKey}\n`,
    },
    async up(name) {
      up.add(name);
      const { clock, random, signal } = terminal;
      const cluster = await clusterUp({ directory: at(name), nodes, launch: (role) => roleCommand(role, environment), clock, random, signal });
      return { kubeconfigPath: cluster.kubeconfigPath };
    },
    destroy,
    storedBytes: () => Promise.resolve(bytesBelow(join(storeFolder, "buckets"))),
    async close({ keep }) {
      if (keep) {
        child.unref();
        return;
      }
      // Whatever cannot be taken away is said, and the rest goes all the same: nothing may hide why the demo itself failed.
      for (const name of [...up]) {
        await destroy(name).catch((error: unknown) => terminal.err(`The ${name} cluster was left behind: ${messageOf(error)}\n`));
      }
      await endProcess(child, terminal);
      await Promise.all(removals);
      if (up.size === 0) await rm(folder, { recursive: true, force: true });
    },
    farewell: `To end it:  dray cluster down --dir ${at("second")} && kill ${child.pid} && rm -rf ${folder}`,
  };
}

async function startStore(folder: string, env: NodeJS.ProcessEnv, { clock, signal }: Terminal): Promise<{ child: ChildProcess; url: string }> {
  const log = openSync(join(folder, "log"), "a", 0o600);
  const child = spawn(process.execPath, [programMain, "embedded", "object-store", "--dir", folder, "--bucket", BUCKET], {
    stdio: ["ignore", "pipe", log],
    env,
    detached: true,
  });
  const output = child.stdout;
  if (output === null) throw new DrayError("INVARIANT", "The object store has no output");
  const url = await new Promise<string>((resolve, reject) => {
    const settle = (act: () => void): void => {
      cancel();
      signal.removeEventListener("abort", interrupted);
      act();
    };
    const fail = (why: string): void =>
      settle(() => {
        child.kill("SIGKILL");
        const said = readFileSync(join(folder, "log"), "utf8").trim().split("\n").at(-1) ?? "";
        reject(new DrayError("TIMED_OUT", `Cannot start the demo's object store: ${why}${said === "" ? "" : `: ${said}`}`));
      });
    const interrupted = (): void =>
      settle(() => {
        child.kill("SIGKILL");
        reject(signal.reason);
      });
    const cancel = clock.after(STORE_START_MS, () => fail(`it did not answer within ${STORE_START_MS / 1000} s`));
    signal.addEventListener("abort", interrupted, { once: true });
    child.once("error", (error) => fail(error.message));
    child.once("exit", (code, name) => fail(`it ended with ${code ?? name}`));
    createInterface({ input: output }).once("line", (line) => settle(() => resolve((JSON.parse(line) as { url: string }).url)));
  });
  child.removeAllListeners("exit");
  (output as unknown as { unref?: () => void }).unref?.();
  return { child, url };
}

async function endProcess(child: ChildProcess, { clock }: Terminal): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.kill("SIGTERM");
  const cancel = clock.after(END_MS, () => child.kill("SIGKILL"));
  await ended;
  cancel();
}

function bytesBelow(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0);
}
