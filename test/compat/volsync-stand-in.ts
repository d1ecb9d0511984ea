/**
 * A VolSync for one test: its two kinds, served by pods in which the real restic runs, as VolSync's movers run it. What of VolSync's own the data mover of OADP 1.2 relies on is here
 * and nothing more: the manual trigger, the repository's Secret as environment, the host name and the path of its snapshots, and the snapshot that a destination ends with.
 */
import { type ReplicationDestination, type ReplicationSource, replicationDestinations, replicationSources, volumeSnapshots } from "@drayage/api";
import { formatTime, nullLogger, systemClock, systemRandom } from "@drayage/base";
import {
  type ConnectedClient,
  controllerReference,
  keyOf,
  type Pod,
  type parseKey,
  persistentVolumeClaims,
  pods,
  source,
  startController,
  startInformer,
} from "@drayage/kube";

export const RESTIC_IMAGE = "volsync-restic";

type Moved = ReplicationSource | ReplicationDestination;

/** Serves every namespace until stopped. */
export function startVolSyncStandIn(client: ConnectedClient): { stop(): Promise<void> } {
  const common = { client, clock: systemClock, random: systemRandom, logger: nullLogger };
  const sources = startInformer<ReplicationSource>(replicationSources, common);
  const destinations = startInformer<ReplicationDestination>(replicationDestinations, common);
  const controllers = [
    startController({ ...common, name: "sources", sources: [source(sources)], reconcile: async (key) => look(() => backUp(client, key)) }),
    startController({ ...common, name: "destinations", sources: [source(destinations)], reconcile: async (key) => look(() => restore(client, key)) }),
  ];
  return {
    async stop() {
      for (const controller of controllers) await controller.stop();
      sources.stop();
      destinations.stop();
    },
  };
}

async function look(work: () => Promise<"over" | "under way">): Promise<{ requeueAfterMs?: number }> {
  return (await work()) === "over" ? {} : { requeueAfterMs: 300 };
}

async function backUp(client: ConnectedClient, key: ReturnType<typeof parseKey>): Promise<"over" | "under way"> {
  const found = await client.find(replicationSources, key);
  if (found === undefined || found.status?.lastManualSync !== undefined) return "over";
  const { sourcePVC = "", restic, trigger } = found.spec;
  // An empty volume has no snapshot, as VolSync has it.
  const script =
    'restic cat config >/dev/null 2>&1 || restic init; cd /data; [ -z "$(ls -A . | grep -vx lost+found)" ] || restic backup --host volsync --exclude lost+found .';
  const pod = await ensurePod(client, found, { name: `volsync-src-${key.name}`, claim: sourcePVC, secret: restic?.repository ?? "", script });
  return settle(client, replicationSources, found, pod, trigger?.manual ?? "", async () => ({}));
}

async function restore(client: ConnectedClient, key: ReturnType<typeof parseKey>): Promise<"over" | "under way"> {
  const found = await client.find(replicationDestinations, key);
  if (found === undefined || found.status?.lastManualSync !== undefined) return "over";
  const { restic, trigger } = found.spec;
  const name = `volsync-${key.name}-dest`;
  const claimKey = { namespace: key.namespace ?? "", name };
  const metadata = { ...claimKey, ownerReferences: [controllerReference(replicationDestinations, found)] };
  if ((await client.find(persistentVolumeClaims, claimKey)) === undefined) {
    await client.create(persistentVolumeClaims, {
      apiVersion: "v1",
      kind: "PersistentVolumeClaim",
      metadata,
      spec: {
        accessModes: [...(restic?.accessModes ?? [])],
        resources: { requests: { storage: String(restic?.capacity ?? "") } },
        ...(restic?.storageClassName === undefined ? {} : { storageClassName: restic.storageClassName }),
      },
    });
  }
  const script = "restic snapshots --json | grep -q '\"id\"' || exit 0; cd /data; restic restore latest --target .";
  const pod = await ensurePod(client, found, { name: `volsync-dst-${key.name}`, claim: name, secret: restic?.repository ?? "", script });
  return settle(client, replicationDestinations, found, pod, trigger?.manual ?? "", async () => {
    if ((await client.find(volumeSnapshots, claimKey)) === undefined) {
      const className = restic?.volumeSnapshotClassName;
      await client.create(volumeSnapshots, {
        apiVersion: "snapshot.storage.k8s.io/v1",
        kind: "VolumeSnapshot",
        metadata,
        spec: { source: { persistentVolumeClaimName: name }, ...(className === undefined ? {} : { volumeSnapshotClassName: className }) },
      });
    }
    return { latestImage: { apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot", name } };
  });
}

/** What the status says once the pod has ended. */
async function settle<T extends Moved>(
  client: ConnectedClient,
  type: typeof replicationSources | typeof replicationDestinations,
  object: T,
  pod: Pod,
  manual: string,
  finish: () => Promise<Record<string, unknown>>,
): Promise<"over" | "under way"> {
  const phase = pod.status?.phase;
  const now = formatTime(systemClock.nowMs());
  const condition = (status: string, reason: string) => [{ type: "Synchronizing", status, reason, message: "", lastTransitionTime: now }];
  const tell = (status: Record<string, unknown>) => client.patchStatus(type as typeof replicationSources, keyOf(object), "merge", { status });
  if (phase === "Failed") {
    await tell({ latestMoverStatus: { result: "Failed", logs: pod.status?.containerStatuses?.[0]?.state?.terminated?.message ?? "" } });
    return "over";
  }
  if (phase !== "Succeeded") {
    if (object.status?.conditions === undefined) await tell({ lastSyncStartTime: now, conditions: condition("True", "SyncInProgress") });
    return "under way";
  }
  const more = await finish();
  await tell({
    ...more,
    lastSyncTime: now,
    lastManualSync: manual,
    latestMoverStatus: { result: "Successful" },
    conditions: condition("False", "WaitingForManual"),
  });
  return "over";
}

async function ensurePod(
  client: ConnectedClient,
  owner: Moved,
  { name, claim, secret, script }: Record<"name" | "claim" | "secret" | "script", string>,
): Promise<Pod> {
  const { namespace } = owner.metadata;
  const found = await client.find(pods, { namespace, name });
  if (found !== undefined) return found;
  const type = owner.kind === "ReplicationSource" ? replicationSources : replicationDestinations;
  return client.create<Pod>(pods, {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace, name, ownerReferences: [controllerReference(type as typeof replicationSources, owner as ReplicationSource)] } as Pod["metadata"],
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      containers: [
        {
          name: "restic",
          image: RESTIC_IMAGE,
          imagePullPolicy: "IfNotPresent",
          command: ["/bin/sh", "-ec", script],
          envFrom: [{ secretRef: { name: secret } }],
          env: [{ name: "RESTIC_CACHE_DIR", value: "/tmp/restic-cache" }],
          terminationMessagePolicy: "FallbackToLogsOnError",
          volumeMounts: [{ name: "data", mountPath: "/data" }],
        },
      ],
      volumes: [{ name: "data", persistentVolumeClaim: { claimName: claim } }],
    },
  });
}
