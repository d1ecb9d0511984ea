/** Each field of ReplicationSource and ReplicationDestination for itself, where no VolSync runs: what is made with it, and is not without it. docs/volsync-compatibility.md names these tests. */
import { replicationDestinations, replicationSources, volumeSnapshots } from "@drayage/api";
import { formatTime, nullLogger } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { persistentVolumeClaims, secrets } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { apply, requestOf } from "./apply.ts";
import { faultOf } from "./faults.ts";
import { buildMoverPod } from "./mover-pod.ts";
import { observe, triggerOf } from "./observe.ts";
import { DESTINATION, isSource, type Replication, type ReplicationKind, SOURCE } from "./replication-kinds.ts";
import { decide, type Step } from "./synchronization.ts";
import { imageWork, volumeTraces, volumeWork } from "./volumes.ts";

const NS = "shop";
const NOW = Date.UTC(2026, 4, 1, 12, 1);
const DAY_MS = 24 * 3_600_000;

type Fields = Readonly<Record<string, unknown>>;
/** What can be seen of an object's spec somewhere else. */
type See = (object: Replication) => unknown;

function objectOf(kind: ReplicationKind, spec: Fields, status: Fields = {}): Replication {
  const metadata = { namespace: NS, name: "data", uid: "0123456789abcdef", generation: 1, creationTimestamp: formatTime(NOW) };
  return { apiVersion: "volsync.backube/v1alpha1", kind: kind.type.kind, metadata, spec, status } as unknown as Replication;
}
const kindOf = (object: Replication): ReplicationKind => (isSource(object) ? SOURCE : DESTINATION) as unknown as ReplicationKind;
const source = (restic: Fields = {}): Replication =>
  objectOf(SOURCE as unknown as ReplicationKind, { sourcePVC: "data", restic: { repository: "restic-config", copyMethod: "Direct", ...restic } });
const destination = (restic: Fields = {}): Replication =>
  objectOf(DESTINATION as unknown as ReplicationKind, {
    restic: { repository: "restic-config", copyMethod: "Direct", capacity: "1Gi", accessModes: ["ReadWriteOnce"], ...restic },
  });
/** Of another method than restic. */
const withoutRestic = (object: Replication): Replication => {
  const { restic: _, ...spec } = object.spec;
  return { ...object, spec } as Replication;
};

/** `spec.a[].b`: the first of a list. */
function withField(object: Replication, path: string, value: unknown): Replication {
  const changed = structuredClone(object);
  const steps = path.split(".").flatMap((name): (string | number)[] => (name.endsWith("[]") ? [name.slice(0, -2), 0] : [name]));
  let at = changed as unknown as Record<string | number, unknown>;
  for (const [index, step] of steps.slice(0, -1).entries()) {
    at[step] ??= typeof steps[index + 1] === "number" ? [] : {};
    at = at[step] as Record<string | number, unknown>;
  }
  at[steps.at(-1) ?? ""] = value;
  return changed;
}

function world(object: Replication): { client: FakeKubeClient; clock: VirtualClock } {
  const clock = new VirtualClock(NOW);
  const client = new FakeKubeClient({ clock, statusSubresources: ["replicationsources.volsync.backube", "replicationdestinations.volsync.backube"] });
  client.seed(secrets, { metadata: { namespace: NS, name: "restic-config" }, data: { RESTIC_REPOSITORY: "L3JlcG8=", RESTIC_PASSWORD: "c2VjcmV0" } });
  client.seed(persistentVolumeClaims, {
    metadata: { namespace: NS, name: "data" },
    spec: { accessModes: ["ReadWriteOnce"], storageClassName: "csi", resources: { requests: { storage: "1Gi" } } },
  });
  if (isSource(object)) client.seed(replicationSources, object);
  else client.seed(replicationDestinations, object);
  return { client, clock };
}

const pod: See = (object) =>
  buildMoverPod({
    ...{ kind: kindOf(object), object, image: "i", logLevel: "info", attempt: 1, tag: undefined, isPrivileged: false, hostName: "node-1" },
    request: requestOf(object, NOW),
  });
