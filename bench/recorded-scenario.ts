/**
 * The scenario in which a real Velero 1.18.3 was recorded, run by us on the real cluster of test/real-cluster: an application with three volumes and hooks; a first backup, a small change, a
 * second one, a third with one DataUpload canceled; the namespace lost and restored as another; a schedule; the first backup deleted; a backup of a namespace that is not there.
 *
 *   node bench/recorded-scenario.ts [--lines FILE]
 *
 * Prints a table for bench/results.md with the recorded times and requests beside ours, and appends a line of JSON to FILE. Times are taken from watches, by one clock.
 */
import { appendFileSync } from "node:fs";
import { loadavg } from "node:os";
import { backups, type DataUpload, dataDownloads, dataUploads, podVolumeBackups, podVolumeRestores, restores } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import {
  configMaps,
  type Deployment,
  deployments,
  type KubeObject,
  keyOf,
  namespaces,
  persistentVolumeClaims,
  pods,
  type ResourceType,
  services,
  startInformer,
} from "@drayage/kube";
import { Harness, VELERO } from "../test/e2e/harness.ts";
import { requestCounter } from "../test/e2e/request-counter.ts";
import { claimOf } from "../test/e2e/sample-application.ts";
import { auditLogOf } from "../test/real-cluster/control-plane.ts";
import { installByCommand } from "../test/real-cluster/real-cluster.ts";
import { runInRealCluster } from "../tools/real-cluster.ts";

const NAMESPACE = "notes";
const TARGET = "notes-2";
const LIMIT_MS = 600_000;

/** What is compared: an object's phase, and when the recording has it, in seconds after the object's creation; the latest where there are several objects. */
const RECORDED: readonly (readonly [object: string, phase: string, seconds: number])[] = [
  ["Backup first", "WaitingForPluginOperations", 17.8],
  ["Backup first", "Completed", 35.8],
  ["DataUpload first", "Prepared", 6.0],
  ["DataUpload first", "InProgress", 16],
  ["DataUpload first", "Completed", 20],
  ["PodVolumeBackup first", "Completed", 5],
  ["Backup second", "WaitingForPluginOperations", 16.1],
  ["Backup second", "Completed", 29.7],
  ["DataUpload second", "Completed", 15],
  ["Backup third", "PartiallyFailed", 29],
  ["Restore back", "Completed", 43.0],
  ["DataDownload back", "Prepared", 6],
  ["DataDownload back", "InProgress", 11],
  ["DataDownload back", "Completed", 24],
  ["PodVolumeRestore back", "Completed", 42],
];

/** Of the whole scenario, by who asked; the recording names its movers by program. */
const RECORDED_REQUESTS = { server: 585, "node-agent": 510, movers: 176 + 49 + 81 };
const ACCOUNTS: Readonly<Record<string, keyof typeof RECORDED_REQUESTS>> = { drayage: "server", "node-agent": "node-agent", "drayage-mover": "movers" };

/** When each object was first seen in each phase. */
class Phases {
  readonly #bornMs = new Map<string, number>();
  readonly #latest = new Map<string, number>();
  readonly #informers: { stop(): void }[] = [];

