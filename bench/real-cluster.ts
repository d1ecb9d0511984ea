/**
 * How long a backup of one small volume takes from `create` to Completed, and its restore, on the real cluster of test/real-cluster.
 *
 *   node bench/real-cluster.ts [--runs N]
 *
 * Times are taken from a watch, by one clock; prints a line of JSON for each run, with when each phase was reached.
 */
import { backups, dataDownloads, dataUploads, restores } from "@drayage/api";
import { nullLogger, systemClock, systemRandom } from "@drayage/base";
import { type KubeObject, pods, type ResourceType, startInformer } from "@drayage/kube";
import { Harness, VELERO } from "../test/e2e/harness.ts";
import { deployApplication, inApplication, untilRunning } from "../test/e2e/sample-application.ts";
import { installByCommand } from "../test/real-cluster/real-cluster.ts";
import { runInRealCluster } from "../tools/real-cluster.ts";

const VOLUME_BYTES = 20_000_000;
const NAMESPACE = "small";

/** Seconds after the start at which each object was first seen in each phase. */
class Timeline {
  readonly #startMs = systemClock.monotonicMs();
  readonly #seen = new Map<string, number>();
  readonly #informers: { stop(): void }[] = [];

  watch<T extends KubeObject>(harness: Harness, type: ResourceType<T>, label: (object: T) => string | undefined): void {
    const informer = startInformer(type, { client: harness.client, clock: systemClock, random: systemRandom, logger: nullLogger, namespace: VELERO });
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

async function timed(harness: Harness, name: string, work: () => Promise<{ readonly status?: { readonly phase?: string } }>): Promise<void> {
  const timeline = new Timeline();
  timeline.watch(harness, backups, ({ metadata, status }) => (metadata.name === name ? `Backup ${status?.phase ?? "created"}` : undefined));
  timeline.watch(harness, restores, ({ metadata, status }) => (metadata.name === name ? `Restore ${status?.phase ?? "created"}` : undefined));
  const ofRun = ({ metadata }: KubeObject): boolean => metadata.name?.startsWith(`${name}-`) === true;
  timeline.watch(harness, dataUploads, (upload) => (ofRun(upload) ? `DataUpload ${upload.status?.phase ?? "created"}` : undefined));
  timeline.watch(harness, dataDownloads, (download) => (ofRun(download) ? `DataDownload ${download.status?.phase ?? "created"}` : undefined));
  timeline.watch(harness, pods, (pod) => (ofRun(pod) ? `mover pod ${pod.spec.nodeName === undefined ? "waits for a node" : pod.status?.phase}` : undefined));
  const beganMs = systemClock.monotonicMs();
  const { status } = await work();
  const seconds = Math.round((systemClock.monotonicMs() - beganMs) / 10) / 100;
  process.stdout.write(`${JSON.stringify({ who: "drayage", what: name, phase: status?.phase, seconds, timeline: timeline.end() })}\n`);
}

async function measure(runs: number): Promise<void> {
  const beganMs = systemClock.monotonicMs();
  const harness = await Harness.start({ installBy: installByCommand });
  process.stdout.write(`${JSON.stringify({ what: "cluster and installation", seconds: Math.round((systemClock.monotonicMs() - beganMs) / 1000) })}\n`);
  try {
    await deployApplication(harness, NAMESPACE, { files: { size: "64Mi" } });
    for (let index = 1; index <= runs; index++) {
      await inApplication(harness, NAMESPACE, `head -c ${VOLUME_BYTES} /dev/urandom > /volumes/files/data; sync`);
      await timed(harness, `backup-${index}`, () => harness.backUp(`backup-${index}`, { includedNamespaces: [NAMESPACE] }));
      const target = `copy-${index}`;
      await timed(harness, `restore-${index}`, () =>
        harness.restore(`restore-${index}`, { backupName: `backup-${index}`, namespaceMapping: { [NAMESPACE]: target } }),
      );
      await untilRunning(harness, target);
      await harness.deleteNamespace(target);
    }
  } finally {
    await harness.destroy();
  }
}

const runs = Number(process.argv[process.argv.indexOf("--runs") + 1] ?? "") || 3;
if (process.argv.includes("--inside")) await measure(runs);
else process.exitCode = runInRealCluster([process.execPath, import.meta.filename, "--inside", "--runs", String(runs)]);
