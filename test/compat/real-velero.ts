/** A real Velero server as a process beside an embedded cluster, and its command line: it decides, our node-agents move. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { backupStorageLocations } from "@drayage/api";
import { deployments, secrets } from "@drayage/kube";
import { BUCKET, type Harness, KEYS, VELERO } from "../e2e/harness.ts";
import { freePort, type PeerProcess, peer, startPeer } from "./peers.ts";

export interface RealVelero {
  /** Runs Velero's command line. Throws with what it printed when it does not end with 0. */
  cli(...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

const run = promisify(execFile);

/** Installs Velero's own definitions, a location in the harness's bucket, and starts its server with its AWS plug-in. Resolves when the location is available. */
export async function startRealVelero(harness: Harness): Promise<RealVelero> {
  const folder = join(harness.cluster.directory, "..", "velero");
  const plugins = join(folder, "plugins");
  mkdirSync(plugins, { recursive: true });
  symlinkSync(peer("velero-plugin-for-aws"), join(plugins, "velero-plugin-for-aws"));
  const keys = join(folder, "keys");
  writeFileSync(keys, `[default]\naws_access_key_id=${KEYS.accessKeyId}\naws_secret_access_key=${KEYS.secretAccessKey}\n`, { mode: 0o600 });
  const env = { ...process.env, HOME: folder, KUBECONFIG: harness.cluster.kubeconfigPath, VELERO_NAMESPACE: VELERO, AWS_SHARED_CREDENTIALS_FILE: keys };
  const cli = async (...args: readonly string[]): Promise<string> => {
    try {
      return (await run(peer("velero"), ["--namespace", VELERO, ...args], { env, maxBuffer: 64 << 20 })).stdout;
    } catch (error) {
      const { stdout, stderr } = error as { stdout?: string; stderr?: string };
      throw new Error(`velero ${args.join(" ")}: ${stderr ?? ""}${stdout ?? ""}`, { cause: error });
    }
  };
  await cli("install", "--crds-only");
  // A restore reads this Deployment for the image of its helper; the server itself is a process here.
  await harness.client.create(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace: VELERO, name: "velero" },
    spec: {
      replicas: 0,
      selector: { matchLabels: { deploy: "velero" } },
      template: { metadata: { labels: { deploy: "velero" } }, spec: { containers: [{ name: "velero", image: "velero/velero:test" }] } },
    },
  });
  const cloud = readFileSync(keys).toString("base64");
  await harness.client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: VELERO, name: "cloud-credentials" }, data: { cloud } });
  await harness.client.create(backupStorageLocations, {
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: { namespace: VELERO, name: "default" },
    spec: { provider: "aws", default: true, objectStorage: { bucket: BUCKET }, config: harness.locationConfig },
  });
  const metrics = await freePort();
  const server: PeerProcess = await startPeer(
    "velero",
    [
      ...["server", "--namespace", VELERO, "--kubeconfig", harness.cluster.kubeconfigPath, "--plugin-dir", plugins],
      ...["--features=EnableCSI", "--backup-sync-period=5s", "--store-validation-frequency=5s", "--metrics-address", `127.0.0.1:${metrics}`],
      ...["--profiler-address", `127.0.0.1:${await freePort()}`],
    ],
    async () => (await fetch(`http://127.0.0.1:${metrics}/metrics`)).ok,
    env as Record<string, string>,
  );
  try {
    await harness.until(backupStorageLocations, { namespace: VELERO, name: "default" }, ({ status }) => status?.phase === "Available");
  } catch (error) {
    await server.stop();
    throw new Error(`${String(error)}\n${server.output().slice(-60_000)}`, { cause: error });
  }
  return { cli, stop: () => server.stop() };
}