  watch<T extends KubeObject & { readonly status?: { readonly phase?: string } }>(harness: Harness, type: ResourceType<T>): void {
    const informer = startInformer(type, { client: harness.client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: VELERO });
    const seen = new Set<string>();
    informer.onChange((_before, after) => {
      const { name = "" } = after?.metadata ?? {};
      if (after === undefined || name === "") return;
      const nowMs = systemClock.monotonicMs();
      const id = `${type.kind} ${name}`;
      if (!this.#bornMs.has(id)) this.#bornMs.set(id, nowMs);
      const { phase } = after.status ?? {};
      if (phase === undefined || seen.has(`${id} ${phase}`)) return;
      seen.add(`${id} ${phase}`);
      // Movements are called like the work that they are of, and a suffix.
      const of = `${type.kind} ${name.split("-")[0]} ${phase}`;
      const seconds = Math.round((nowMs - (this.#bornMs.get(id) ?? nowMs)) / 10) / 100;
      this.#latest.set(of, Math.max(this.#latest.get(of) ?? 0, seconds));
    });
    this.#informers.push(informer);
  }

  end(): Readonly<Record<string, number>> {
    for (const informer of this.#informers) informer.stop();
    return Object.fromEntries(this.#latest);
  }
}

const SCRIPT = `[ -e /files/a ] || { echo hello > /files/a; mkdir -p /files/d; i=0; while [ $i -lt 20 ]; do echo n $i > /files/d/f$i; i=$((i+1)); done
head -c 1500000 /dev/urandom > /files/b; ln -s a /files/l; head -c 4194304 /dev/urandom > /dev/disk0; echo fsb > /fsb/x; sync; }; touch /tmp/ready; sleep 36000`;

const shell = (command: string): string => JSON.stringify(["/bin/sh", "-c", command]);

async function deploy({ client }: Harness): Promise<void> {
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: NAMESPACE } });
  await client.create(configMaps, { metadata: { namespace: NAMESPACE, name: "settings" }, data: { mode: "fast" } });
  await client.create(services, {
    metadata: { namespace: NAMESPACE, name: "web" },
    spec: { selector: { app: "web" }, ports: [{ port: 80, targetPort: 8080 }] },
  });
  const volumes = { files: { size: "64Mi" }, disk: { size: "4Mi", mode: "Block" }, fsb: { size: "16Mi" } } as const;
  for (const [name, volume] of Object.entries(volumes)) await client.create(persistentVolumeClaims, claimOf(NAMESPACE, name, volume));
  const annotations = {
    "backup.velero.io/backup-volumes": "fsb",
    "pre.hook.backup.velero.io/command": shell("echo pre"),
    "post.hook.backup.velero.io/command": shell("echo post"),
    "post.hook.restore.velero.io/command": shell("cat /files/a"),
    "post.hook.restore.velero.io/container": "c",
  };
  const container = {
    name: "c",
    image: "busybox",
    imagePullPolicy: "IfNotPresent",
    command: ["sh", "-c", SCRIPT],
    readinessProbe: { exec: { command: ["test", "-e", "/tmp/ready"] }, periodSeconds: 1 },
    volumeMounts: ["files", "fsb"].map((name) => ({ name, mountPath: `/${name}` })),
    volumeDevices: [{ name: "disk", devicePath: "/dev/disk0" }],
  };
  await client.create<Deployment>(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace: NAMESPACE, name: "web" },
    spec: {
      replicas: 1,
      selector: { matchLabels: { app: "web" } },
      template: {
        metadata: { labels: { app: "web" }, annotations },
        spec: {
          terminationGracePeriodSeconds: 1,
          containers: [container],
          volumes: Object.keys(volumes).map((name) => ({ name, persistentVolumeClaim: { claimName: name } })),
        },
      },
    },
  } as Deployment);
}

async function untilReady(harness: Harness, namespace: string): Promise<string> {
  const isReady = ({ status }: Deployment): boolean => (status as { readonly readyReplicas?: number } | undefined)?.readyReplicas === 1;
  await harness.until(deployments, { namespace, name: "web" }, isReady, LIMIT_MS);
  const { items } = await harness.client.list(pods, { namespace, labelSelector: "app=web" });
  return items[0]?.metadata.name ?? "";
}

/** The scenario itself; returns the phase in which each piece of work ended. */
async function play(harness: Harness): Promise<Readonly<Record<string, string | undefined>>> {
  const { client } = harness;
  const ended: Record<string, string | undefined> = {};
  const moved = { includedNamespaces: [NAMESPACE], snapshotMoveData: true };
  await harness.startBackup("first", moved);
  ended["first"] = (await harness.endOfBackup("first", LIMIT_MS)).status?.phase;
  const pod = await untilReady(harness, NAMESPACE);
  await client.podExec(
    { namespace: NAMESPACE, name: pod },
    { container: "c", command: ["sh", "-c", "echo changed > /files/a; sync"], outputLimitBytes: 1 << 16 },
  );
  await harness.startBackup("second", { ...moved, ttl: "2400h" });
  ended["second"] = (await harness.endOfBackup("second", LIMIT_MS)).status?.phase;
  await harness.startBackup("third", moved);
  const chosen = await harness.upload("third", ({ status }: DataUpload) => status?.phase === "Prepared" || status?.phase === "InProgress");
  await client.patch<DataUpload>(dataUploads, keyOf(chosen), "merge", { spec: { cancel: true } });
  ended["third"] = (await harness.endOfBackup("third", LIMIT_MS)).status?.phase;
  await harness.deleteNamespace(NAMESPACE);
  await harness.startRestore("back", { backupName: "second", namespaceMapping: { [NAMESPACE]: TARGET } });
  ended["back"] = (await harness.endOfRestore("back", LIMIT_MS)).status?.phase;
  await untilReady(harness, TARGET);
  await harness.dray("schedule", "create", "nightly", "--schedule", "0 3 * * *", "--include-namespaces", TARGET, "--snapshot-move-data");
  await harness.dray("backup", "delete", "first", "--confirm");
  await harness.untilGone(backups, { namespace: VELERO, name: "first" });
  await harness.startBackup("fourth", { includedNamespaces: ["nowhere"] });
  ended["fourth"] = (await harness.endOfBackup("fourth", LIMIT_MS)).status?.phase;
  return ended;
}

async function measure(file: string | undefined): Promise<void> {
  const harness = await Harness.start({ installBy: installByCommand });
  try {
    await deploy(harness);
    await untilReady(harness, NAMESPACE);
    const phases = new Phases();
    for (const type of [backups, restores, dataUploads, dataDownloads, podVolumeBackups, podVolumeRestores])
      phases.watch(harness, type as ResourceType<KubeObject & { readonly status?: { readonly phase?: string } }>);
    const countRequests = requestCounter(auditLogOf(harness.cluster.directory), VELERO);
    const beganMs = systemClock.monotonicMs();
    const ended = await play(harness);
    const seconds = Math.round((systemClock.monotonicMs() - beganMs) / 100) / 10;
    const requests = countRequests();
    const seen = phases.end();
    const load = Math.round((loadavg()[0] ?? 0) * 10) / 10;
    if (file !== undefined) appendFileSync(file, `${JSON.stringify({ ended, seconds, load, seen, requests })}\n`);
    process.stdout.write(table(seen, requests, `${JSON.stringify(ended)}, ${seconds} s in all, 1-minute load ${load}`));
  } finally {
    await harness.destroy();
  }
}

function table(seen: Readonly<Record<string, number>>, requests: ReturnType<ReturnType<typeof requestCounter>>, about: string): string {
  const rows = RECORDED.map(([object, phase, recorded]) => {
    const ours = seen[`${object} ${phase}`];
    const ratio = ours === undefined ? "" : (ours / recorded).toFixed(2);
    return `| ${object} | ${phase} | ${recorded} | ${ours ?? "not seen"} | ${ratio} |`;
  });
  const asked = Object.entries(ACCOUNTS).map(([account, role]) => {
    const ours = requests[account]?.["all"] ?? 0;
    return `| ${role} | ${RECORDED_REQUESTS[role]} | ${ours} | ${(ours / RECORDED_REQUESTS[role]).toFixed(2)} |`;
  });
  return [
    about,
    "",
    "| object | phase | recorded, s after creation | ours | ours ÷ recorded |",
    "|---|---|---|---|---|",
    ...rows,
    "",
    "| requests of the whole scenario | recorded | ours | ours ÷ recorded |",
    "|---|---|---|---|",
    ...asked,
    "",
  ].join("\n");
}

const option = process.argv.includes("--lines") ? process.argv[process.argv.indexOf("--lines") + 1] : undefined;
if (process.argv.includes("--inside")) await measure(option);
else process.exitCode = runInRealCluster([process.execPath, import.meta.filename, ...process.argv.slice(2), "--inside"]);
