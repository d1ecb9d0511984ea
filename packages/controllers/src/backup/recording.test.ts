/**
 * Our backup and restore beside those of a real Velero 1.18.3 (test/fixtures/velero-1.18.3, made by tools/import-velero-recording.ts): the same cluster, the same Backup, the same
 * Restore, compared field by field. What differs on purpose is listed with its reason; a reason without a difference fails as well.
 */
import { type Backup, backups, type DataUpload, dataUploads, type Restore, restores, volumeSnapshots } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { type GenericObject, type KubeObject, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods, type ResourceType } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, describe, expect, it } from "vitest";
import { startBackupOperationsController } from "../backup-operations/backup-operations-controller.ts";
import type { BackupVolumeInfo, ItemOperation, OperationResults } from "../ports.ts";
import { startRestoreController } from "../restore/restore-controller.ts";
import { startRestoreOperationsController } from "../restore-operations/restore-operations-controller.ts";
import { differences, type MeantDifference, unexplained, withoutNames } from "../testing/differences.ts";
import { MemoryBackupStore } from "../testing/memory-backup-store.ts";
import { createMemorySpool } from "../testing/memory-spool.ts";
import {
  backupIn,
  completedUpload,
  emptyCluster,
  endDownloads,
  endUploads,
  NAMESPACE,
  type RecordedCluster,
  type RecordedItem,
  recorded,
  recordedBackup,
  recordedCluster,
  recordedItems,
  recordedPodVolumeBackups,
  refOf,
  restoreIn,
} from "../testing/recorded-cluster.ts";
import { type RunningController, startBackupController } from "./backup-controller.ts";

interface Files {
  readonly backup: Backup;
  readonly itemOperations: ItemOperation[];
  readonly resourceList: Record<string, string[]>;
  readonly results: OperationResults;
  readonly volumeInfos: BackupVolumeInfo[];
}

interface WrittenRequest {
  readonly verb: string;
  readonly uri: string;
  readonly request: GenericObject;
}

interface Stage {
  readonly labels?: Record<string, string>;
  readonly annotations?: Record<string, string>;
  readonly finalizers?: string[];
  readonly spec: Record<string, unknown>;
  readonly status?: { readonly phase?: string };
}

const running: RunningController[] = [];
afterEach(async () => {
  for (const controller of running.splice(0)) await controller.stop();
});

/** Keeps what is created, as it is sent. */
function keepCreated(client: FakeKubeClient): KubeObject[] {
  const created: KubeObject[] = [];
  const create = client.create.bind(client);
  client.create = <T extends KubeObject>(type: ResourceType<T>, object: T, options?: Parameters<typeof create>[2]): Promise<T> => {
    created.push(structuredClone(object));
    return create(type, object, options);
  };
  return created;
}

/** Stages of an object, without repetitions. */
function keepStages<T extends KubeObject>(client: FakeKubeClient, type: ResourceType<T>): T[] {
  const stages: T[] = [];
  client.react(type, (_before, after) => {
    if (after !== undefined) stages.push(structuredClone(after));
  });
  return stages;
}

function stageOf(object: KubeObject): Stage {
  const { metadata, spec, status } = object as KubeObject & Stage;
  return JSON.parse(JSON.stringify({ labels: metadata.labels, annotations: metadata.annotations, finalizers: metadata.finalizers, spec, status })) as Stage;
}

function start(cluster: RecordedCluster, store: MemoryBackupStore): void {
  const { client, clock, discovery } = cluster;
  const deps = { client, clock, discovery, random: seededRandom(3), logger: nullLogger, namespace: NAMESPACE, stores: store, newSpool: createMemorySpool };
  running.push(
    startBackupController(deps),
    startBackupOperationsController(deps),
    startRestoreController({ ...deps, helperImage: "drayage/dray:test" }),
    startRestoreOperationsController(deps),
  );
}