const container: See = (object) => (pod(object) as ReturnType<typeof buildMoverPod>).spec.containers[0];
const request: See = (object) => requestOf(object, NOW);
const requestInTwoDays: See = (object) => requestOf(object, NOW + 2 * DAY_MS);
const trigger: See = triggerOf;
const fault: See = async (object) => ({ fault: await faultOf(world(object).client, object) });
const steps: See = async (object) => {
  const { client, clock } = world(object);
  return { steps: decide(await observe({ client, clock, volSyncRuns: async () => false }, object)).steps.map((step) => step.do) };
};
/** Claims and snapshots that are made for it, by name. */
const made: See = async (object) => {
  const { client } = world(object);
  for (let round = 0; round < 10; round++) {
    const work = await volumeWork(client, object, NOW);
    if (work.state === "act") await work.run();
    else if (work.state === "done") break;
    for (const { metadata } of client.all(volumeSnapshots))
      client.mutate(volumeSnapshots, { namespace: NS, name: metadata.name ?? "" }, (snapshot) => {
        snapshot.status = { readyToUse: true, restoreSize: 2 << 30 };
      });
  }
  const all = [...client.all(persistentVolumeClaims), ...client.all(volumeSnapshots)].filter(({ metadata }) => metadata.name !== "data");
  return Object.fromEntries(all.map((one) => [`${one.kind} ${one.metadata.name}`, one.spec]));
};
/** The status after one step. */
const statusAfter =
  (step: Step): See =>
  async (object) => {
    const { client, clock } = world(object);
    const before = await client.get(kindOf(object).type, { namespace: NS, name: "data" });
    await apply({ client, clock, logger: nullLogger, image: "i", logLevel: "info" }, kindOf(object), before, step);
    return (await client.get(kindOf(object).type, { namespace: NS, name: "data" })).status;
  };
const finished = statusAfter({
  do: "finish",
  mover: { state: "succeeded", tag: undefined, endedMs: NOW, result: { message: "done", logs: "done", pruned: true, unlocked: true } },
});
/** What goes after a synchronization, once a claim was filled and a snapshot made of it. */
const swept: See = async (object) => {
  const { client } = world(object);
  const labels = { "drayage.io/volsync": object.metadata.uid ?? "" };
  client.seed(persistentVolumeClaims, { metadata: { namespace: NS, name: "volsync-data-dest", labels }, spec: {} });
  client.seed(volumeSnapshots, { metadata: { namespace: NS, name: "image", labels }, spec: { source: {} } });
  const image = { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name: "image" };
  const filled = { ...object, status: { latestImage: image } } as Replication;
  return { gone: (await volumeTraces(client, filled)).map(({ object: one }) => one.metadata.name) };
};

const having = (...items: readonly unknown[]): unknown => expect.arrayContaining(items.map((item) => expect.objectContaining(item as object) as unknown));
const volumes = (...items: readonly unknown[]): Fields => ({ spec: { volumes: having(...items) } });
const said = (text: string): Fields => ({ fault: expect.stringContaining(text) as unknown });

type Row = [field: string, value: unknown, see: See, expected: unknown, base?: Replication];
type CommonRow = [field: string, value: unknown, see: See, expected: unknown, base?: (kind: (restic?: Fields) => Replication) => Replication];

async function expectShown(field: string, value: unknown, see: See, expected: unknown, base: Replication): Promise<void> {
  expect(await see(withField(base, field, value))).toMatchObject(expected as object);
  expect(await see(base)).not.toMatchObject(expected as object);
}

