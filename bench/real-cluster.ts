/**
 * How long a backup of one small volume takes from `create` to Completed, and its restore, on the real cluster of test/real-cluster, and what its pods ask of the API server meanwhile.
 *
 *   node bench/real-cluster.ts [--runs N] [--beside]
 *
 * With `--beside` a real Velero, installed in the same cluster, does the same by turns. Times are taken from a watch, by one clock; prints a line of JSON for each run, with when each
 * phase was reached and with the requests of each role.
 */
import { type Backup, backups, dataDownloads, dataUploads, type Restore, restores } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type KubeObject, pods, type ResourceType, startInformer } from "@drayage/kube";
import { Harness, VELERO } from "../test/e2e/harness.ts";
import { requestCounter } from "../test/e2e/request-counter.ts";
import { deployApplication, inApplication, untilRunning } from "../test/e2e/sample-application.ts";
import { auditLogOf } from "../test/real-cluster/control-plane.ts";
import { installByCommand } from "../test/real-cluster/real-cluster.ts";
import { runInRealCluster } from "../tools/real-cluster.ts";
import { BESIDE, BUCKET_BESIDE, installVeleroBeside } from "./velero-beside.ts";

const ENDED = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
const LIMIT_MS = 300_000;
const VOLUME_BYTES = 20_000_000;
const NAMESPACE = "small";

/** One of those that are compared. */
interface Installation {
  readonly who: "drayage" | "velero";
  readonly harness: Harness;
  readonly namespace: string;
}

/** Seconds after the start at which each object was first seen in each phase. */
class Timeline {
  readonly #startMs = systemClock.monotonicMs();
  readonly #seen = new Map<string, number>();
  readonly #informers: { stop(): void }[] = [];

  watch<T extends KubeObject>({ harness, namespace }: Installation, type: ResourceType<T>, label: (object: T) => string | undefined): void {
    const informer = startInformer(type, { client: harness.client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace });
    informer.onChange(() => {
      for (const object of informer.list()) {
        const key = label(object);
        if (key !== undefined && !this.#seen.has(key)) this.#seen.set(key, Math.round((systemClock.monotonicMs() - this.#startMs) / 10) / 100);
      }
    });
    this.#informers.push(informer);
  }

  end(): Readonly<Record<string, number>> {
    for (const informer of this.#informers) informer.stop();
    return Object.fromEntries(this.#seen);
  }
}

async function timed(installation: Installation, object: Backup | Restore): Promise<void> {
  const { harness, who, namespace } = installation;
  const { name = "" } = object.metadata;
  const type = (object.kind === "Backup" ? backups : restores) as ResourceType<Backup | Restore>;
  const timeline = new Timeline();
  timeline.watch(installation, type, ({ metadata, status }) => (metadata.name === name ? `${object.kind} ${status?.phase ?? "created"}` : undefined));
  const ofRun = ({ metadata }: KubeObject): boolean => metadata.name?.startsWith(`${name}-`) === true;
  timeline.watch(installation, dataUploads, (upload) => (ofRun(upload) ? `DataUpload ${upload.status?.phase ?? "created"}` : undefined));
  timeline.watch(installation, dataDownloads, (download) => (ofRun(download) ? `DataDownload ${download.status?.phase ?? "created"}` : undefined));
  timeline.watch(installation, pods, (pod) =>
    ofRun(pod) ? `mover pod ${pod.spec.nodeName === undefined ? "waits for a node" : pod.status?.phase}` : undefined,
  );
  const countRequests = requestCounter(auditLogOf(harness.cluster.directory), namespace);
  const beganMs = systemClock.monotonicMs();
  await harness.client.create(type, object);
  const { status } = await harness.until(type, { namespace, name }, (seen) => ENDED.includes(seen.status?.phase ?? ""), LIMIT_MS);
  const seconds = Math.round((systemClock.monotonicMs() - beganMs) / 10) / 100;
  const line = { who, what: name, phase: status?.phase, seconds, timeline: timeline.end(), requests: countRequests() };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function measure(runs: number, beside: boolean): Promise<void> {
  const beganMs = systemClock.monotonicMs();
  const harness = await Harness.start({ installBy: installByCommand, buckets: [BUCKET_BESIDE] });
  try {
    const installations: Installation[] = [{ who: "drayage", harness, namespace: VELERO }];
    if (beside) {
      await installVeleroBeside(harness);
      installations.unshift({ who: "velero", harness, namespace: BESIDE });
    }
    process.stdout.write(`${JSON.stringify({ what: "cluster and installations", seconds: Math.round((systemClock.monotonicMs() - beganMs) / 1000) })}\n`);
    await deployApplication(harness, NAMESPACE, { files: { size: "64Mi" } });
    for (let index = 1; index <= runs; index++) {
      await inApplication(harness, NAMESPACE, `head -c ${VOLUME_BYTES} /dev/urandom > /volumes/files/data; sync`);
      for (const installation of installations) await run(installation, index);
    }
  } finally {
    await harness.destroy();
  }
}

async function run(installation: Installation, index: number): Promise<void> {
  const { harness, namespace, who } = installation;
  const [backupName, target] = [`backup-${index}`, `copy-${who}-${index}`];
  const of = (kind: "Backup" | "Restore", name: string) => ({ apiVersion: "velero.io/v1", kind, metadata: { namespace, name } });
  await timed(installation, { ...of("Backup", backupName), spec: { includedNamespaces: [NAMESPACE], snapshotMoveData: true } });
  await timed(installation, { ...of("Restore", `restore-${index}`), spec: { backupName, namespaceMapping: { [NAMESPACE]: target } } });
  await untilRunning(harness, target);
  await harness.deleteNamespace(target);
}

const runs = Number(process.argv[process.argv.indexOf("--runs") + 1] ?? "") || 3;
if (process.argv.includes("--inside")) await measure(runs, process.argv.includes("--beside"));
else process.exitCode = runInRealCluster([process.execPath, import.meta.filename, ...process.argv.slice(2), "--inside", "--runs", String(runs)]);
