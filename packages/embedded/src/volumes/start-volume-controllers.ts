/** The controllers of volumes and snapshots, joined. */
import { volumeSnapshotContents } from "@drayage/api";
import { randomHex } from "@drayage/base";
import {
  type Controller,
  type ControllerSource,
  createEventRecorder,
  type EventRecorder,
  persistentVolumes,
  type Reconcile,
  source,
  startController,
} from "@drayage/kube";
import { Caches, type CachesOptions } from "./caches.ts";
import { decideClaim } from "./claim/claim.ts";
import { observeClaim } from "./claim/observe.ts";
import { concernsClaims, concernsRequests, concernsSnapshots, concernsSourceClaims, concernsVolumes } from "./concerns.ts";
import { startGroupContents, startGroupSnapshots } from "./group-snapshot/start-group-controllers.ts";
import { deleteVolume, provision } from "./provisioner/act.ts";
import { MadeVolumes } from "./provisioner/made-volumes.ts";
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
  /** Each makes the volumes and snapshots of its classes. */
  readonly drivers: readonly StorageDriver[];
  /** Volumes and snapshots that are made, copied or deleted at once, of each driver and sort; 4 when left out. */
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

/** Starts the binder and the snapshot controller, and for each driver a provisioner and a snapshotter. All state is in the API and the storage, so they may be stopped at any point. */
export function startVolumeControllers(options: StartVolumeControllersOptions): VolumeControllers {
  const { client, drivers, clock, random, logger, transfersMax = 4 } = options;
  const cached = new Caches(options);
  const recorders: EventRecorder[] = [];
  const speaker = (component: string) => {
    const recorder = createEventRecorder({ client, clock, random, logger, component });
    recorders.push(recorder);
    return { client, cached, recorder };
  };
  const start = (name: string, sources: readonly ControllerSource[], workers: number, reconcile: Reconcile) =>
    startController({ name, reconcile, sources, workers, resyncMs: RESYNC_MS, clock, random, logger });

  const binder = speaker("persistentvolume-controller");
  const snapshotController = speaker("snapshot-controller");
  const controllers = [
    start("claims", concernsClaims(cached), 1, reconcileWith({ observe: (reader, key) => observeClaim(reader, key, clock), decide: decideClaim }, binder)),
    start("volumes", concernsVolumes(cached), 1, reconcileWith({ observe: (reader, key) => observeVolume(reader, key, clock), decide: decideVolume }, binder)),
    start(
      "snapshots",
      concernsSnapshots(cached),
      1,
      reconcileWith({ observe: (reader, key) => observeSnapshot(reader, key, clock), decide: decideSnapshot }, snapshotController),
    ),
    start("snapshot-sources", concernsSourceClaims(cached), 1, reconcileWith({ observe: observeSourceClaim, decide: decideSourceClaim }, snapshotController)),
    startGroupSnapshots({ caches: cached, clock, ports: snapshotController, start }),
    ...drivers.flatMap((driver) => sidecarsOf(driver)),
  ];

  /** The work of the programs that stand beside a driver. */
  function sidecarsOf(driver: StorageDriver): Controller[] {
    const provisioner = speaker(driver.name);
    const snapshotter = speaker(`csi-snapshotter ${driver.name}`);
    const made = new MadeVolumes(clock);
    const identity = `${clock.nowMs()}-${Number.parseInt(randomHex(random, 2), 16)}-${driver.name}`;
    return [
      start(
        `provisioner ${driver.name}`,
        concernsRequests(cached),
        transfersMax,
        reconcileWith(
          {
            observe: (reader, key) => observeRequest(reader, key, { driverName: driver.name, made }),
            decide: decideProvision,
            act: (step, runner, signal) => provision(step, { driver, identity, made }, runner, signal),
          },
          provisioner,
        ),
      ),
      start(
        `reclaimer ${driver.name}`,
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
        `contents ${driver.name}`,
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
      startGroupContents({ caches: cached, clock, ports: snapshotter, start, driver, transfersMax }),
    ];
  }

  return {
    idle: async () => {
      for (const controller of controllers) await controller.idle();
    },
    stop: async () => {
      for (const controller of controllers) await controller.stop();
      for (const recorder of recorders) await recorder.flush(EVENTS_FLUSH_MS);
      cached.stop();
    },
  };
}
