/** A call that fails, and a server that ends, at every point of a backup and a restore: all of them end, nothing is left over, and what says Completed is complete. */
import {
  type Backup,
  backups,
  dataDownloads,
  dataUploads,
  podVolumeRestores,
  type Restore,
  restores,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { configMaps, type KubeObject, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods, type ResourceType } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { startBackupOperationsController } from "../backup-operations/backup-operations-controller.ts";
import { startRestoreController } from "../restore/restore-controller.ts";
import { startRestoreOperationsController } from "../restore-operations/restore-operations-controller.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import {
  completedUpload,
  emptyCluster,
  endDownloads,
  endUploads,
  eventually,
  NAMESPACE,
  newBackup,
  newRestore,
  type RecordedCluster,
  recordedBackup,
  recordedCluster,
} from "../testing/recorded-cluster.ts";
import { type RunningController, startBackupController } from "./backup-controller.ts";

const ENDED = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];

function start(cluster: RecordedCluster, store: MemoryBackupStore): RunningController[] {
  const { client, clock, discovery } = cluster;
  const deps = { client, clock, discovery, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, newSpool: createMemorySpool };
  return [
    startBackupController(deps),
    startBackupOperationsController(deps),
    startRestoreController({ ...deps, helperImage: "drayage/dray:test" }),
    startRestoreOperationsController(deps),
  ];
}

const stopAll = (running: readonly RunningController[]): Promise<unknown> => Promise.all(running.map((controller) => controller.stop()));

/** Plays everybody else until the object has ended. */
function untilEnded<T extends KubeObject>(cluster: RecordedCluster, type: ResourceType<T>, name: string, others: () => void): Promise<string> {
  const phase = (): string =>
    (cluster.client.peek(type, { namespace: NAMESPACE, name }) as { status?: { phase?: string } } | undefined)?.status?.phase ?? "New";
  return eventually(
    cluster.clock,
    () => {
      others();
      return ENDED.includes(phase()) ? phase() : undefined;
    },
    phase,
  );
}

/** A mover that obeys: it ends what is to be canceled, and completes the rest; snapshots are its to remove. */
function moveUploads({ client }: RecordedCluster): void {
  if (client.peek(backups, { namespace: NAMESPACE, name: "second" })?.status?.phase?.startsWith("Waiting") === true) endUploads(client, completedUpload);
  endUploads(client, (upload) => (upload.spec.cancel === true ? { ...upload.status, phase: "Canceled" } : (upload.status ?? {})));
  for (const upload of client.all(dataUploads)) {
    if (["Completed", "Failed", "Canceled"].includes(upload.status?.phase ?? "")) {
      client.discard(volumeSnapshots, { namespace: upload.spec.sourceNamespace, name: upload.spec.csiSnapshot?.volumeSnapshot ?? "" });
    }
  }
}

function moveDownloads({ client }: RecordedCluster): void {
  for (const { metadata, status } of client.all(persistentVolumeClaims)) {
    if (status?.phase === "Bound") continue;
    client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, { namespace: metadata.namespace, name: metadata.name ?? "" }, (claim) => {
      claim.status = { phase: "Bound" };
    });
  }
  for (const { metadata, status } of client.all(pods)) {
    if (status?.phase === "Running") continue;
    client.mutate<Pod>(pods, { namespace: metadata.namespace, name: metadata.name ?? "" }, (pod) => {
      pod.status = {
        phase: "Running",
        containerStatuses: pod.spec.containers.map(({ name }) => ({ name, ready: true, restartCount: 0, state: { running: {} } })),
      };
    });
  }
  if (client.peek(restores, { namespace: NAMESPACE, name: "back" })?.status?.phase?.startsWith("Waiting") === true)
    endDownloads(client, { phase: "Completed" });
}

/** Calls `run` for fault 1, 2, … until one of them is never reached. */
async function sweep(run: (fault: number) => Promise<boolean>): Promise<number> {
  for (let fault = 1; ; fault++) if (!(await run(fault))) return fault - 1;
}

