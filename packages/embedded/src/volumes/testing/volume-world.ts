/** The controllers of volumes over an API and a storage in memory, under a clock that is moved by hand. */
import {
  type VolumeGroupSnapshot,
  type VolumeSnapshot,
  type VolumeSnapshotContent,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import {
  type CoreEvent,
  events,
  groupResourceOf,
  type KubeObject,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
  type ResourceType,
} from "@drayage/kube";
import { FakeKubeClient, type FakeVerb } from "@drayage/kube/testing";
import { PROVISIONER_IDENTITY } from "../names.ts";
import { startVolumeControllers, type VolumeControllers } from "../start-volume-controllers.ts";
import type { StorageDriver } from "../storage-driver.ts";
import { defaultStorageManifests } from "../storage-manifests.ts";
import { MemoryDriver } from "./memory-driver.ts";

const ROUNDS_MAX = 400;
/** No test needs more; controllers that wake each other for ever are ended here rather than by the test's timeout, which they would starve. */
const CALLS_MAX = 5_000;
const READS: ReadonlySet<FakeVerb> = new Set<FakeVerb>(["get", "list", "watch"]);

export class VolumeWorld<Driver extends StorageDriver = MemoryDriver> {
  readonly clock = new VirtualClock();
  readonly api = new FakeKubeClient({
    clock: this.clock,
    statusSubresources: [groupResourceOf(volumeGroupSnapshots), groupResourceOf(volumeGroupSnapshotContents)],
  });
  readonly driver: Driver;
  #controllers: VolumeControllers | undefined;
  #byUser = false;
  #effects = 0;
  #killAt = Number.POSITIVE_INFINITY;
  #dead = false;
  readonly #names = new Map<string, string>();

  constructor(driver: Driver) {
    this.driver = driver;
    this.api.intercept = (call) => {
      if (call.number > CALLS_MAX) return new Promise<void>(() => undefined);
      if (!this.#byUser && !READS.has(call.verb)) this.#effect(`${call.verb} ${call.resource}`);
      return undefined;
    };
    for (const type of [persistentVolumeClaims, volumeSnapshots, volumeGroupSnapshots]) {
      this.api.react<KubeObject>(type as ResourceType<KubeObject>, (_before, after) => {
        if (after?.metadata.uid !== undefined) this.#names.set(after.metadata.uid, `uid of ${after.kind} ${after.metadata.namespace}/${after.metadata.name}`);
      });
    }
    for (const { type, object } of defaultStorageManifests(driver.name)) this.api.seed(type, object);
  }

  start(): void {
    const { clock, api: client, driver } = this;
    this.#controllers = startVolumeControllers({ client, drivers: [driver], clock, random: seededRandom(7), logger: nullLogger });
  }

  async stop(): Promise<void> {
    const stopping = this.#controllers?.stop();
    // What waits for the clock must be let go.
    for (let round = 0; round < 5; round++) await this.clock.advance(1_000);
    await stopping;
    this.#controllers = undefined;
  }

  /** A new process in place of the old one. */
  async restart(): Promise<void> {
    await this.stop();
    this.#dead = false;
    this.start();
  }

  #effect(what: string): void {
    if (this.#dead) throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${what}: the controllers are dead`);
    this.#effects++;
    if (this.#effects !== this.#killAt) return;
    this.#dead = true;
    throw new DrayError("KUBE_UNAVAILABLE", `Cannot ${what}: the controllers are killed here`);
  }

  /** Lets time pass until the condition holds. Throws with the last reason why it does not. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (this.#dead) await this.restart();
      if (holds()) return;
      await settle();
      await this.#controllers?.idle();
      await this.clock.advance(200);
    }
    throw new DrayError("TIMED_OUT", `Cannot wait any longer: ${what}`);
  }

  /** Lets a minute pass: whatever was to happen has happened. */
  async pass(): Promise<void> {
    for (let round = 0; round < 30; round++) await this.clock.advance(2_000);
  }

  claim = (name: string, namespace = "app"): PersistentVolumeClaim | undefined => this.api.peek(persistentVolumeClaims, { namespace, name });
  volume = (name: string): PersistentVolume | undefined => this.api.peek(persistentVolumes, { name });
  snapshot = (name: string, namespace = "app"): VolumeSnapshot | undefined => this.api.peek(volumeSnapshots, { namespace, name });
  content = (name: string): VolumeSnapshotContent | undefined => this.api.peek(volumeSnapshotContents, { name });

  volumeOf(name: string, namespace = "app"): PersistentVolume | undefined {
    const volumeName = this.claim(name, namespace)?.spec.volumeName;
    return volumeName === undefined ? undefined : this.volume(volumeName);
  }

  isBound = (name: string, namespace = "app"): boolean =>
    this.claim(name, namespace)?.status?.phase === "Bound" && this.volumeOf(name, namespace)?.status?.phase === "Bound";

  isReady = (name: string, namespace = "app"): boolean => this.snapshot(name, namespace)?.status?.readyToUse === true;

  async bound(name: string, namespace = "app"): Promise<PersistentVolume> {
    await this.until(`claim ${namespace}/${name} is bound`, () => this.isBound(name, namespace));
    const volume = this.volumeOf(name, namespace);
    if (volume === undefined) throw new DrayError("INVARIANT", "a bound claim has a volume");
    return volume;
  }

  createClaim(
    claim: Partial<PersistentVolumeClaim["spec"]> & {
      readonly name: string;
      readonly namespace?: string;
      readonly annotations?: Record<string, string>;
      readonly labels?: Record<string, string>;
    },
  ): Promise<PersistentVolumeClaim> {
    const { name, namespace = "app", annotations = {}, labels, ...spec } = claim;
    return this.asUser((api) =>
      api.create(persistentVolumeClaims, {
        metadata: { name, namespace, annotations, ...(labels === undefined ? {} : { labels }) },
        spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "64Mi" } }, storageClassName: "drayage-fs", ...spec },
      }),
    );
  }

  createSnapshot(name: string, spec: VolumeSnapshot["spec"], namespace = "app"): Promise<VolumeSnapshot> {
    return this.asUser((api) => api.create(volumeSnapshots, { metadata: { name, namespace }, spec }));
  }

  createGroup(name: string, spec: VolumeGroupSnapshot["spec"], namespace = "app"): Promise<VolumeGroupSnapshot> {
    return this.asUser((api) => api.create(volumeGroupSnapshots, { metadata: { name, namespace }, spec }));
  }

  createPod(name: string, claimName: string, nodeName?: string): Promise<Pod> {
    const volumes = [{ name: "v", persistentVolumeClaim: { claimName } }];
    const spec = { containers: [], volumes, ...(nodeName === undefined ? {} : { nodeName }) };
    return this.asUser((api) => api.create(pods, { metadata: { name, namespace: "app" }, spec }));
  }

  /** A call that is not the controllers': it is never struck by their death. */
  asUser<T>(call: (api: FakeKubeClient) => Promise<T>): Promise<T> {
    // The call is intercepted before it first waits.
    this.#byUser = true;
    try {
      return call(this.api);
    } finally {
      this.#byUser = false;
    }
  }

  /** Kills the controllers at their `effect`-th effect: a write to the API (which is then not made), or the begin or the end of a call to the driver. */
  killAt(effect: number): void {
    this.#killAt = effect;
    if (this.driver instanceof MemoryDriver) this.driver.intercept = (method) => this.#effect(`${method} of the driver`);
  }

  /** How many effects there were. */
  get effects(): number {
    return this.#effects;
  }

  /** Events of one object as `type reason: message`, in order. */
  eventsOf(kind: string, name: string): string[] {
    return this.#events()
      .filter((event) => event.involvedObject.kind === kind && event.involvedObject.name === name)
      .map((event) => `${event.type} ${event.reason}: ${event.message}`);
  }

  /** Everything there is, without what differs from run to run: versions, times, and UIDs, which are named after their objects. */
  summary(): unknown {
    const kinds = [
      persistentVolumeClaims,
      persistentVolumes,
      volumeSnapshots,
      volumeSnapshotContents,
      volumeGroupSnapshots,
      volumeGroupSnapshotContents,
    ] as readonly ResourceType<KubeObject>[];
    const objects = kinds
      .flatMap((type) => this.api.all(type))
      .map(({ metadata, ...object }) => {
        const { name, namespace, labels, annotations, finalizers } = metadata;
        return { ...object, metadata: { name, namespace, labels, annotations, finalizers: finalizers?.toSorted() } };
      });
    const { driver } = this;
    const storage =
      driver instanceof MemoryDriver
        ? { volumes: [...driver.volumes.values()].map(({ id, from }) => ({ id, from })), snapshots: [...driver.snapshots.keys()] }
        : {};
    let text = JSON.stringify({ objects, storage }, (key, value: unknown) =>
      ["resourceVersion", "lastPhaseTransitionTime", PROVISIONER_IDENTITY].includes(key) ? undefined : value,
    );
    for (const [uid, name] of this.#names) text = text.replaceAll(uid, name);
    return JSON.parse(text);
  }

  #events(): CoreEvent[] {
    return this.api.all(events).toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
  }
}
