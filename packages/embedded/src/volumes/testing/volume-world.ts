/** The controllers of volumes over an API and a storage in memory, under a clock that is moved by hand. */
import { type VolumeSnapshot, type VolumeSnapshotContent, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { DrayError, nullLogger } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import {
  type CoreEvent,
  events,
  type PersistentVolume,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  persistentVolumes,
  pods,
} from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { startVolumeControllers, type VolumeControllers } from "../start-volume-controllers.ts";
import { defaultStorageManifests } from "../storage-manifests.ts";
import { MemoryDriver } from "./memory-driver.ts";

const ROUNDS_MAX = 400;
/** No test needs more; controllers that wake each other for ever are ended here rather than by the test's timeout, which they would starve. */
const CALLS_MAX = 5_000;

export class VolumeWorld {
  readonly clock = new VirtualClock();
  readonly api = new FakeKubeClient({ clock: this.clock });
  readonly driver: MemoryDriver;
  #controllers: VolumeControllers | undefined;

  constructor(driver = new MemoryDriver()) {
    this.driver = driver;
    this.api.intercept = (call) => (call.number > CALLS_MAX ? new Promise(() => undefined) : undefined);
    for (const { type, object } of defaultStorageManifests(driver.name)) this.api.seed(type, object);
  }

  start(): void {
    const { clock, api: client, driver } = this;
    this.#controllers = startVolumeControllers({ client, driver, clock, random: seededRandom(7), logger: nullLogger });
  }

  async stop(): Promise<void> {
    const stopping = this.#controllers?.stop();
    // What waits for the clock must be let go.
    for (let round = 0; round < 5; round++) await this.clock.advance(1_000);
    await stopping;
    this.#controllers = undefined;
  }

  async restart(): Promise<void> {
    await this.stop();
    this.start();
  }

  /** Lets time pass until the condition holds. Throws with the last reason why it does not. */
  async until(what: string, holds: () => boolean): Promise<void> {
    for (let round = 0; round < ROUNDS_MAX; round++) {
      if (holds()) return;
      await settle();
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
    claim: Partial<PersistentVolumeClaim["spec"]> & { readonly name: string; readonly namespace?: string; readonly annotations?: Record<string, string> },
  ): Promise<PersistentVolumeClaim> {
    const { name, namespace = "app", annotations = {}, ...spec } = claim;
    return this.api.create(persistentVolumeClaims, {
      metadata: { name, namespace, annotations },
      spec: { accessModes: ["ReadWriteOnce"], resources: { requests: { storage: "64Mi" } }, storageClassName: "drayage-fs", ...spec },
    });
  }

  createSnapshot(name: string, spec: VolumeSnapshot["spec"], namespace = "app"): Promise<VolumeSnapshot> {
    return this.api.create(volumeSnapshots, { metadata: { name, namespace }, spec });
  }

  createPod(name: string, claimName: string, nodeName?: string): Promise<Pod> {
    const volumes = [{ name: "v", persistentVolumeClaim: { claimName } }];
    return this.api.create(pods, { metadata: { name, namespace: "app" }, spec: { containers: [], volumes, ...(nodeName === undefined ? {} : { nodeName }) } });
  }

  /** Events of one object as `type reason: message`, in order. */
  eventsOf(kind: string, name: string): string[] {
    return this.#events()
      .filter((event) => event.involvedObject.kind === kind && event.involvedObject.name === name)
      .map((event) => `${event.type} ${event.reason}: ${event.message}`);
  }

  /** Everything there is, without what differs from run to run. */
  summary(): Record<string, unknown[]> {
    const plain = (objects: readonly { metadata: { name?: string; namespace?: string; finalizers?: string[] }; spec?: object; status?: object }[]): unknown[] =>
      objects.map(({ metadata, spec, status }) => ({
        name: metadata.name,
        namespace: metadata.namespace,
        finalizers: metadata.finalizers?.toSorted(),
        spec,
        status,
      }));
    return {
      claims: plain(this.api.all(persistentVolumeClaims)),
      volumes: plain(this.api.all(persistentVolumes)),
      snapshots: plain(this.api.all(volumeSnapshots)),
      contents: plain(this.api.all(volumeSnapshotContents)),
      stored: [...this.driver.volumes.values()].map(({ id, from }) => ({ id, from })),
      cut: [...this.driver.snapshots.keys()],
    };
  }

  #events(): CoreEvent[] {
    return this.api.all(events).toSorted((a, b) => Number(a.metadata.resourceVersion) - Number(b.metadata.resourceVersion));
  }
}