describe("with one call failing", () => {
  const failing = (cluster: RecordedCluster, fault: number): (() => boolean) => {
    let count = 0;
    cluster.client.intercept = ({ verb, resource }) => {
      // Caches are started again by themselves; that is kube's to test.
      if (verb === "watch") return;
      if (++count === fault) throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${verb} ${resource}: injected`, { context: { sent: true } });
    };
    return () => count >= fault;
  };

  it("a backup ends, and leaves no snapshot that nobody owns", async () => {
    const outcomes = new Set<string>();
    const tried = await sweep(async (fault) => {
      const cluster = recordedCluster();
      const store = new MemoryBackupStore();
      const { client } = cluster;
      client.seed<Backup>(backups, newBackup("second"));
      const reached = failing(cluster, fault);
      const running = start(cluster, store);
      const phase = await untilEnded(cluster, backups, "second", () => moveUploads(cluster));
      outcomes.add(phase);
      moveUploads(cluster);
      await stopAll(running);
      const owned = new Set(client.all(dataUploads).map(({ spec }) => spec.csiSnapshot?.volumeSnapshot));
      expect(
        client.all(volumeSnapshots).filter(({ metadata }) => !owned.has(metadata.name)),
        `fault ${fault}`,
      ).toEqual([]);
      expect(store.openArchives, `fault ${fault}`).toBe(0);
      if (phase === "Completed")
        expect(
          store.items("second").filter(({ ref }) => ref.groupResource === "datauploads.velero.io"),
          `fault ${fault}`,
        ).toHaveLength(3);
      if (phase !== "Failed") expect(store.backups.get("second")?.backup.status?.phase, `fault ${fault}`).toBe(phase);
      return reached();
    });
    expect(tried).toBeGreaterThan(50);
    expect([...outcomes].sort()).toEqual(["Completed", "Failed", "PartiallyFailed"]);
  });

  it("a restore ends, and leaves nothing in the server's namespace but its DataDownloads", async () => {
    const tried = await sweep(async (fault) => {
      const cluster = emptyCluster();
      const store = new MemoryBackupStore();
      await recordedBackup(cluster, store);
      const { client } = cluster;
      client.seed<Restore>(restores, newRestore("back"));
      const reached = failing(cluster, fault);
      const running = start(cluster, store);
      const phase = await untilEnded(cluster, restores, "back", () => moveDownloads(cluster));
      await stopAll(running);
      expect(store.openArchives, `fault ${fault}`).toBe(0);
      if (phase === "PartiallyFailed") expect(client.all(dataDownloads).length, `fault ${fault}`).toBeGreaterThan(0);
      return reached();
    });
    expect(tried).toBeGreaterThan(50);
  });
});

it("a backup ends when its namespace is deleted before any of its calls, and leaves no snapshot behind", async () => {
  const outcomes = new Set<string>();
  const tried = await sweep(async (fault) => {
    const cluster = recordedCluster();
    const store = new MemoryBackupStore();
    const { client, resources } = cluster;
    client.seed<Backup>(backups, newBackup("second"));
    let count = 0;
    client.intercept = ({ verb }) => {
      if (verb === "watch" || ++count !== fault) return;
      for (const type of resources) {
        for (const { metadata } of client.all<KubeObject>(type)) {
          const isIt = type.plural === "namespaces" && metadata.name === "notes";
          if (metadata.namespace === "notes" || isIt) client.discard(type, { namespace: metadata.namespace, name: metadata.name ?? "" });
        }
      }
      for (const { metadata } of client.all(volumeSnapshots)) client.discard(volumeSnapshots, { namespace: metadata.namespace, name: metadata.name ?? "" });
    };
    const running = start(cluster, store);
    outcomes.add(await untilEnded(cluster, backups, "second", () => moveUploads(cluster)));
    moveUploads(cluster);
    await stopAll(running);
    const owned = new Set(client.all(dataUploads).map(({ spec }) => spec.csiSnapshot?.volumeSnapshot));
    expect(
      client.all(volumeSnapshots).filter(({ metadata }) => !owned.has(metadata.name)),
      `call ${fault}`,
    ).toEqual([]);
    expect(store.openArchives, `call ${fault}`).toBe(0);
    return count >= fault;
  });
  expect(tried).toBeGreaterThan(50);
  expect(outcomes).toContain("Completed");
});

it("a backup removes the snapshot that was cut by a request whose answer was lost", async () => {
  const cluster = recordedCluster();
  const store = new MemoryBackupStore();
  const { client } = cluster;
  client.seed<Backup>(backups, newBackup("second"));
  const create = client.create.bind(client);
  let lost = 0;
  client.create = async (type, object, options) => {
    const created = await create(type, object, options);
    if (created.kind === "VolumeSnapshot" && lost++ === 0)
      throw new DrayError("KUBE_UNAVAILABLE", "Cannot create: the connection was reset", { context: { sent: true } });
    return created;
  };
  const running = start(cluster, store);
  expect(await untilEnded(cluster, backups, "second", () => moveUploads(cluster))).toBe("PartiallyFailed");
  await stopAll(running);
  expect(client.all(volumeSnapshots)).toEqual([]);
  expect(client.all(dataUploads)).toHaveLength(2);
});

describe("with the server ending before a call, and another one starting", () => {
  it("a backup is either as it would have been, or Failed with nothing left behind", async () => {
    const outcomes = new Set<string>();
    const tried = await sweep(async (fault) => {
      const cluster = recordedCluster();
      const store = new MemoryBackupStore();
      const { client } = cluster;
      client.seed<Backup>(backups, newBackup("second"));
      const crash = crashing(cluster, fault);
      const first = start(cluster, store);
      let second: RunningController[] = [];
      const phase = await untilEnded(cluster, backups, "second", () => {
        if (crash.reached() && second.length === 0) {
          crash.revive();
          void stopAll(first);
          second = start(cluster, store);
        }
        moveUploads(cluster);
      });
      outcomes.add(phase);
      await eventually(cluster.clock, () => {
        moveUploads(cluster);
        return client.all(dataUploads).every(({ status }) => ENDED.includes(status?.phase ?? "") || status?.phase === "Canceled") ? true : undefined;
      });
      await stopAll([...first, ...second]);
      expect(client.all(volumeSnapshots), `crash ${fault}`).toEqual([]);
      expect(
        client.all(volumeSnapshotContents).filter(({ spec }) => spec.deletionPolicy !== "Delete"),
        `crash ${fault}`,
      ).toEqual([]);
      if (phase === "Completed") expect(store.backups.get("second")?.backup.status?.phase, `crash ${fault}`).toBe("Completed");
      return crash.reached();
    });
    expect(tried).toBeGreaterThan(50);
    expect([...outcomes].sort()).toEqual(["Completed", "Failed"]);
  });

  it("a restore ends as it would have ended", async () => {
    const undisturbed = await restoredBy();
    const tried = await sweep(async (fault) => {
      const cluster = emptyCluster();
      const store = new MemoryBackupStore();
      await recordedBackup(cluster, store);
      const { client } = cluster;
      client.seed<Restore>(restores, newRestore("back"));
      const crash = crashing(cluster, fault);
      const first = start(cluster, store);
      let second: RunningController[] = [];
      const phase = await untilEnded(cluster, restores, "back", () => {
        if (crash.reached() && second.length === 0) {
          crash.revive();
          void stopAll(first);
          second = start(cluster, store);
        }
        moveDownloads(cluster);
      });
      await stopAll([...first, ...second]);
      expect(
        client.all(configMaps).filter(({ metadata }) => metadata.namespace === NAMESPACE),
        `crash ${fault}`,
      ).toEqual([]);
      expect(phase, `crash ${fault}`).toBe("Completed");
      expect(client.all(dataDownloads), `crash ${fault}`).toHaveLength(2);
      expect(client.all(podVolumeRestores), `crash ${fault}`).toHaveLength(1);
      expect(namesIn(cluster), `crash ${fault}`).toEqual(undisturbed);
      return crash.reached();
    });
    expect(tried).toBeGreaterThan(50);
  });
});

/** What a restore makes that nothing disturbs. */
async function restoredBy(): Promise<string[]> {
  const cluster = emptyCluster();
  const store = new MemoryBackupStore();
  await recordedBackup(cluster, store);
  cluster.client.seed<Restore>(restores, newRestore("back"));
  const running = start(cluster, store);
  await untilEnded(cluster, restores, "back", () => moveDownloads(cluster));
  await stopAll(running);
  return namesIn(cluster);
}

function namesIn({ client, resources }: RecordedCluster): string[] {
  return resources
    .flatMap((type) => client.all<KubeObject>(type))
    .filter(({ metadata }) => metadata.namespace === "notes" || metadata.namespace === undefined)
    .map(({ kind, metadata }) => `${kind} ${metadata.name}`)
    .sort();
}

/** Every call from the given one on hangs until the server is ended, as if its process were gone. */
function crashing({ client }: RecordedCluster, fault: number): { reached(): boolean; revive(): void } {
  let count = 0;
  let dead = false;
  let revived = false;
  const gone = Promise.withResolvers<never>();
  gone.promise.catch(() => undefined);
  client.intercept = ({ verb }) => {
    if (revived || verb === "watch") return;
    if (++count >= fault) dead = true;
    if (dead) return gone.promise;
    return undefined;
  };
  return {
    reached: () => dead,
    revive: () => {
      revived = true;
      gone.reject(new DOMException("the process is gone", "AbortError"));
    },
  };
}
