/** A real Velero server as a process beside a cluster, and its command line: it decides, our node-agents move. */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { backupStorageLocations } from "@drayage/api";
import { deployments, type KubeClient, secrets } from "@drayage/kube";
import { BUCKET, type Harness, KEYS, VELERO } from "../e2e/harness.ts";
import { freePort, type PeerProcess, peer, startPeer } from "./peers.ts";

export interface RealVelero {
  /** Runs Velero's command line. Throws with what it printed when it does not end with 0. */
  cli(...args: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** A cluster and a bucket. */
export interface VeleroSurroundings {
  readonly kubeconfigPath: string;
  readonly client: KubeClient;
  /** Of a BackupStorageLocation whose bucket is `BUCKET`. */
  readonly locationConfig: Readonly<Record<string, string>>;
  /** Where plug-ins and keys are put. */
  readonly folder: string;
}

/** What a server of Velero needs, in the cluster and on this machine. */
export interface InstalledVelero {
  readonly cli: RealVelero["cli"];
  /** Starts its server with its AWS plug-in; what it prints is kept. */
  startServer(program?: VeleroProgram): Promise<PeerProcess>;
}

type VeleroProgram = "velero" | "velero-without-metrics";

const run = promisify(execFile);

/** Installs Velero's own definitions and a location, and starts its server. Resolves when the location is available. */
export async function startRealVelero(harness: Harness, program: VeleroProgram = "velero"): Promise<RealVelero> {
  const { client, locationConfig } = harness;
  const folder = join(harness.cluster.directory, "..", "velero");
  const installed = await installVelero({ kubeconfigPath: harness.cluster.kubeconfigPath, client, locationConfig, folder });
  const server = await installed.startServer(program);
  try {
    await harness.until(backupStorageLocations, { namespace: VELERO, name: "default" }, ({ status }) => status?.phase === "Available");
  } catch (error) {
    await server.stop();
    throw new Error(`${String(error)}\n${server.output().slice(-60_000)}`, { cause: error });
  }
  return { cli: installed.cli, stop: () => server.stop() };
}

/** Puts into the cluster what `velero install` would, but for the server, which is a process here. */
export async function installVelero({ kubeconfigPath, client, locationConfig, folder }: VeleroSurroundings): Promise<InstalledVelero> {
  const plugins = join(folder, "plugins");
  mkdirSync(plugins, { recursive: true });
  symlinkSync(peer("velero-plugin-for-aws"), join(plugins, "velero-plugin-for-aws"));
  const keys = join(folder, "keys");
  writeFileSync(keys, `[default]\naws_access_key_id=${KEYS.accessKeyId}\naws_secret_access_key=${KEYS.secretAccessKey}\n`, { mode: 0o600 });
  const env = { ...process.env, HOME: folder, KUBECONFIG: kubeconfigPath, VELERO_NAMESPACE: VELERO, AWS_SHARED_CREDENTIALS_FILE: keys };
  const cli = async (...args: readonly string[]): Promise<string> => {
    try {
      return (await run(peer("velero"), ["--namespace", VELERO, ...args], { env, maxBuffer: 64 << 20 })).stdout;
    } catch (error) {
      const { stdout, stderr } = error as { stdout?: string; stderr?: string };
      throw new Error(`velero ${args.join(" ")}: ${stderr ?? ""}${stdout ?? ""}`, { cause: error });
    }
  };
  await cli("install", "--crds-only");
  // A restore reads this Deployment for the image of its helper.
  await client.create(deployments, {
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
  await client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: VELERO, name: "cloud-credentials" }, data: { cloud } });
  await client.create(backupStorageLocations, {
    apiVersion: "velero.io/v1",
    kind: "BackupStorageLocation",
    metadata: { namespace: VELERO, name: "default" },
    spec: { provider: "aws", default: true, objectStorage: { bucket: BUCKET }, config: locationConfig },
  });
  const startServer = async (program: VeleroProgram = "velero"): Promise<PeerProcess> => {
    const metrics = await freePort();
    return startPeer(
      program,
      [
        ...["server", "--namespace", VELERO, "--kubeconfig", kubeconfigPath, "--plugin-dir", plugins],
        ...["--features=EnableCSI", "--backup-sync-period=5s", "--store-validation-frequency=5s", "--item-operation-sync-frequency=2s"],
        ...["--metrics-address", `127.0.0.1:${metrics}`],
        ...["--profiler-address", `127.0.0.1:${await freePort()}`],
      ],
      async () => (await fetch(`http://127.0.0.1:${metrics}/metrics`)).ok,
      env as Record<string, string>,
    );
  };
  return { cli, startServer };
}