it.each<CommonRow>([
  ["spec.trigger.manual", "one", trigger, { kind: "manual", tag: "one" }],
  ["spec.trigger.schedule", "*/15 * * * *", finished, { nextSyncTime: "2026-05-01T12:15:00Z" }],
  ["spec.trigger.schedule", "@daily", finished, { nextSyncTime: "2026-05-02T00:00:00Z" }],
  ["spec.paused", true, steps, { steps: ["setCondition"] }],
  ["spec.external", { provider: "example.com/mover", parameters: { a: "b" } }, steps, { steps: [] }, (kind) => withoutRestic(kind())],
  ["spec.rclone", {}, fault, said('the method "rclone" is served by VolSync'), (kind) => withoutRestic(kind())],
  ["spec.rsync", {}, fault, said('the method "rsync" is served by VolSync'), (kind) => withoutRestic(kind())],
  ["spec.rsyncTLS", {}, fault, said('the method "rsyncTLS" is served by VolSync'), (kind) => withoutRestic(kind())],
  ["spec.restic.repository", "other", pod, volumes({ name: "repository", secret: { secretName: "other" } })],
  ["spec.restic.repository", "other", fault, said('secret "shop/other" of the repository does not exist')],
  [
    "spec.restic.customCA.secretName",
    "ca",
    pod,
    volumes({ name: "custom-ca", secret: { secretName: "ca", items: [{ key: "k", path: "ca.crt" }] } }),
    (kind) => kind({ customCA: { key: "k" } }),
  ],
  [
    "spec.restic.customCA.configMapName",
    "ca",
    pod,
    volumes({ name: "custom-ca", configMap: { name: "ca", items: [{ key: "k", path: "ca.crt" }] } }),
    (kind) => kind({ customCA: { key: "k" } }),
  ],
  [
    "spec.restic.customCA.key",
    "other",
    pod,
    volumes({ name: "custom-ca", secret: { secretName: "ca", items: [{ key: "other", path: "ca.crt" }] } }),
    (kind) => kind({ customCA: { secretName: "ca", key: "k" } }),
  ],
  ["spec.restic.customCA", { secretName: "ca", key: "k" }, fault, said('secret "shop/ca" of spec.restic.customCA does not exist')],
  ["spec.restic.moverAffinity", { nodeAffinity: {} }, pod, { spec: { affinity: { nodeAffinity: {} } } }],
  ["spec.restic.moverPodLabels", { team: "a" }, pod, { metadata: { labels: { team: "a" } } }],
  ["spec.restic.moverResources", { limits: { memory: "1Gi" } }, container, { resources: { limits: { memory: "1Gi" } } }],
  ["spec.restic.moverSecurityContext", { runAsUser: 1000, fsGroup: 1000 }, pod, { spec: { securityContext: { runAsUser: 1000, fsGroup: 1000 } } }],
  ["spec.restic.moverServiceAccount", "mover", pod, { spec: { serviceAccountName: "mover" } }],
  [
    "spec.restic.moverVolumes[].mountPath",
    "nfs",
    container,
    { volumeMounts: having({ name: "mover-0", mountPath: "/mnt/nfs" }) },
    (kind) => kind({ moverVolumes: [{ mountPath: "other", volumeSource: { nfs: { server: "s", path: "/" } } }] }),
  ],
  [
    "spec.restic.moverVolumes[].volumeSource",
    { secret: { secretName: "s" } },
    pod,
    volumes({ name: "mover-0", secret: { secretName: "s" } }),
    (kind) => kind({ moverVolumes: [{ mountPath: "m", volumeSource: { nfs: { server: "s", path: "/" } } }] }),
  ],
])("of either kind: %s as %j", async (field, value, see, expected, base = (kind) => kind()) => {
  for (const kind of [source, destination]) await expectShown(field, value, see, expected, base(kind));
});

const COPY = "PersistentVolumeClaim volsync-data-src";
const SNAPSHOT = "VolumeSnapshot volsync-data-src";
const CACHE = "PersistentVolumeClaim volsync-src-data-cache";
const snapshotted = (): Replication => source({ copyMethod: "Snapshot" });
const size = (storage: string): Fields => ({ resources: { requests: { storage } } });

const FILLED = "PersistentVolumeClaim volsync-data-dest";