/** The phases that an object went through. */
function phases(stages: readonly { readonly status?: { readonly phase?: string } }[]): string[] {
  return stages.map(({ status }) => status?.phase ?? "").filter((phase, index, all) => phase !== all[index - 1]);
}

describe("backup second", () => {
  async function run() {
    const cluster = recordedCluster({ readsVolume: true });
    const store = new MemoryBackupStore();
    const { client } = cluster;
    const created = keepCreated(client);
    const stages = keepStages(client, backups);
    start(cluster, store);
    const theirs = recorded<Stage[]>("second-stages.json");
    const first = theirs[0];
    const { uid } = recorded<Files>("second-files.json").backup.metadata;
    client.seed<Backup>(backups, {
      metadata: {
        name: "second",
        namespace: NAMESPACE,
        ...(uid === undefined ? {} : { uid }),
        ...(first?.labels === undefined ? {} : { labels: first.labels }),
      },
      spec: (first?.spec ?? {}) as Backup["spec"],
    });
    await backupIn(cluster, "second", "WaitingForPluginOperations");
    const atFirst = store.items("second").map(({ ref }) => ref.groupResource);
    const theirUploads = recordedItems().flatMap(({ object }) => (object.kind === "DataUpload" ? [object as unknown as DataUpload] : []));
    endUploads(client, (upload) => theirUploads.find(({ spec }) => spec.sourcePVC === upload.spec.sourcePVC)?.status ?? completedUpload(upload));
    await backupIn(cluster, "second", "Completed");
    return { cluster, store, client, created, stages: stages.map(stageOf), theirs, atFirst };
  }

  it("goes through the same phases, and fills in the same defaults, labels and annotations", async () => {
    const { stages, theirs } = await run();
    expect(phases(stages)).toEqual(phases(theirs));
    const last = (all: readonly Stage[], phase: string): Stage | undefined => all.findLast(({ status }) => status?.phase === phase);
    const version: MeantDifference = { at: /^annotations\.velero\.io\/source-cluster-k8s-gitversion$/, why: "the test's cluster is of another patch release" };
    const meant: Record<string, readonly MeantDifference[]> = {
      InProgress: [version, { at: /^status\.progress\./, why: "all but one of the recording's Events are left out of the fixture" }],
      Completed: [
        version,
        { at: /^status\.progress\./, why: "all but one of the recording's Events are left out of the fixture" },
        { at: /^status\.completionTimestamp$/, why: "the clock stands still here" },
      ],
    };
    for (const phase of ["Queued", "ReadyToStart", "InProgress", "Completed"]) {
      expect(unexplained(differences(last(stages, phase), last(theirs, phase)), meant[phase] ?? []), phase).toEqual([]);
    }
  });

  it("creates the same VolumeSnapshots, DataUploads and PodVolumeBackups", async () => {
    const { created } = await run();
    const theirs = recorded<WrittenRequest[]>("second-requests.json").filter(({ verb }) => verb === "create");
    for (const kind of ["VolumeSnapshot", "DataUpload", "PodVolumeBackup"]) {
      const byClaim = (objects: readonly KubeObject[]): Record<string, unknown> =>
        Object.fromEntries(
          objects
            .filter((object) => object.kind === kind)
            .map((object) => {
              const { spec } = object as unknown as {
                spec: { volume?: string; sourcePVC?: string; source?: { persistentVolumeClaimName: string }; csiSnapshot?: { volumeSnapshot: string } };
              };
              if (spec.csiSnapshot !== undefined) spec.csiSnapshot.volumeSnapshot = spec.csiSnapshot.volumeSnapshot.replace(/-[a-z0-9]{5}$/, "-<random>");
              return [spec.volume ?? spec.sourcePVC ?? spec.source?.persistentVolumeClaimName, object];
            }),
        );
      const meant: MeantDifference[] = [];
      if (kind === "VolumeSnapshot")
        meant.push({ at: /^\w+\.metadata\.labels\.velero\.io\/backup-uid$/, why: "by it a deletion knows the backup's own, whatever clocks say" });
      if (kind !== "VolumeSnapshot") meant.push({ at: /^\w+\.status$/, why: "an empty status says nothing" });
      expect(unexplained(differences(byClaim(created), byClaim(theirs.map(({ request }) => request))), meant), kind).toEqual([]);
    }
  });

  it("writes the same items into the tarball, each as Velero wrote it", async () => {
    const { store, client, atFirst } = await run();
    const names: Record<string, string> = {};
    for (const snapshot of client.all(volumeSnapshots)) names[snapshot.metadata.name ?? ""] = `<snapshot of ${snapshot.spec.source.persistentVolumeClaimName}>`;
    for (const upload of client.all(dataUploads)) names[upload.metadata.name ?? ""] = `<upload of ${upload.spec.sourcePVC}>`;
    for (const { object } of recordedItems()) {
      const upload = object as unknown as DataUpload;
      if (object.kind !== "DataUpload") continue;
      names[upload.metadata.name ?? ""] = `<upload of ${upload.spec.sourcePVC}>`;
      names[upload.spec.csiSnapshot?.volumeSnapshot ?? ""] = `<snapshot of ${upload.spec.sourcePVC}>`;
    }
    const keyed = (items: readonly { readonly groupResource: string; readonly object: GenericObject }[]): Record<string, GenericObject> =>
      Object.fromEntries(
        items.map(({ groupResource, object }) => [`${groupResource}/${withoutNames(object.metadata.name ?? "", names)}`, withoutNames(object, names)]),
      );
    const ours = keyed(store.items("second").map(({ ref, object }) => ({ groupResource: ref.groupResource, object })));
    const theirs = keyed(recordedItems().map(({ path, object }: RecordedItem) => ({ groupResource: refOf(path, object).groupResource, object })));
    expect(
      unexplained(differences(ours, theirs), [
        {
          at: /\.metadata\.(resourceVersion|generation)$|^datauploads\.velero\.io\/<upload of (files|disk)>\.metadata\.uid$/,
          why: "every API server counts and numbers its own",
        },
      ]),
    ).toEqual([]);
    // Velero puts the DataUploads into the tarball when they have ended, and so do we.
    expect(atFirst).not.toContain("datauploads.velero.io");
  });

  it("writes the same lists beside the tarball", async () => {
    const { store, client } = await run();
    const files = store.backups.get("second");
    const theirs = recorded<Files>("second-files.json");
    const names: Record<string, string> = {};
    for (const snapshot of client.all(volumeSnapshots)) names[snapshot.metadata.name ?? ""] = `<snapshot of ${snapshot.spec.source.persistentVolumeClaimName}>`;
    for (const upload of client.all(dataUploads)) names[upload.metadata.name ?? ""] = `<upload of ${upload.spec.sourcePVC}>`;
    for (const info of theirs.volumeInfos) names[info.snapshotDataMovementInfo?.retainedSnapshot ?? "<none>"] = `<snapshot of ${info.pvcName}>`;
    for (const { spec } of theirs.itemOperations) names[spec.postOperationItems?.[0]?.Name ?? "<none>"] = `<upload of ${spec.resourceIdentifier.Name}>`;
    const shape = (list: Pick<Files, "itemOperations" | "volumeInfos" | "resourceList" | "results">) =>
      withoutNames(
        {
          operations: Object.fromEntries(list.itemOperations.map((operation) => [operation.spec.resourceIdentifier.Name, operation])),
          volumes: Object.fromEntries(list.volumeInfos.map((info) => [info.pvcName, info])),
          resources: list.resourceList,
          results: list.results,
        },
        names,
      );
    const ours = shape({
      itemOperations: [...(files?.itemOperations ?? [])],
      volumeInfos: [...(files?.volumeInfos ?? [])],
      resourceList: structuredClone(files?.resourceList ?? {}) as Record<string, string[]>,
      results: files?.results ?? { errors: {}, warnings: {} },
    });
    expect(
      unexplained(differences(ours, shape(theirs)), [
        { at: /^resources\.v1\/Event/, why: "all but one of the recording's Events are left out of the fixture" },
        { at: /^volumes\.disk\.startTimestamp$/, why: "a start that came after the backup proper is recorded as well" },
      ]),
    ).toEqual([]);
    const [read] = files?.podVolumeBackups ?? [];
    const [theirRead] = recordedPodVolumeBackups();
    expect(read?.["spec"]).toEqual(theirRead?.["spec"]);
    expect(read?.["status"]).toEqual({ ...(theirRead?.["status"] as object), path: `/${read?.metadata.uid}` });
    expect(files?.volumeSnapshots).toBeNull();
  });
});

