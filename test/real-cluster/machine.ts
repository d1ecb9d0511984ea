/**
 * Where the real cluster runs: in network, mount and process namespaces of its own, which tools/real-cluster.ts makes, so that addresses, mounts and processes go with it
 * however it ends. What is left to undo by hand are loop devices, control groups and the folder (leftovers.ts).
 */
import { execFileSync, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { peer } from "../compat/peers.ts";

/** The folder of this run; set by tools/real-cluster.ts, which removes it. */
export const FOLDER_VARIABLE = "DRAY_REAL_CLUSTER";

/** The API server listens on its own service address, put on the loopback interface: pods reach it there without kube-proxy. Other services and names are not to be had. */
export const SERVICE_RANGE = "10.96.0.0/16";
export const ADDRESS = "10.96.0.1";
export const API_URL = `https://${ADDRESS}:443`;
export const POD_RANGE = "10.244.0.0/24";
export const NODE = "node-1";

/** The folder of this run. Throws where nobody has made the namespaces. */
export function runFolder(): string {
  const folder = process.env[FOLDER_VARIABLE];
  if (folder === undefined) throw new Error("Cannot start a real cluster here: it wants namespaces of its own; run npm run real-cluster");
  return folder;
}

export interface Daemon {
  readonly pid: number;
  /** The last lines of its log. */
  log(): string;
  /** Ends this process at once and waits for it. */
  kill(): Promise<void>;
}

/** Starts a program in the background; its log is kept in a file. */
export function startDaemon(folder: string, name: string, words: readonly string[], environment: Readonly<Record<string, string>> = {}): Daemon {
  const [program = "", ...args] = words;
  mkdirSync(join(folder, "log"), { recursive: true });
  const path = join(folder, "log", `${name}.log`);
  const log = openSync(path, "a");
  const child = spawn(program, args, { stdio: ["ignore", log, log], env: { ...process.env, ...environment } });
  closeSync(log);
  const ended = new Promise<void>((resolve) => {
    child.once("close", () => resolve());
    child.once("error", () => resolve());
  });
  return {
    pid: child.pid ?? -1,
    log: () => readFileSync(path, "utf8").split("\n").slice(-15).join("\n"),
    kill: async () => {
      child.kill("SIGKILL");
      await ended;
    },
  };
}

/** Starts a program that ../shared/peers builds. */
export function startPeerDaemon(folder: string, name: Parameters<typeof peer>[0], args: readonly string[]): Daemon {
  return startDaemon(folder, name, [peer(name), ...args]);
}

/** Asks until the answer is yes; fails after the limit with what the daemon has logged. */
export async function untilReady(what: string, ready: () => Promise<boolean> | boolean, daemon: Daemon, limitMs = 180_000): Promise<void> {
  const giveUpAt = Date.now() + limitMs;
  for (;;) {
    let trouble = "";
    try {
      if (await ready()) return;
    } catch (error) {
      trouble = String(error);
    }
    if (Date.now() > giveUpAt) throw new Error(`${what} did not come up within ${limitMs / 1000} s ${trouble}\n${daemon.log()}`);
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/** Runs a program to its end and returns what it printed. */
export function run(program: string, ...args: readonly string[]): string {
  return execFileSync(program, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "pipe"],
    maxBuffer: 64 << 20,
    env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin` },
  });
}
