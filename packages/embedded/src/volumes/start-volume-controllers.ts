/** The controllers of volumes and snapshots, joined. */
import { volumeSnapshotContents } from "@drayage/api";
import { randomHex } from "@drayage/base";
import { type ControllerSource, createEventRecorder, type EventRecorder, persistentVolumes, type Reconcile, source, startController } from "@drayage/kube";
import { Caches, type CachesOptions } from "./caches.ts";
import { decideClaim } from "./claim/claim.ts";
import { observeClaim } from "./claim/observe.ts";
import { concernsClaims, concernsRequests, concernsSnapshots, concernsSourceClaims, concernsVolumes } from "./concerns.ts";
import { deleteVolume, provision } from "./provisioner/act.ts";
import { observeReclaim, observeRequest } from "./provisioner/observe.ts";
import { decideProvision } from "./provisioner/provision.ts";
import { decideReclaim } from "./provisioner/reclaim.ts";
import { reconcileWith } from "./reconcile-with.ts";
import { actOnContent } from "./snapshot/act.ts";
import { decideContent } from "./snapshot/content.ts";
import { observeContent, observeSnapshot } from "./snapshot/observe.ts";
import { decideSnapshot } from "./snapshot/snapshot.ts";
import { decideSourceClaim, observeSourceClaim } from "./snapshot/source-claim.ts";
import type { StorageDriver } from "./storage-driver.ts";
import { observeVolume } from "./volume/observe.ts";
import { decideVolume } from "./volume/volume.ts";

export interface StartVolumeControllersOptions extends CachesOptions {
  readonly driver: StorageDriver;
  /** Volumes and snapshots that are made, copied or deleted at once, of each sort; 4 when left out. */
  readonly transfersMax?: number;
}

export interface VolumeControllers {
  /** Resolves when no controller has work left, except what is due later. */
  idle(): Promise<void>;
  /** Waits for what is under way, writes the events that wait, and lets go of the caches. */
  stop(): Promise<void>;
}

const RESYNC_MS = 60_000;
const EVENTS_FLUSH_MS = 2_000;

/** Starts the binder, the provisioner, and the snapshot controller with its snapshotter. All state is in the API and the storage, so they may be stopped at any point. */
export function startVolumeControllers(options: StartVolumeControllersOptions): VolumeControllers {
  const { client, driver, clock, random, logger, transfersMax = 4 } = options;
  const cached = new Caches(options);
  const speaker = (component: string): EventRecorder => createEventRecorder({ client, clock, random, logger, component });
  const binder = { client, cached, recorder: speaker("persistentvolume-controller") };
  const provisioner = { client, cached, recorder: speaker(driver.name) };
  const snapshotController = { client, cached, recorder: speaker("snapshot-controller") };
  const snapshotter = { client, cached, recorder: speaker(`csi-snapshotter ${driver.name}`) };
  const identity = `${clock.nowMs()}-${Number.parseInt(randomHex(random, 2), 16)}-${driver.name}`;
  const start = (name: string, sources: readonly ControllerSource[], workers: number, reconcile: Reconcile) =>
    startController({ name, reconcile, sources, workers, resyncMs: RESYNC_MS, clock, random, logger });
  const controllers = [
    start("claims", concernsClaims(cached), 1, reconcileWith({ observe: (reader, key) => observeClaim(reader, key, clock), decide: decideClaim }, binder)),
    start("volumes", concernsVolumes(cached), 1, reconcileWith({ observe: (reader, key) => observeVolume(reader, key, clock), decide: decideVolume }, binder)),
    start(
      "provisioner",
      concernsRequests(cached),
      transfersMax,
      reconcileWith(
        {
          observe: (reader, key) => observeRequest(reader, key, driver.name),
          decide: decideProvision,
          act: (step, runner, signal) => provision(step, driver, identity, runner, signal),
        },
        provisioner,
      ),
    ),
    start(
      "reclaimer",
      [source(cached.of(persistentVolumes))],
      transfersMax,
      reconcileWith(
        {
          observe: (reader, key) => observeReclaim(reader, key, driver.name),
          decide: decideReclaim,
          act: (step, _runner, signal) => deleteVolume(step, driver, provisioner.recorder, signal),
        },
        provisioner,
      ),
    ),
    start(
      "snapshots",
      concernsSnapshots(cached),
      1,
      reconcileWith({ observe: (reader, key) => observeSnapshot(reader, key, clock), decide: decideSnapshot }, snapshotController),
    ),
    start("snapshot-sources", concernsSourceClaims(cached), 1, reconcileWith({ observe: observeSourceClaim, decide: decideSourceClaim }, snapshotController)),
    start(
      "contents",
      [source(cached.of(volumeSnapshotContents))],
      transfersMax,
      reconcileWith(
        {
          observe: (reader, key) => observeContent(reader, key, driver.name),
          decide: decideContent,
          act: (step, runner, signal) => actOnContent(step, driver, clock, runner, signal),
        },
        snapshotter,
      ),
    ),
  ];
  return {
    idle: async () => {
      for (const controller of controllers) await controller.idle();
    },
    stop: async () => {
      for (const controller of controllers) await controller.stop();
      for (const { recorder } of [binder, provisioner, snapshotController, snapshotter]) await recorder.flush(EVENTS_FLUSH_MS);
      cached.stop();
    },
  };
}