it.each<Row>([
  ["spec.sourcePVC", "other", pod, volumes({ name: "data", persistentVolumeClaim: { claimName: "other" } })],
  ["spec.sourcePVC", "other", fault, said('persistent volume claim "shop/other" does not exist')],
  ["spec.syncthing", {}, fault, said('the method "syncthing" is served by VolSync'), withoutRestic(source())],
  ["spec.restic.copyMethod", "Clone", made, { [COPY]: { dataSource: { kind: "PersistentVolumeClaim", name: "data" }, ...size("1Gi") } }],
  ["spec.restic.copyMethod", "Snapshot", made, { [COPY]: { dataSource: { kind: "VolumeSnapshot", name: "volsync-data-src" } }, [SNAPSHOT]: {} }],
  ["spec.restic.copyMethod", "None", pod, volumes({ name: "data", persistentVolumeClaim: { claimName: "data" } }), snapshotted()],
  ["spec.restic.volumeSnapshotClassName", "snap", made, { [SNAPSHOT]: { volumeSnapshotClassName: "snap" } }, snapshotted()],
  ["spec.restic.storageClassName", "shallow", made, { [COPY]: { storageClassName: "shallow" } }, snapshotted()],
  ["spec.restic.accessModes", ["ReadOnlyMany"], made, { [COPY]: { accessModes: ["ReadOnlyMany"] } }, snapshotted()],
  ["spec.restic.capacity", "3Gi", made, { [COPY]: size("3Gi") }, snapshotted()],
  ["spec.restic.cacheCapacity", "5Gi", made, { [CACHE]: { accessModes: ["ReadWriteOnce"], ...size("5Gi") } }],
  ["spec.restic.cacheStorageClassName", "fast", made, { [CACHE]: { storageClassName: "fast", ...size("1Gi") } }],
  ["spec.restic.cacheAccessModes", ["ReadWriteMany"], made, { [CACHE]: { accessModes: ["ReadWriteMany"] } }],
  ["spec.restic.cacheCapacity", "5Gi", pod, volumes({ name: "cache", persistentVolumeClaim: { claimName: "volsync-src-data-cache" } })],
  ["spec.restic.pruneIntervalDays", 1, requestInTwoDays, { prune: true }],
  ["spec.restic.unlock", "now", request, { unlock: true }],
  ["spec.restic.retain.hourly", 2, request, { retain: { hourly: 2 } }],
  ["spec.restic.retain.daily", 3, request, { retain: { daily: 3 } }],
  ["spec.restic.retain.weekly", 4, request, { retain: { weekly: 4 } }],
  ["spec.restic.retain.monthly", 5, request, { retain: { monthly: 5 } }],
  ["spec.restic.retain.yearly", 6, request, { retain: { yearly: 6 } }],
  ["spec.restic.retain.within", "3d12h", request, { retain: { within: "3d12h" } }],
  ["spec.restic.retain.last", "7", request, { retain: { last: "7" } }],
  ["spec.restic.retain.last", "--prune", fault, said("a number is wanted")],
])("of a ReplicationSource: %s as %j", async (field, value, see, expected, base = source()) => expectShown(field, value, see, expected, base));

