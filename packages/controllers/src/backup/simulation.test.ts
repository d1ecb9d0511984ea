/**
 * Backups and restores under everything that an API server does to its clients at once: conflicts, refusals, answers that are lost after the work was done, caches whose history is
 * forgotten, and servers that end anywhere and are followed by others. One seed decides all of it. What must hold: every object reaches an end and stays there, nothing is left that
 * nobody owns, and what says Completed is complete.
 */
import { type Backup, backups, dataDownloads, dataUploads, type Restore, restores, volumeSnapshots } from "@drayage/api";
import { DrayError, nullLogger, type RandomSource } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { type KubeObject, keyOf, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods } from "@drayage/kube";
import { expect, it } from "vitest";
import { startBackupOperationsController } from "../backup-operations/backup-operations-controller.ts";
import { startRestoreController } from "../restore/restore-controller.ts";
import { startRestoreOperationsController } from "../restore-operations/restore-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import { completedUpload, NAMESPACE, newBackup, newRestore, type RecordedCluster, recordedBackup, recordedCluster } from "../testing/recorded-cluster.ts";
import { type RunningController, startBackupController } from "./backup-controller.ts";

const ENDED = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
const MOVED = ["Completed", "Failed", "Canceled"];
/** A seed that found something once stays here. */
const SEEDS = [1, 2, 3, 4, 5, 6, 7, 8, 1053, 1065];
const FAULT_SHARE = 0.03;
const RESTART_SHARE = 0.1;
const STEP_MS = 100;
const STEPS_MAX = 6_000;

const phaseOf = (object: KubeObject): string => (object as { status?: { phase?: string } }).status?.phase ?? "New";
const share = (random: RandomSource): number => random.bytes(1).reduce((sum, byte) => sum + byte / 256, 0);

