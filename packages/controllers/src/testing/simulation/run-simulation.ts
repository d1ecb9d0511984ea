/** One run of a simulation: what people ask for, what goes wrong meanwhile, and what must be so in the end. All of it is decided by the seed. */
import {
  type Backup,
  backups,
  type DataMoverBackup,
  type DataUpload,
  type DeleteBackupRequest,
  dataDownloads,
  dataMoverBackups,
  dataMoverRestores,
  dataUploads,
  deleteBackupRequests,
  MOVER_ANNOTATIONS,
  podVolumeBackups,
  podVolumeRestores,
  restores,
  type Schedule,
  schedules,
  type VolumeSnapshotBackup,
  VSB_ANNOTATIONS,
  volumeSnapshotBackups,
  volumeSnapshotRestores,
} from "@drayage/api";
import { DrayError } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { type KubeObject, keyOf, namespaces, type ResourceType } from "@drayage/kube";
import type { AnyMovement } from "../../data-movement/movement.ts";
import { NAMESPACE, newBackup, newRestore } from "../recorded-cluster.ts";
import type { Cast } from "./cast.ts";
import { Draw } from "./draw.ts";
import type { LinkFaults } from "./faulty-link.ts";
import { leftovers } from "./leftovers.ts";
import { LifeBook } from "./life-book.ts";
import { GROUP_LABEL } from "./simulated-groups.ts";
import { APPLICATION, NODES, SimulatedInstallation } from "./simulated-installation.ts";

const STEP_MS = 2_000;
const TROUBLE_STEPS = 180;
/** Where nothing more goes wrong. */
const CALM_STEP_MS = 8_000;
/** Longest wait that a fault can lead into: an operation whose mover never answers is told to stop, and its end is awaited. */
const CALM_STEPS = 2_500;
const QUIET_STEPS = 40;
/** Requests a minute of five idle processes: two leases, agents that look again, a location that is validated. */
const QUIET_CALLS_A_MINUTE = 250;
/** Requests for each object that was worked on, whatever went wrong, beside those. */
const CALLS_A_SUBJECT = 500;

const MOVEMENTS = [dataUploads, dataDownloads, podVolumeBackups, podVolumeRestores] as const;
const MOVEMENTS_OF: Readonly<Record<Cast, readonly unknown[]>> = {
  ours: MOVEMENTS,
  others: [...MOVEMENTS, dataMoverBackups, dataMoverRestores],
  volsync: [...MOVEMENTS, volumeSnapshotBackups, volumeSnapshotRestores],
};
/** What webhooks stand in the way of, for a while. */
const WEBHOOKS: Readonly<Record<Cast, readonly string[]>> = {
  ours: [],
  others: ["pods", "secrets", "datauploads.velero.io", "datamoverbackups.drayage.io", "volumegroupsnapshots.groupsnapshot.storage.k8s.io", "backups.velero.io"],
  volsync: [
    ...["pods", "secrets", "persistentvolumeclaims", "restores.velero.io", "volumesnapshotcontents.snapshot.storage.k8s.io"],
    ...["volumesnapshotbackups.datamover.oadp.openshift.io", "replicationsources.volsync.backube"],
  ],
};
/** Refused for the whole run in some of them. */
const FORBIDDEN = [
  "pods",
  "persistentvolumeclaims",
  "secrets",
  "datauploads.velero.io",
  "volumesnapshots.snapshot.storage.k8s.io",
  "configmaps",
  "podvolumebackups.velero.io",
];

export interface SimulationResult {
  /** What was wrong; a run is well when there is nothing. */
  readonly problems: readonly string[];
  /** How everything ended, for comparing runs and for seeing that the run was one. */
  readonly ends: Readonly<Record<string, string>>;
  readonly calls: number;
}

