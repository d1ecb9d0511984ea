/**
 * A cluster with Drayage in it, in memory and under a virtual clock: an application, storage, nodes with agents, two servers of which one leads, and a bucket. The controllers are the
 * real ones; each process has its own way to the API server, its own clock, and may end anywhere.
 */
import {
  type BackupRepository,
  type BackupStorageLocation,
  backupStorageLocations,
  type DataUpload,
  dataUploads,
  type PodVolumeBackup,
  podVolumeBackups,
  USER_RESTIC_SECRET,
  type VolumeSnapshotClass,
  type VolumeSnapshotContent,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, formatTime, nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import {
  type Discovery,
  fixedDiscovery,
  type Job,
  jobs,
  keyOf,
  type Lease,
  leases,
  namespaces,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  runAsLeader,
  secrets,
  storageClasses,
} from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { dataMoverClaims } from "../../data-movement/data-movers.ts";
import { startNodeAgent } from "../../data-movement/node-agent.ts";
import type { RepositoryService } from "../../ports.ts";
import { MemoryBackupStore } from "../memory-backup-store.ts";
import { NAMESPACE, servedResources } from "../recorded-cluster.ts";
import { SimulatedNodes } from "../simulated-nodes.ts";
import { SimulatedStorage } from "../simulated-storage.ts";
import type { Cast } from "./cast.ts";
import { Draw } from "./draw.ts";
import { FaultyLink, type LinkFaults, NO_FAULTS } from "./faulty-link.ts";
import { IMAGE, MOVER_ACCOUNT, runServerControllers } from "./server-controllers.ts";
import { SimulatedGroups } from "./simulated-groups.ts";
import { isVendorPod, SimulatedVendor, vendorResources } from "./simulated-vendor.ts";
import { SimulatedVolSync, volSyncResources } from "./simulated-volsync.ts";

export const APPLICATION = "notes";
export const NODES = ["node-1", "node-2", "node-3"];
const SERVERS = ["server-a", "server-b"];
const CLAIMS = ["files", "more"];
const RESTART_MS = 5_000;
/** Kinds of others whose status is written by itself. */
const WITH_STATUS = [
  ...["datamovers.drayage.io", "replicationsources.volsync.backube", "replicationdestinations.volsync.backube"],
  ...["volumesnapshotbackups.datamover.oadp.openshift.io", "volumesnapshotrestores.datamover.oadp.openshift.io"],
];

interface Process {
  readonly name: string;
  readonly link: FaultyLink;
  /** Ends it in order; what is left of one that was killed reaches nobody. */
  stop(): void;
  readonly ended: Promise<void>;
}

export interface SimulatedInstallationOptions {
  readonly seed: number;
  /** Creations that are always refused. */
  readonly forbidden?: ReadonlySet<string>;
  /** Nobody beside us when left out. */
  readonly cast?: Cast;
}

export class SimulatedInstallation {
  readonly clock = new VirtualClock(Date.UTC(2026, 10, 21, 4, 0, 0));
  readonly client: FakeKubeClient;
  readonly store = new MemoryBackupStore();
  readonly storage: SimulatedStorage;
  readonly nodes: SimulatedNodes;
  readonly cast: Cast;
  readonly vendor: SimulatedVendor | undefined;
  readonly volSync: SimulatedVolSync | undefined;
  /** A webhook that does not let through what is written of this resource, until it is taken away. */
  webhook: { readonly resource: string; readonly answers: "no" | "nothing" } | undefined;
  /** What happens on the ways to the API server from now on. */
  faults: LinkFaults = NO_FAULTS;
  /** Requests of all processes. */
  calls = 0;
  /** What must never happen and did. */
  readonly violations: string[] = [];
  readonly #options: SimulatedInstallationOptions;
  readonly #draw: Draw;
  readonly #discovery: Discovery;
  readonly #processes = new Map<string, Process>();
  /** When a process that has ended is started again. */
  readonly #restarts = new Map<string, number>();
  readonly #skews = new Map<string, number>();
  readonly #leading = new Set<string>();
  #snapshots = 0;

  constructor(options: SimulatedInstallationOptions) {
    this.#options = options;
    const { seed, cast = "ours" } = options;
    this.cast = cast;
    this.#draw = new Draw(seededRandom(seed * 7 + 1));
    this.client = new FakeKubeClient({ clock: this.clock, random: seededRandom(seed * 7 + 2), statusSubresources: WITH_STATUS });
    this.storage = new SimulatedStorage(this.client, { kubelet: "waits", repositories: "waits" });
    this.nodes = new SimulatedNodes({
      client: this.client,
      clock: this.clock,
      random: seededRandom(seed * 7 + 3),
      wallMs: (name) => this.#clockOf(name).nowMs(),
      names: NODES,
      workTicksMax: 20,
      isProgram: isVendorPod,
    });
    this.#discovery = fixedDiscovery([...servedResources, ...vendorResources, ...volSyncResources]);
    this.#seedCluster();
    this.vendor = cast === "others" ? this.#inviteOthers(seed) : undefined;
    this.volSync = cast === "volsync" ? this.#inviteVolSync(seed) : undefined;
    this.client.react(volumeSnapshots, (before, after) => this.#cut(before, after));
    for (const name of [...SERVERS, ...NODES]) this.#restarts.set(name, this.clock.nowMs());
  }

  /** Everybody but the processes does one thing, and these are started again where they have ended. */
  async tick(stepMs: number): Promise<void> {
    this.nodes.tick();
    this.#tendApplication();
    this.#runJobs();
    this.vendor?.tick();
    this.volSync?.tick();
    this.client.collectGarbage();
    for (const [name, atMs] of this.#restarts) {
      const isUp = SERVERS.includes(name) || this.nodes.isUp(name);
      if (atMs > this.clock.nowMs() || !isUp) continue;
      this.#restarts.delete(name);
      if (SERVERS.includes(name)) this.#startServer(name);
      else this.#startAgent(name);
    }
    await this.clock.advance(stepMs);
    if (this.#leading.size > 1) this.violations.push(`${[...this.#leading].join(" and ")} lead at the same time`);
  }

  get processNames(): readonly string[] {
    return [...this.#processes.keys()];
  }

  /** Ends a process with the answer to its n-th write from now on, or now. */
  kill(name: string, afterWrites = 0): void {
    const process = this.#processes.get(name);
    if (afterWrites > 0) process?.link.dieAfter(afterWrites);
    else this.#gone(name, process);
  }

  /** Ends a process as a kubelet does: it is told to, and may give back its lease. */
  stop(name: string): void {
    const process = this.#processes.get(name);
    if (process === undefined) return;
    this.#processes.delete(name);
    process.stop();
    this.#restarts.set(name, this.clock.nowMs() + RESTART_MS);
  }

  /** Deletes a namespace with everything in it. */
  removeNamespace(name: string): void {
    for (const type of servedResources)
      for (const { metadata } of this.client.all(type))
        if (metadata.namespace === name) this.client.discard(type, { namespace: name, name: metadata.name ?? "" });
    this.client.discard(namespaces, { name });
  }

  /** The API server is away for everybody, or takes nobody's token any more: every call fails until `calmDown`, and watches end. */
  cutOff(code: "KUBE_UNAVAILABLE" | "KUBE_UNAUTHORIZED"): void {
    this.faults = { ...NO_FAULTS, outage: code };
    for (const { link } of this.#processes.values()) link.cutWatches();
  }

  powerOff(node: string): void {
    this.nodes.powerOff(node);
    this.#gone(node, this.#processes.get(node));
  }

  /** The clock of a process, or of the node that it is on, is off by this much from now on. */
  skew(name: string, ms: number): void {
    this.#skews.set(name, ms);
  }

  /** Nothing is in anybody's way any more. */
  calmDown(): void {
    this.faults = NO_FAULTS;
    this.#skews.clear();
    this.webhook = undefined;
    if (this.vendor !== undefined) this.vendor.isTroubled = false;
    if (this.volSync !== undefined) this.volSync.isTroubled = false;
    this.store.failure = undefined;
    for (const name of NODES) this.nodes.heal(name);
    for (const { link } of this.#processes.values()) link.dieAfter(0);
  }

  async stopAll(): Promise<void> {
    this.#restarts.clear();
    const all = [...this.#processes.values()];
    for (const process of all) process.stop();
    for (let turn = 0; turn < 60; turn++) await this.clock.advance(1_000);
    for (const { link } of all) link.kill();
    await this.clock.advance(60_000);
  }

  #gone(name: string, process: Process | undefined): void {
    if (process === undefined) return;
    process.link.kill();
    process.stop();
    this.#leading.delete(name);
    this.#processes.delete(name);
    this.#restarts.set(name, this.clock.nowMs() + RESTART_MS);
  }

  #link(name: string, inner: FaultyLink["client"]): FaultyLink {
    const link: FaultyLink = new FaultyLink({
      inner,
      clock: this.clock,
      draw: this.#draw,
      faults: () => {
        this.calls++;
        return this.faults;
      },
      ...(this.#options.forbidden === undefined ? {} : { forbidden: this.#options.forbidden }),
      webhook: () => this.webhook,
      onDeath: () => this.#gone(name, this.#processes.get(name)),
    });
    return link;
  }

  #clockOf(name: string): Clock {
    const { clock } = this;
    const skewMs = (): number => this.#skews.get(name) ?? 0;
    return {
      nowMs: () => clock.nowMs() + skewMs(),
      nowNs: () => clock.nowNs() + BigInt(skewMs()) * 1_000_000n,
      monotonicMs: () => clock.monotonicMs(),
      sleep: (ms, signal) => clock.sleep(ms, signal),
      after: (ms, callback) => clock.after(ms, callback),
    };
  }

  #startServer(name: string): void {
    const link = this.#link(name, this.client);
    const ending = new AbortController();
    const base = { client: link.client, clock: this.#clockOf(name), random: this.#draw.random, logger: nullLogger, namespace: NAMESPACE };
    const lead = async (leading: AbortSignal): Promise<void> => {
      this.#leading.add(name);
      leading.addEventListener("abort", () => this.#leading.delete(name), { once: true });
      const { store, cast } = this;
      await runServerControllers({ ...base, discovery: this.#discovery, store, repositories: this.#repositories(), cast }, leading);
    };
    const ended = runAsLeader(
      { ...base, lease: { namespace: NAMESPACE, name: "drayage-server" }, identity: `${name}_${this.#draw.below(1e9)}`, signal: ending.signal },
      lead,
    )
      .catch(() => undefined)
      .then(() => {
        // It ended by itself: the lease was lost.
        const own = this.#processes.get(name);
        if (own?.link === link) this.#gone(name, own);
      });
    this.#processes.set(name, { name, link, stop: () => ending.abort(new DOMException("The process is to end", "AbortError")), ended });
  }

  #startAgent(name: string): void {
    const link = this.#link(name, this.nodes.link(name));
    this.client.seed<Pod>(pods, {
      metadata: { namespace: NAMESPACE, name: `node-agent-${name}`, labels: { role: "node-agent", name: "node-agent" } },
      spec: { nodeName: name, containers: [] },
      status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] },
    });
    let wantsEnd = false;
    let agent: { stop(): Promise<void> } | undefined;
    const starting = startNodeAgent({
      client: link.client,
      clock: this.#clockOf(name),
      random: this.#draw.random,
      logger: nullLogger,
      namespace: NAMESPACE,
      nodeName: name,
      claims: dataMoverClaims({ mode: "standalone" }),
      pod: { image: IMAGE, serviceAccount: MOVER_ACCOUNT },
      config: { loadConcurrency: { globalConfig: 2 } },
    }).then(
      async (started) => {
        agent = started;
        if (wantsEnd) await started.stop();
      },
      // A process that cannot start is started again.
      () => {
        const own = this.#processes.get(name);
        if (own?.link === link) this.#gone(name, own);
      },
    );
    const stop = (): void => {
      wantsEnd = true;
      void agent?.stop();
    };
    this.#processes.set(name, { name, link, stop, ended: starting });
  }

  #repositories(): RepositoryService {
    return {
      defaultMaintenanceFrequencySeconds: 3_600,
      ensure: async () => this.store.listBackups().then(() => undefined),
      forget: async (_repository: BackupRepository, _location, { manifestIds, tags }) => {
        await this.store.listBackups();
        for (const id of manifestIds) this.nodes.snapshots.delete(id);
        const isTagged = (tagsOf: Readonly<Record<string, string | undefined>>): boolean =>
          tags.some((wanted) => Object.entries(wanted).every(([name, value]) => tagsOf[name] === value));
        const uploads = this.client.all<DataUpload>(dataUploads).filter(({ metadata }) => isTagged(metadata.labels ?? {}));
        const volumes = this.client.all<PodVolumeBackup>(podVolumeBackups).filter(({ spec }) => isTagged(spec.tags ?? {}));
        const owners = new Set([...uploads, ...volumes].map(({ metadata }) => metadata.uid));
        for (const [id, owner] of this.nodes.snapshots) if (owners.has(owner)) this.nodes.snapshots.delete(id);
      },
    };
  }

  /** The snapshot controller: a new VolumeSnapshot of a claim gets its content, and the storage a snapshot. */
  #cut(before: { metadata: { uid?: string } } | undefined, after: Parameters<Parameters<FakeKubeClient["react"]>[1]>[1]): void {
    const snapshot = after === undefined ? undefined : this.client.peek(volumeSnapshots, keyOf(after));
    if (before !== undefined || snapshot === undefined || snapshot.spec.source.persistentVolumeClaimName === undefined) return;
    if (snapshot.status?.boundVolumeSnapshotContentName !== undefined) return;
    const contentName = `snapcontent-${snapshot.metadata.uid}`;
    const handle = `handle-${++this.#snapshots}`;
    this.storage.snapshots.add(handle);
    this.client.seed<VolumeSnapshotContent>(volumeSnapshotContents, {
      metadata: { name: contentName },
      spec: {
        driver: "csi.example.com",
        deletionPolicy: "Delete",
        source: { volumeHandle: "v" },
        volumeSnapshotClassName: "csi",
        volumeSnapshotRef: { name: snapshot.metadata.name ?? "", namespace: snapshot.metadata.namespace ?? "", uid: snapshot.metadata.uid ?? "" },
      },
      status: { snapshotHandle: handle, readyToUse: true, restoreSize: 67_108_864 },
    });
    this.client.mutate(volumeSnapshots, keyOf(snapshot), (current) => {
      current.status = { boundVolumeSnapshotContentName: contentName, readyToUse: true, restoreSize: "64Mi" };
    });
  }

  #inviteOthers(seed: number): SimulatedVendor {
    const { client, nodes, storage } = this;
    const vendor = new SimulatedVendor({ client, nodes, draw: new Draw(seededRandom(seed * 7 + 4)) });
    vendor.choose(APPLICATION, "more");
    new SimulatedGroups({ client, storage }).gather(APPLICATION, CLAIMS);
    return vendor;
  }

  #inviteVolSync(seed: number): SimulatedVolSync {
    const { client, storage } = this;
    client.seed(storageClasses, { metadata: { name: "csi" }, provisioner: "csi.example.com" });
    client.seed(secrets, { metadata: { namespace: NAMESPACE, name: USER_RESTIC_SECRET }, data: { RESTIC_PASSWORD: "c2VjcmV0" } });
    return new SimulatedVolSync({ client, storage, draw: new Draw(seededRandom(seed * 7 + 4)) });
  }

  #seedCluster(): void {
    const { client } = this;
    for (const name of [NAMESPACE, APPLICATION]) client.seed(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name } });
    client.seed<BackupStorageLocation>(backupStorageLocations, {
      metadata: { namespace: NAMESPACE, name: "default" },
      spec: { provider: "aws", default: true, objectStorage: { bucket: "velero" } },
    });
    client.seed<VolumeSnapshotClass>(volumeSnapshotClasses, {
      metadata: { name: "csi", labels: { "velero.io/csi-volumesnapshot-class": "true" } },
      driver: "csi.example.com",
      deletionPolicy: "Delete",
    });
    client.seed(secrets, { metadata: { namespace: NAMESPACE, name: "velero-repo-credentials" }, data: { "repository-password": "c2VjcmV0" } });
    for (const name of CLAIMS) {
      this.storage.volumes.add(`pv-${name}`);
      client.seed(persistentVolumes, {
        metadata: { name: `pv-${name}` },
        spec: {
          capacity: { storage: "64Mi" },
          csi: { driver: "csi.example.com", volumeHandle: `v-${name}` },
          storageClassName: "csi",
          persistentVolumeReclaimPolicy: "Delete",
          claimRef: { namespace: APPLICATION, name, uid: `claim-${name}` },
        },
        status: { phase: "Bound" },
      });
      client.seed<PersistentVolumeClaim>(persistentVolumeClaims, {
        metadata: { namespace: APPLICATION, name, uid: `claim-${name}` },
        spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "64Mi" } }, storageClassName: "csi", volumeName: `pv-${name}` },
        status: { phase: "Bound" },
      });
    }
    this.#tendApplication();
  }

  /** Its pod comes back wherever it was lost. */
  #tendApplication(): void {
    const key = { namespace: APPLICATION, name: "web" };
    if (this.client.peek(pods, key) !== undefined || this.client.peek(namespaces, { name: APPLICATION }) === undefined) return;
    this.client.seed<Pod>(pods, {
      apiVersion: "v1",
      kind: "Pod",
      metadata: { ...key, annotations: { "backup.velero.io/backup-volumes": "cache" } },
      spec: {
        containers: [{ name: "web", image: "web" }],
        volumes: [{ name: "cache", emptyDir: {} }, ...CLAIMS.map((name) => ({ name, persistentVolumeClaim: { claimName: name } }))],
      },
    });
  }

  #runJobs(): void {
    for (const job of this.client.all<Job>(jobs)) {
      if (job.status?.conditions !== undefined) continue;
      this.client.mutate<Job>(jobs, keyOf(job), (current) => {
        const now = formatTime(this.clock.nowMs());
        current.status = { startTime: now, completionTime: now, succeeded: 1, conditions: [{ type: "Complete", status: "True", lastTransitionTime: now }] };
      });
    }
  }

  /** Who holds the lease. */
  get leader(): string | undefined {
    return this.client.peek<Lease>(leases, { namespace: NAMESPACE, name: "drayage-server" })?.spec?.holderIdentity;
  }
}