/** Lets calls fail as they do: before the work, after it, or because somebody else was first. */
function disturb({ client }: RecordedCluster, random: RandomSource, calm: () => boolean): void {
  const create = client.create.bind(client);
  client.create = async (type, object, options) => {
    const created = await create(type, object, options);
    if (!calm() && share(random) < FAULT_SHARE) throw new DrayError("KUBE_UNAVAILABLE", "Cannot create: the answer was lost", { context: { sent: true } });
    return created;
  };
  client.intercept = ({ verb, resource }) => {
    if (calm() || verb === "watch" || share(random) >= FAULT_SHARE) return;
    if ((verb === "replace" || verb === "patch") && share(random) < 0.5) throw new DrayError("KUBE_CONFLICT", `Cannot ${verb} ${resource}: somebody was first`);
    throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${verb} ${resource}: the server is busy`, { context: { sent: false } });
  };
}

/** Movers, kubelets and binders, each in its own time and not always well. */
function playOthers({ client }: RecordedCluster, random: RandomSource): void {
  for (const type of [dataUploads, dataDownloads] as const) {
    for (const movement of client.all<KubeObject & { spec: { cancel?: boolean }; status?: object }>(type as never)) {
      if (MOVED.includes(phaseOf(movement)) || share(random) > 0.3) continue;
      const outcome =
        movement.spec.cancel === true ? { phase: "Canceled" } : share(random) < 0.1 ? { phase: "Failed", message: "the disk is full" } : undefined;
      client.mutate(type as never, keyOf(movement), (current: KubeObject & { status?: object }) => {
        current.status = outcome ?? completedUpload(current as never);
      });
    }
  }
  // The mover's: its snapshot is taken over when it has ended.
  for (const upload of client.all(dataUploads))
    if (MOVED.includes(phaseOf(upload)))
      client.discard(volumeSnapshots, { namespace: upload.spec.sourceNamespace, name: upload.spec.csiSnapshot?.volumeSnapshot ?? "" });
  for (const claim of client.all(persistentVolumeClaims)) {
    if (claim.status?.phase === "Bound") continue;
    client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, keyOf(claim), (current) => {
      current.status = { phase: "Bound" };
    });
  }
  for (const pod of client.all(pods)) {
    if (pod.status?.phase === "Running") continue;
    client.mutate<Pod>(pods, keyOf(pod), (current) => {
      const containerStatuses = current.spec.containers.map(({ name }) => ({ name, ready: true, restartCount: 0, state: { running: {} } }));
      current.status = { phase: "Running", containerStatuses };
    });
  }
}

it.each(SEEDS)("everything ends, and nothing is left over: seed %d", async (seed) => {
  const random = seededRandom(seed);
  const cluster = recordedCluster();
  const { client, clock, discovery } = cluster;
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  let calm = false;
  disturb(cluster, random, () => calm);
  const start = (): RunningController[] => {
    const deps = {
      client,
      clock,
      discovery,
      random: seededRandom(seed + 100),
      logger: nullLogger,
      namespace: NAMESPACE,
      stores: store,
      newSpool: createMemorySpool,
    };
    return [
      startBackupController(deps),
      startBackupOperationsController(deps),
      startRestoreController({ ...deps, helperImage: "drayage/dray:test" }),
      startRestoreOperationsController(deps),
    ];
  };
  for (const name of ["one", "two"]) client.seed<Backup>(backups, newBackup(name));
  for (const name of ["back", "copy"]) client.seed<Restore>(restores, newRestore(name, { namespaceMapping: { notes: name } }));
  const subjects = (): KubeObject[] => [...client.all(backups), ...client.all(restores)];
  let servers = start();
  const ends = new Map<string, string>();
  for (let step = 0; step < STEPS_MAX && !subjects().every((subject) => ENDED.includes(phaseOf(subject))); step++) {
    // Trouble passes in the end; what was begun under it must come to its own.
    calm = step > 300;
    playOthers(cluster, random);
    if (!calm && share(random) < 0.05) client.compact();
    if (!calm && share(random) < RESTART_SHARE) {
      const stopping = servers;
      servers = start();
      void Promise.all(stopping.map((server) => server.stop()));
    }
    for (const subject of subjects()) {
      const phase = phaseOf(subject);
      const key = `${subject.kind} ${subject.metadata.name}`;
      if (ends.has(key)) expect(phase, `${key} had ended`).toBe(ends.get(key));
      else if (ENDED.includes(phase)) ends.set(key, phase);
    }
    await clock.advance(STEP_MS);
  }
  calm = true;
  expect(
    subjects()
      .map((subject) => [subject.kind, subject.metadata.name, phaseOf(subject)])
      .filter(([, , phase]) => !ENDED.includes(phase ?? "")),
  ).toEqual([]);
  for (let turn = 0; turn < 100 && client.all(dataUploads).some((upload) => !MOVED.includes(phaseOf(upload))); turn++) {
    playOthers(cluster, random);
    await clock.advance(STEP_MS);
  }
  playOthers(cluster, random);
  await Promise.all(servers.map((server) => server.stop()));
  expect(client.all(dataUploads).filter((upload) => !MOVED.includes(phaseOf(upload)))).toEqual([]);
  expect(client.all(volumeSnapshots).map(({ metadata }) => metadata.name)).toEqual([]);
  expect(store.openArchives).toBe(0);
  for (const backup of client.all(backups)) {
    const name = backup.metadata.name ?? "";
    if (name === "second" || phaseOf(backup) !== "Completed") continue;
    expect(store.items(name).filter(({ ref }) => ref.groupResource === "datauploads.velero.io")).toHaveLength(3);
    expect(store.backups.get(name)?.backup.status?.phase).toBe("Completed");
  }
  for (const restore of client.all(restores)) {
    if (phaseOf(restore) !== "Completed") continue;
    const mine = client.all(dataDownloads).filter(({ metadata }) => metadata.labels?.["velero.io/restore-name"] === restore.metadata.name);
    expect(mine.map((download) => phaseOf(download))).toEqual(["Completed", "Completed"]);
  }
});