it.each<Row>([
  ["spec.restic.destinationPVC", "data", pod, volumes({ name: "data", persistentVolumeClaim: { claimName: "data" } })],
  ["spec.restic.destinationPVC", "other", fault, said('persistent volume claim "shop/other" does not exist')],
  ["spec.restic.copyMethod", "Snapshot", finished, { latestImage: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot" } }],
  ["spec.restic.copyMethod", "Clone", fault, said("Direct or Snapshot is wanted for a destination")],
  ["spec.restic.storageClassName", "fast", made, { [FILLED]: { storageClassName: "fast" } }],
  ["spec.restic.accessModes", ["ReadWriteMany"], made, { [FILLED]: { accessModes: ["ReadWriteMany"] } }],
  ["spec.restic.accessModes", [], fault, said("spec.restic.capacity and spec.restic.accessModes are wanted")],
  ["spec.restic.capacity", "3Gi", made, { [FILLED]: size("3Gi") }],
  ["spec.restic.previous", 2, request, { previous: 2 }],
  ["spec.restic.restoreAsOf", "2026-05-01T00:00:00Z", request, { restoreAsOf: "2026-05-01T00:00:00Z" }],
  ["spec.restic.cleanupTempPVC", true, swept, { gone: ["volsync-data-dest"] }],
  ["spec.restic.enableFileDeletion", true, request, { deleteOthers: true }],
])("of a ReplicationDestination: %s as %j", async (field, value, see, expected, base = destination()) => expectShown(field, value, see, expected, base));

it("a snapshot's class is that of spec.restic.volumeSnapshotClassName for a destination too", async () => {
  const object = destination({ copyMethod: "Snapshot", volumeSnapshotClassName: "snap" });
  const { client, clock } = world(object);
  const work = await imageWork(client, object, "volsync-data-dest", clock.nowMs());
  if (work.state === "act") await work.run();
  expect(client.all(volumeSnapshots)).toMatchObject([
    { spec: { volumeSnapshotClassName: "snap", source: { persistentVolumeClaimName: "volsync-data-dest" } } },
  ]);
});

it.each(["cacheCapacity", "cacheStorageClassName", "cacheAccessModes", "cleanupCachePVC"])(
  "a destination has no cache, so that %s makes no claim and leaves none",
  async (field) => {
    const values: Fields = { cacheCapacity: "1Gi", cacheStorageClassName: "fast", cacheAccessModes: ["ReadWriteMany"], cleanupCachePVC: true };
    const object = destination({ [field]: values[field] });
    expect(Object.keys((await made(object)) as object)).toEqual([FILLED]);
    expect(pod(object)).toMatchObject(volumes({ name: "cache", emptyDir: {} }));
  },
);

it("an unlock that was done is not asked for again", () => {
  const object = source({ unlock: "now" });
  expect(requestOf({ ...object, status: { restic: { lastUnlocked: "now" } } } as Replication, NOW)).toMatchObject({ unlock: false });
});

describe("the status", () => {
  const began = formatTime(NOW - 65_000);
  const during = (object: Replication): Replication => ({ ...object, status: { ...object.status, lastSyncStartTime: began } }) as Replication;
  const ended = (object: Replication, tag?: string): Promise<Fields> =>
    statusAfter({
      do: "finish",
      mover: { state: "succeeded", tag, endedMs: NOW, result: { message: "done", logs: "all of it", pruned: true, unlocked: true } },
    })(during(object)) as Promise<Fields>;

  it.each([
    ["ReplicationSource", source],
    ["ReplicationDestination", destination],
  ] as const)("of a %s has the beginning of what runs, and afterwards its end", async (_, object) => {
    expect(await statusAfter({ do: "start" })(object())).toMatchObject({
      lastSyncStartTime: formatTime(NOW),
      conditions: [{ type: "Synchronizing", status: "True", reason: "SyncInProgress", message: "Synchronization in-progress", observedGeneration: 1 }],
    });
    const status = await ended(object(), "one");
    expect(status).toMatchObject({
      lastSyncTime: formatTime(NOW),
      lastSyncDuration: "1m5s",
      lastManualSync: "one",
      latestMoverStatus: { result: "Successful", logs: "all of it" },
      conditions: [{ type: "Synchronizing", status: "False", reason: "CleaningUp", lastTransitionTime: formatTime(NOW) }],
    });
    expect(status["lastSyncStartTime"]).toBeUndefined();
    // Of a schedule alone.
    expect(status["nextSyncTime"]).toBeUndefined();
  });

  it("of a ReplicationSource has when it pruned, and the tag that it unlocked for", async () => {
    expect(await ended(source({ unlock: "now" }))).toMatchObject({ restic: { lastPruned: formatTime(NOW), lastUnlocked: "now" } });
  });

  it("of a ReplicationDestination has the image of what arrived", async () => {
    expect(await ended(destination())).toMatchObject({ latestImage: { apiGroup: "", kind: "PersistentVolumeClaim", name: "volsync-data-dest" } });
    const name = "volsync-data-dest-20260501115955";
    expect(await ended(destination({ copyMethod: "Snapshot" }))).toMatchObject({
      latestImage: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name },
    });
  });

  it.each(["external", "rsync", "rsyncTLS", "syncthing"])("keeps what others wrote: %s", async (field) => {
    const object = { ...source(), status: { [field]: { a: "b" } } } as unknown as Replication;
    expect(await ended(object)).toMatchObject({ [field]: { a: "b" } });
  });

  it("has the failure of a mover, the last of its log", async () => {
    const result = { message: "the disk is full", logs: `${"x".repeat(2_000)}the disk is full` };
    const status = (await statusAfter({ do: "recordFailure", result })(source())) as { latestMoverStatus: { result: string; logs: string } };
    expect(status.latestMoverStatus).toMatchObject({ result: "Failed", logs: expect.stringMatching(/^x{1008}the disk is full$/) as unknown });
  });
});