export async function runSimulation(seed: number, cast: Cast = "ours"): Promise<SimulationResult> {
  const draw = new Draw(seededRandom(seed));
  // What movers of others have moved only their pods remove again.
  const choices = cast === "others" ? FORBIDDEN.filter((resource) => resource !== "pods" && resource !== "secrets") : FORBIDDEN;
  const forbidden = draw.chance(0.15) ? new Set([draw.pick(choices)]) : undefined;
  const world = new SimulatedInstallation({ seed, cast, ...(forbidden === undefined ? {} : { forbidden }) });
  const run = new Run(world, draw);
  return run.toTheEnd();
}

class Run {
  readonly #world: SimulatedInstallation;
  readonly #draw: Draw;
  readonly #book: LifeBook;
  readonly #intensity: number;
  readonly #problems: string[] = [];
  /** UIDs of what people took away. */
  readonly #discarded = new Set<string>();
  #names = 0;

  constructor(world: SimulatedInstallation, draw: Draw) {
    this.#world = world;
    this.#draw = draw;
    this.#book = new LifeBook(world.client);
    // From hardly any trouble to a lot of it: much trouble hides what a single fault does.
    this.#intensity = draw.pick([0, 0.2, 0.5, 1, 1, 2]);
  }

  async toTheEnd(): Promise<SimulationResult> {
    const world = this.#world;
    const startedMs = world.clock.nowMs();
    for (let step = 0; step < 10; step++) await world.tick(STEP_MS);
    world.faults = this.#drawFaults();
    this.#ask("backup");
    for (let step = 0; step < TROUBLE_STEPS; step++) {
      this.#people();
      this.#trouble();
      await world.tick(STEP_MS);
    }
    world.calmDown();
    for (const schedule of world.client.all<Schedule>(schedules)) world.client.discard(schedules, keyOf(schedule));
    await this.#until("everything has ended", () => this.#book.unended());
    this.#completeMeansComplete();
    await this.#deleteAll();
    await this.#quiet();
    const calls = world.calls;
    await world.stopAll();
    const minutes = (world.clock.nowMs() - startedMs) / 60_000;
    if (calls > CALLS_A_SUBJECT * this.#book.subjects + QUIET_CALLS_A_MINUTE * minutes)
      this.#problems.push(`${calls} requests were made for ${this.#book.subjects} objects in ${Math.round(minutes)} minutes`);
    for (const [id, owner] of world.nodes.snapshots) if (this.#discarded.has(owner)) world.nodes.snapshots.delete(id);
    for (const id of this.#discarded) world.vendor?.data.delete(id);
    const problems = [
      ...this.#problems,
      ...this.#book.violations,
      ...world.violations,
      ...world.nodes.violations,
      ...leftovers(world, (uid) => this.#book.endOf(uid)),
    ];
    return { problems: [...new Set(problems)], ends: this.#book.ends(), calls };
  }

  #drawFaults(): LinkFaults {
    const share = (most: number): number => (this.#draw.chance(0.5) ? this.#draw.random.fraction() * most * this.#intensity : 0);
    return {
      unavailable: share(0.04),
      throttled: share(0.02),
      answerLost: share(0.02),
      conflict: share(0.04),
      refused: share(0.005),
      late: share(0.04),
      expired: share(0.1),
      watch: share(0.1),
      event: share(0.1),
    };
  }

  /** What users do: they ask for backups and restores, change their minds, and take away what is being worked on. */
  #people(): void {
    const draw = this.#draw;
    const { client } = this.#world;
    if (draw.chance(0.016)) this.#ask("backup");
    if (draw.chance(0.015)) this.#ask("restore");
    if (draw.chance(0.01)) this.#ask("deletion");
    if (draw.chance(0.002)) this.#ask("schedule");
    const movements = MOVEMENTS_OF[this.#world.cast] as readonly ResourceType<KubeObject>[];
    if (draw.chance(0.008)) {
      const type = draw.pick(movements);
      const all = client.all(type);
      if (all.length > 0) client.mutate(type, keyOf(draw.pick(all)), cancel);
    }
    if (draw.chance(0.001)) {
      const type = draw.pick([...movements, restores as unknown as ResourceType<KubeObject>]);
      const all = client.all(type);
      if (all.length === 0) return;
      const { metadata } = draw.pick(all);
      // With it goes what was known of its snapshot, unless its backup has written that down.
      this.#discarded.add(metadata.annotations?.[MOVER_ANNOTATIONS.moveId] ?? metadata.uid ?? "");
      client.discard(type, keyOf({ metadata }));
    }
  }

  #ask(what: "backup" | "restore" | "deletion" | "schedule"): void {
    const draw = this.#draw;
    const { client } = this.#world;
    const name = `${what}-${++this.#names}`;
    const spec = { includedNamespaces: [APPLICATION], ...this.#volumes(), ...(draw.chance(0.2) ? { ttl: "8m0s" } : {}) };
    if (what === "backup") client.seed<Backup>(backups, newBackup(name, spec));
    if (what === "schedule")
      client.seed<Schedule>(schedules, { metadata: { namespace: NAMESPACE, name }, spec: { schedule: "*/3 * * * *", template: { ...spec, ttl: "5m0s" } } });
    const all = client.all<Backup>(backups);
    if (all.length === 0) return;
    const backupName = draw.pick(all).metadata.name ?? "";
    if (what === "restore") {
      const target = `back-${this.#names}`;
      client.seed(restores, newRestore(name, { backupName, namespaceMapping: { [APPLICATION]: target } }));
    }
    if (what === "deletion") client.seed<DeleteBackupRequest>(deleteBackupRequests, { metadata: { namespace: NAMESPACE, name }, spec: { backupName } });
  }

  /** How the volumes of a backup are moved. */
  #volumes(): Partial<Backup["spec"]> {
    const { cast } = this.#world;
    // Where VolSync moves snapshots, a backup may still ask for DataUploads.
    if (cast === "volsync") return { snapshotMoveData: this.#draw.chance(0.2) };
    if (cast === "others" && this.#draw.chance(0.5)) return { snapshotMoveData: true, volumeGroupSnapshotLabelKey: GROUP_LABEL };
    return { snapshotMoveData: true };
  }

  /** What the cluster does to the processes. */
  #trouble(): void {
    const draw = this.#draw;
    const world = this.#world;
    const at = (share: number): boolean => draw.chance(share * this.#intensity);
    if (at(0.02)) world.faults = this.#drawFaults();
    if (at(0.02)) world.client.compact();
    if (at(0.02) && world.processNames.length > 0) world.kill(draw.pick(world.processNames), draw.below(12));
    if (at(0.005) && world.processNames.length > 0) world.stop(draw.pick(world.processNames));
    if (at(0.005)) world.skew(draw.pick([...world.processNames, "nobody"]), draw.pick([-3_600_000, -45_000, 0, 30_000, 900_000]));
    if (at(0.004)) world.store.failure = new DrayError("BLOB_UNAVAILABLE", "Cannot reach the bucket");
    else if (draw.chance(0.2)) world.store.failure = undefined;
    const webhooks = WEBHOOKS[world.cast];
    if (webhooks.length > 0) {
      if (at(0.01)) world.webhook = { resource: draw.pick(webhooks), answers: draw.pick(["no", "nothing"]) };
      else if (draw.chance(0.05)) world.webhook = undefined;
    }
    for (const name of NODES) {
      if (!world.nodes.isUp(name)) {
        if (draw.chance(0.03)) world.nodes.heal(name);
      } else if (at(0.003) && NODES.filter((node) => world.nodes.isUp(node)).length > 1) {
        if (draw.chance(0.5)) world.powerOff(name);
        else world.nodes.cutOff(name);
      }
    }
  }

  /** Goes on until nothing is in the way of it; what still is after all patience is a problem. */
  async #until(what: string, inTheWay: () => readonly string[], stepsMax = CALM_STEPS): Promise<void> {
    for (let step = 0; step < stepsMax; step++) {
      if (step % 3 === 0 && inTheWay().length === 0) return;
      await this.#world.tick(CALM_STEP_MS);
    }
    for (const each of inTheWay()) this.#problems.push(`it did not come to that ${what}: ${each}`);
  }

  #completeMeansComplete(): void {
    const { client, store, nodes, vendor } = this.#world;
    const isStored = (id = ""): boolean => nodes.snapshots.has(id) || vendor?.data.get(id) === true;
    for (const backup of client.all<Backup>(backups)) {
      const name = backup.metadata.name ?? "";
      if (backup.status?.phase !== "Completed") continue;
      const stored = store.backups.get(name)?.backup.status?.phase;
      if (stored !== "Completed") this.#problems.push(`backup ${name} is Completed, and ${stored} in the bucket`);
      for (const { object } of store.items(name).filter(({ ref }) => ref.groupResource === "datauploads.velero.io")) {
        const { status, metadata } = object as unknown as DataUpload;
        if (status?.phase !== "Completed" || !isStored(status.snapshotID))
          this.#problems.push(`backup ${name} is Completed, and its ${metadata.name} is ${status?.phase} with snapshot ${status?.snapshotID}`);
      }
      for (const missing of vendor?.missing(store.items(name)) ?? []) this.#problems.push(`backup ${name} is Completed, and its ${missing}`);
    }
  }

  /** Everybody is done with all of it. */
  async #deleteAll(): Promise<void> {
    const { client } = this.#world;
    for (let round = 0; round < 6 && client.all(backups).length > 0; round++) {
      const asked = new Set(
        client
          .all<DeleteBackupRequest>(deleteBackupRequests)
          .filter(({ status }) => status?.phase !== "Processed")
          .map(({ spec }) => spec.backupName),
      );
      for (const { metadata } of client.all<Backup>(backups)) {
        const backupName = metadata.name ?? "";
        if (asked.has(backupName)) continue;
        client.seed<DeleteBackupRequest>(deleteBackupRequests, { metadata: { namespace: NAMESPACE, name: `last-${++this.#names}` }, spec: { backupName } });
      }
      // What is refused is asked for again, as people would: the bucket may just have come back.
      for (let step = 0; step < 40 && this.#undeleted().length > 0; step++) await this.#world.tick(CALM_STEP_MS);
    }
    this.#problems.push(...this.#undeleted().map((each) => `it was not deleted: ${each}`));
    for (const { metadata } of client.all(namespaces)) if (metadata.name?.startsWith("back-") === true) this.#world.removeNamespace(metadata.name);
    await this.#until("restores have gone", () => this.#book.unended());
  }

  #undeleted(): string[] {
    const { client } = this.#world;
    const about = ({ metadata, spec, status }: DeleteBackupRequest): string =>
      `${metadata.name} of ${spec.backupName} is ${status?.phase}: ${status?.errors?.join("; ")}`;
    const requests = client.all<DeleteBackupRequest>(deleteBackupRequests);
    return client.all<Backup>(backups).map(({ metadata, status }) => {
      const own = requests.filter(({ spec }) => spec.backupName === metadata.name);
      return `backup ${metadata.name} is ${status?.phase} (${own.map(about).join(", ")})`;
    });
  }

  /** When there is nothing to do, nothing is done. */
  async #quiet(): Promise<void> {
    for (let step = 0; step < QUIET_STEPS; step++) await this.#world.tick(CALM_STEP_MS);
    const before = this.#world.calls;
    for (let step = 0; step < QUIET_STEPS; step++) await this.#world.tick(CALM_STEP_MS);
    const minutes = (QUIET_STEPS * CALM_STEP_MS) / 60_000;
    const aMinute = Math.round((this.#world.calls - before) / minutes);
    if (aMinute > QUIET_CALLS_A_MINUTE) this.#problems.push(`${aMinute} requests a minute are made when there is nothing to do`);
  }
}

/** Each kind is told to stop in its own way. */
function cancel(object: KubeObject): void {
  const movement = object as AnyMovement | DataMoverBackup | VolumeSnapshotBackup;
  if (movement.kind === "VolumeSnapshotBackup" || movement.kind === "VolumeSnapshotRestore")
    movement.metadata.annotations = { ...movement.metadata.annotations, [VSB_ANNOTATIONS.cancel]: "true" };
  else (movement as AnyMovement).spec.cancel = true;
}
