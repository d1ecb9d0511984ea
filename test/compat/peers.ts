/**
 * The real programs that the compat tests compare with: found in `PEERS_BIN`, else in the cache that ../shared/peers/build fills.
 * `npm test` leaves this project out where they are missing (and fails with CI set), so here a missing one is an error.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createServer } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";

export type PeerName =
  | "kopia"
  | "restic"
  | "versitygw"
  | "fake-gcs-server"
  | "etcd"
  | "kube-apiserver"
  | "kube-controller-manager"
  | "kube-scheduler"
  | "kubelet"
  | "kubectl"
  | "snapshot-controller"
  | "csi-provisioner"
  | "csi-snapshotter"
  | "velero"
  | "velero-plugin-for-aws"
  | "velero-restore-helper"
  | "velero-plugin-asynchronous"
  | "velero-without-metrics"
  | "volsync"
  | "volsync-restic-mover"
  | "volsync-replicationsources.yaml"
  | "volsync-replicationdestinations.yaml";

/** The path of a peer's binary. Throws when it is not there, saying how to build it. */
export function peer(name: PeerName): string {
  const folders = [process.env["PEERS_BIN"] ?? "", join(homedir(), ".cache", "drayage-peers", "bin")].filter((folder) => folder !== "");
  const found = folders.map((folder) => join(folder, name)).find((path) => existsSync(path));
  if (found === undefined)
    throw new Error(
      `Cannot find peer "${name}" in ${folders.join(" or ")}: build it with ../shared/peers/build ${name}, test/plugins/build or test/peers/build`,
    );
  return found;
}

/** A TCP port that was free a moment ago. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve, reject) => server.once("error", reject).listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

export interface PeerProcess {
  readonly process: ChildProcess;
  /** What it has written to stdout and stderr so far. */
  output(): string;
  /** Ends exactly this process and waits for it. */
  stop(): Promise<void>;
}

/** Starts a peer in the background; `ready` is asked until it says yes, within 30 s. */
export async function startPeer(
  name: PeerName,
  args: readonly string[],
  ready: () => Promise<boolean>,
  environment: Readonly<Record<string, string>> = {},
): Promise<PeerProcess> {
  return await startProgram(peer(name), args, ready, environment);
}

/** Azure's emulator, a program of Node's with a package.json of its own. Throws when it is not installed, saying how. */
export async function startAzurite(args: readonly string[], ready: () => Promise<boolean>): Promise<PeerProcess> {
  const main = join(import.meta.dirname, "..", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js");
  if (!existsSync(main)) throw new Error("Cannot find azurite: install it with npm ci --prefix test/azurite --ignore-scripts");
  return await startProgram(process.execPath, [main, ...args], ready);
}

async function startProgram(
  path: string,
  args: readonly string[],
  ready: () => Promise<boolean>,
  environment: Readonly<Record<string, string>> = {},
): Promise<PeerProcess> {
  const child = spawn(path, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, ...environment } });
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async (): Promise<void> => {
    child.kill("SIGTERM");
    const hard = setTimeout(() => child.kill("SIGKILL"), 5_000);
    await ended;
    clearTimeout(hard);
  };
  const giveUpAt = Date.now() + 30_000;
  while (!(await ready().catch(() => false))) {
    if (child.exitCode !== null || Date.now() > giveUpAt) {
      await stop();
      throw new Error(`Peer "${path}" did not come up:\n${output}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  return { process: child, output: () => output, stop };
}