describe("restore back", () => {
  async function run() {
    const cluster = emptyCluster();
    const store = new MemoryBackupStore();
    const { client } = cluster;
    await recordedBackup(cluster, store);
    const created = keepCreated(client);
    const stages = keepStages(client, restores);
    start(cluster, store);
    const theirs = recorded<Stage[]>("back-stages.json");
    const requests = recorded<WrittenRequest[]>("back-requests.json");
    const uid = requests.find(({ request }) => request.kind === "DataDownload")?.request.metadata.ownerReferences?.[0]?.uid;
    client.seed<Restore>(restores, {
      metadata: { name: "back", namespace: NAMESPACE, ...(uid === undefined ? {} : { uid }) },
      spec: (theirs[0]?.spec ?? {}) as Restore["spec"],
    });
    await restoreIn(cluster, "back", "WaitingForPluginOperations");
    for (const { metadata } of client.all(persistentVolumeClaims)) {
      client.mutate<PersistentVolumeClaim>(persistentVolumeClaims, { namespace: metadata.namespace, name: metadata.name ?? "" }, (claim) => {
        claim.status = { phase: "Bound" };
      });
    }
    for (const { metadata } of client.all(pods)) {
      client.mutate<Pod>(pods, { namespace: metadata.namespace, name: metadata.name ?? "" }, (pod) => {
        pod.status = {
          phase: "Running",
          containerStatuses: pod.spec.containers.map(({ name }) => ({ name, ready: true, restartCount: 0, state: { running: {} } })),
        };
      });
    }
    endDownloads(client, {
      phase: "Completed",
      progress: { bytesDone: 4194304, totalBytes: 4194304 },
      startTimestamp: "2026-11-21T04:12:09Z",
      completionTimestamp: "2026-11-21T04:12:23Z",
    });
    await restoreIn(cluster, "back", "Completed");
    return { cluster, store, client, created, stages: stages.map(stageOf), theirs, requests };
  }

  it("fills in the same fields and sets the same finalizer", async () => {
    const { stages, theirs } = await run();
    const inProgress = (all: readonly Stage[]): Stage | undefined => all.find(({ status }) => status?.phase === "InProgress");
    expect(
      unexplained(differences(inProgress(stages), inProgress(theirs)), [{ at: /^status\.startTimestamp$/, why: "this restore is run at another time" }]),
    ).toEqual([]);
    expect(
      unexplained(differences(stages.at(-1), theirs.at(-1)), [
        { at: /^status\.(startTimestamp|completionTimestamp)$/, why: "this restore is run at another time" },
        {
          at: /^status\.warnings$/,
          why: "an object that is the same as in the backup, but for who manages its fields, is no warning (and no other controller acts here)",
        },
      ]),
    ).toEqual([]);
  });

  it("creates the same objects", async () => {
    const { created, requests } = await run();
    const keyed = (objects: readonly KubeObject[]): Record<string, KubeObject> =>
      Object.fromEntries(
        objects.map((object) => {
          const { kind, metadata } = object;
          const { spec } = object as unknown as { spec?: { targetVolume?: { pvc: string }; selector?: { matchLabels?: Record<string, string> } } };
          const marks = spec?.selector?.matchLabels;
          if (marks?.["velero.io/dynamic-pv-restore"] !== undefined)
            marks["velero.io/dynamic-pv-restore"] = marks["velero.io/dynamic-pv-restore"].replace(/\.[a-z0-9]{5}$/, ".<random>");
          return [`${kind}/${metadata.name ?? spec?.targetVolume?.pvc ?? metadata.generateName}`, object];
        }),
      );
    const theirs = requests.filter(({ verb, request }) => verb === "create" && request.kind !== "Restore").map(({ request }) => request);
    expect(
      unexplained(differences(keyed(created), keyed(theirs)), [
        { at: /\.status$/, why: "a status is not ours to create; the recording shows requests as the API server decoded them" },
        { at: /^Namespace\/notes-2\.(spec|metadata\.labels)/, why: "the API server sets these itself, and the recording shows requests as it decoded them" },
        { at: /^(ServiceAccount\/default|ConfigMap\/kube-root-ca\.crt)$/, why: "a real cluster makes these by itself, so that Velero found them there" },
        { at: /^(Endpoints\/web|EndpointSlice\/web-vq8lp)$/, why: "the recording leaves these requests out" },
        {
          at: /^PersistentVolumeClaim\/\w+\.metadata\.annotations\.backup\.velero\.io\/must-include-additional-items$/,
          why: "the note was for the backup and is stripped",
        },
        {
          at: /^Pod\/web-5689f8c9c9-9vcsp\.spec\.initContainers\[0\]\.(image|resources|securityContext|terminationMessage|.*fieldRef\.apiVersion)/,
          why: "it is our image, with what it needs, and runs as the application does, which may look into its volumes; the recording shows requests as the API server decoded them",
        },
        { at: /^ConfigMap\/second-\w+-\.metadata\.ownerReferences$/, why: "they go with a restore that is deleted while it runs; Velero's stay behind" },
        { at: /^PodVolumeRestore\/.*\.(uid|labels\.velero\.io\/(pod|pvc)-uid)$/, why: "every API server makes UIDs of its own" },
      ]),
    ).toEqual([]);
  });

  it("writes the same files", async () => {
    const { store } = await run();
    const theirs = recorded<Files & { volumeInfos: (BackupVolumeInfo & { pvName: string })[] }>("back-files.json");
    const files = store.restores.get("back");
    const shape = (list: { itemOperations: readonly ItemOperation[]; volumeInfos: readonly Record<string, unknown>[]; resourceList: unknown }) =>
      withoutNames(
        {
          operations: Object.fromEntries(list.itemOperations.map((operation) => [operation.spec.resourceIdentifier.Name, operation])),
          volumes: Object.fromEntries(list.volumeInfos.map((info) => [String(info["pvcName"]), info])),
          resources: list.resourceList,
        },
        {},
      );
    const ours = shape({ itemOperations: files?.itemOperations ?? [], volumeInfos: files?.volumeInfos ?? [], resourceList: files?.resourceList });
    expect(
      unexplained(differences(ours, shape({ ...theirs, volumeInfos: theirs.volumeInfos as unknown as Record<string, unknown>[] })), [
        { at: /^operations\.files\.status\.(nCompleted|nTotal)$/, why: "all DataDownloads are ended with the same figures here" },
        { at: /^volumes\.(files|disk|fsb)\.pvName$/, why: "no mover makes volumes here" },
        { at: /^volumes\.((files|disk)\.snapshotDataMovementInfo\.(size|Phase)|fsb\.pvrInfo\.Phase)$/, why: "what is known is recorded" },
        { at: /^resources\.v1\/(ConfigMap|ServiceAccount)\[0\]$/, why: "a real cluster makes these by itself, so that Velero found them there" },
      ]),
    ).toEqual([]);
  });
});
