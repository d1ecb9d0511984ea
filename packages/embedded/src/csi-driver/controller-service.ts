/** The Controller service: volumes and snapshots come and go. Every method may be called again with the same arguments and then gives the same answer. */
import { statfs } from "node:fs/promises";
import { type Clock, formatTime } from "@drayage/base";
import {
  type ControllerCapability,
  type ControllerRpcs,
  type CreateSnapshotRequest,
  type CreateVolumeRequest,
  type CsiImplementation,
  type CsiMethod,
  type CsiSnapshot,
  type CsiVolume,
  csiError,
  type Sendable,
} from "@drayage/protocols/csi";
import { quiesced } from "./consistent-copy.ts";
import type { HostAbilities } from "./host-abilities.ts";
import { pageOf } from "./list-page.ts";
import { detachLoopDevices } from "./loop-devices.ts";
import type { OperationLocks } from "./operation-locks.ts";
import { idOf, requireId, requireOrigin, snapshotMessage, withoutUnusedSnapshots } from "./snapshot-records.ts";
import { isStagedAnywhere } from "./staging.ts";
import type { ContentOrigin, RecordChange, RecordFile, SnapshotRecord, StorageRecord, VolumeRecord } from "./storage-record.ts";
import { isReaderOnly, modeOf, planVolume, type VolumePlan } from "./volume-plan.ts";
import { removeTree, type VolumeStorage } from "./volume-storage.ts";

export interface ControllerContext {
  /** Shared with what else works on the same volumes. */
  readonly operations: OperationLocks;
  readonly records: RecordFile;
  readonly storage: VolumeStorage;
  readonly abilities: HostAbilities;
  readonly clock: Clock;
  readonly topologyKey: string;
  /** The node that this instance runs on, for volumes of one node when nobody said which. */
  readonly nodeName: string;
  /** All capacity there is to give out, in bytes; that of the disk when undefined. */
  readonly poolBytes: number | undefined;
  /** How long a snapshot stays unready after it was cut. */
  readonly snapshotProcessingMs: number;
}

const CAPABILITIES: readonly ControllerCapability[] = [
  "CREATE_DELETE_VOLUME",
  "LIST_VOLUMES",
  "LIST_VOLUMES_PUBLISHED_NODES",
  "GET_CAPACITY",
  "CREATE_DELETE_SNAPSHOT",
  "LIST_SNAPSHOTS",
  "CLONE_VOLUME",
  "EXPAND_VOLUME",
];

export class ControllerService implements CsiImplementation<ControllerRpcs> {
  readonly #context: ControllerContext;
  readonly #operations: OperationLocks;

  constructor(context: ControllerContext) {
    this.#context = context;
    this.#operations = context.operations;
  }

  readonly CreateVolume = async (request: CreateVolumeRequest): Promise<{ volume: Sendable<CsiVolume> }> => {
    const { records, storage } = this.#context;
    if (request.name === "") throw csiError("INVALID_ARGUMENT", "Cannot create a volume: its name is empty");
    const id = idOf("vol", request.name);
    return this.#operations.run(id, async () => {
      const before = await records.load();
      const plan = planVolume(request, before, this.#context);
      const existing = before.volumes[id];
      if (existing !== undefined) return { volume: this.#volume(sameVolume(existing, plan)) };
      requireSpace(before, plan.capacityBytes, this.#context.poolBytes);
      // The source stays as it is while it is copied: its deletion waits for the same lock.
      const aside =
        plan.origin === undefined ? await this.#content(plan, before) : await this.#operations.share(plan.origin.id, () => this.#content(plan, before));
      const record: VolumeRecord = volumeRecord(id, request.name, plan, formatTime(this.#context.clock.nowMs()));
      const volume = await this.#commit(aside, async (now) => {
        const other = now.volumes[id];
        if (other !== undefined) return { result: sameVolume(other, plan) };
        requireOrigin(now, plan.origin);
        requireSpace(now, plan.capacityBytes, this.#context.poolBytes);
        if (aside !== undefined) await storage.place(aside, "volumes", id);
        return { record: { ...now, volumes: { ...now.volumes, [id]: record } }, result: record };
      });
      return { volume: this.#volume(volume) };
    });
  };

  readonly DeleteVolume = async ({ volumeId }: { readonly volumeId: string }): Promise<object> => {
    const { records, storage } = this.#context;
    requireId(volumeId, "delete a volume");
    return this.#operations.run(volumeId, async () => {
      const leftovers = await records.update(async (now) => {
        const volume = now.volumes[volumeId];
        if (volume === undefined) return { result: [] };
        if (await isStagedAnywhere(volume)) {
          throw csiError("FAILED_PRECONDITION", `Cannot delete volume "${volumeId}": node "${Object.keys(volume.staged).join('", "')}" still uses it`);
        }
        // A device that a dead process attached would keep the bytes of a deleted image.
        if (volume.backing === "image" && volume.shallow !== true) await detachLoopDevices(storage.volumePath(volume));
        const { [volumeId]: _, ...volumes } = now.volumes;
        const { record, freed } = withoutUnusedSnapshots({ ...now, volumes });
        const taken = [await storage.takeAway("volumes", volumeId)];
        for (const id of freed) taken.push(await storage.takeAway("snapshots", id));
        return { record, result: taken };
      });
      storage.discard(leftovers);
      return {};
    });
  };

  readonly CreateSnapshot = async (request: CreateSnapshotRequest): Promise<{ snapshot: Sendable<CsiSnapshot> }> => {
    const { records, storage, clock } = this.#context;
    if (request.name === "") throw csiError("INVALID_ARGUMENT", "Cannot create a snapshot: its name is empty");
    requireId(request.sourceVolumeId, "create a snapshot");
    const id = idOf("snap", request.name);
    return this.#operations.run(id, async () => {
      const before = await records.load();
      const existing = before.snapshots[id];
      if (existing !== undefined) return { snapshot: snapshotMessage(sameSnapshot(existing, request), clock) };
      const volume = before.volumes[request.sourceVolumeId];
      if (volume === undefined) throw csiError("NOT_FOUND", `Cannot create snapshot "${request.name}": there is no volume "${request.sourceVolumeId}"`);
      const { backing, capacityBytes } = volume;
      const copyOf = storage.volumePath(volume);
      const cutNs = clock.nowNs();
      const content = { backing, capacityBytes, formatted: false, copyOf };
      const aside = await this.#operations.share(volume.id, () => quiesced(volume, copyOf, () => storage.prepare(content)));
      const record: SnapshotRecord = {
        id,
        name: request.name,
        volumeId: volume.id,
        mode: volume.mode,
        backing,
        sizeBytes: capacityBytes,
        createdNs: cutNs.toString(),
        readyAtMs: clock.nowMs() + this.#context.snapshotProcessingMs,
      };
      const snapshot = await this.#commit(aside, async (now) => {
        const other = now.snapshots[id];
        if (other !== undefined) return { result: sameSnapshot(other, request) };
        requireOrigin(now, { kind: "volume", id: volume.id });
        await storage.place(aside, "snapshots", id);
        return { record: { ...now, snapshots: { ...now.snapshots, [id]: record } }, result: record };
      });
      return { snapshot: snapshotMessage(snapshot, clock) };
    });
  };

  readonly DeleteSnapshot = async ({ snapshotId }: { readonly snapshotId: string }): Promise<object> => {
    const { records, storage } = this.#context;
    requireId(snapshotId, "delete a snapshot");
    return this.#operations.run(snapshotId, async () => {
      const leftovers = await records.update(async (now) => {
        const snapshot = now.snapshots[snapshotId];
        if (snapshot === undefined) return { result: [] };
        const marked = { ...now, snapshots: { ...now.snapshots, [snapshotId]: { ...snapshot, deleted: true as const } } };
        const { record, freed } = withoutUnusedSnapshots(marked);
        const taken: (string | undefined)[] = [];
        for (const id of freed) taken.push(await storage.takeAway("snapshots", id));
        return { record, result: taken };
      });
      storage.discard(leftovers);
      return {};
    });
  };

  readonly ListSnapshots: CsiMethod<ControllerRpcs["ListSnapshots"]> = async (request) => {
    const all = Object.values((await this.#context.records.load()).snapshots).filter(
      (snapshot) =>
        snapshot.deleted !== true &&
        (request.snapshotId === "" || snapshot.id === request.snapshotId) &&
        (request.sourceVolumeId === "" || snapshot.volumeId === request.sourceVolumeId),
    );
    const { items, nextToken } = pageOf(all, request);
    return { entries: items.map((snapshot) => ({ snapshot: snapshotMessage(snapshot, this.#context.clock) })), nextToken };
  };

  readonly ListVolumes: CsiMethod<ControllerRpcs["ListVolumes"]> = async (request) => {
    const { items, nextToken } = pageOf(Object.values((await this.#context.records.load()).volumes), request);
    return { entries: items.map((volume) => ({ volume: this.#volume(volume), status: { publishedNodeIds: Object.keys(volume.staged) } })), nextToken };
  };

  readonly GetCapacity: CsiMethod<ControllerRpcs["GetCapacity"]> = async () => {
    const { poolBytes, records, storage } = this.#context;
    const disk = await statfs(storage.folder);
    const free = disk.bavail * disk.bsize;
    const available = poolBytes === undefined ? free : Math.max(0, poolBytes - usedBytes(await records.load()));
    return { availableCapacity: String(available), maximumVolumeSize: { value: String(poolBytes ?? free) } };
  };

  readonly ControllerGetCapabilities: CsiMethod<ControllerRpcs["ControllerGetCapabilities"]> = async () => ({
    capabilities: CAPABILITIES.map((type) => ({ rpc: { type } })),
  });

  readonly ValidateVolumeCapabilities: CsiMethod<ControllerRpcs["ValidateVolumeCapabilities"]> = async (request) => {
    requireId(request.volumeId, "validate a volume");
    if (request.volumeCapabilities.length === 0) throw csiError("INVALID_ARGUMENT", "Cannot validate a volume: no capability is given");
    const volume = requireVolume(await this.#context.records.load(), request.volumeId, "validate");
    const wrong = request.volumeCapabilities.find((capability) => modeOf(capability) !== volume.mode);
    if (wrong !== undefined) return { message: `volume "${volume.id}" has mode ${volume.mode}` };
    if (volume.shallow === true && request.volumeCapabilities.some((capability) => !isReaderOnly(capability)))
      return { message: `volume "${volume.id}" is read-only` };
    const { volumeContext, volumeCapabilities, parameters } = request;
    return { confirmed: { volumeContext, volumeCapabilities, parameters } };
  };

  readonly ControllerExpandVolume: CsiMethod<ControllerRpcs["ControllerExpandVolume"]> = async ({ volumeId, capacityRange }) => {
    const { records, storage, poolBytes } = this.#context;
    requireId(volumeId, "expand a volume");
    const wanted = Number(capacityRange?.requiredBytes ?? "0");
    const limit = Number(capacityRange?.limitBytes ?? "0");
    if (wanted <= 0) throw csiError("INVALID_ARGUMENT", `Cannot expand volume "${volumeId}": no size is given`);
    if (limit > 0 && limit < wanted) throw csiError("OUT_OF_RANGE", `Cannot expand volume "${volumeId}": ${wanted} bytes are wanted, ${limit} allowed`);
    return this.#operations.run(volumeId, () =>
      records.update(async (now) => {
        const volume = requireVolume(now, volumeId, "expand");
        const inUse = await isStagedAnywhere(volume);
        const answer = { capacityBytes: String(Math.max(volume.capacityBytes, wanted)), nodeExpansionRequired: inUse && volume.backing === "image" };
        if (wanted <= volume.capacityBytes) return { result: answer };
        if (volume.shallow === true) throw csiError("FAILED_PRECONDITION", `Cannot expand volume "${volumeId}": it is read-only`);
        requireSpace(now, wanted - volume.capacityBytes, poolBytes);
        await storage.grow(volume, wanted, { inUse });
        return { record: { ...now, volumes: { ...now.volumes, [volumeId]: { ...volume, capacityBytes: wanted } } }, result: answer };
      }),
    );
  };

  /** Puts prepared content in place with its record; what was not placed in the end is removed. */
  async #commit<T>(aside: string | undefined, change: RecordChange<T>): Promise<T> {
    try {
      return await this.#context.records.update(change);
    } finally {
      await removeTree(aside);
    }
  }

  /** The new content aside, or undefined for a volume without data of its own. */
  async #content(plan: VolumePlan, record: StorageRecord): Promise<string | undefined> {
    const { storage } = this.#context;
    const content = { backing: plan.backing, capacityBytes: plan.capacityBytes, formatted: plan.mode === "Filesystem" };
    if (plan.shallow) return undefined;
    if (plan.origin === undefined) return storage.prepare(content);
    const snapshot = record.snapshots[plan.origin.id];
    if (plan.origin.kind === "snapshot" && snapshot !== undefined) return storage.prepare({ ...content, copyOf: storage.snapshotPath(snapshot) });
    const volume = requireVolume(record, plan.origin.id, "clone");
    const copyOf = storage.volumePath(volume);
    return quiesced(volume, copyOf, () => storage.prepare({ ...content, copyOf }));
  }

  #volume(volume: VolumeRecord): Sendable<CsiVolume> {
    return {
      volumeId: volume.id,
      capacityBytes: String(volume.capacityBytes),
      ...(volume.origin === undefined ? {} : { contentSource: contentSourceOf(volume.origin) }),
      accessibleTopology: volume.node === undefined ? [] : [{ segments: { [this.#context.topologyKey]: volume.node } }],
    };
  }
}

function volumeRecord(id: string, name: string, plan: VolumePlan, createdAt: string): VolumeRecord {
  const { mode, backing, capacityBytes, node, origin, shallow } = plan;
  return {
    id,
    name,
    mode,
    backing,
    capacityBytes,
    createdAt,
    staged: {},
    ...(node === undefined ? {} : { node }),
    ...(origin === undefined ? {} : { origin }),
    ...(shallow ? { shallow: true } : {}),
  };
}

/** The volume that a repeated request means, or ALREADY_EXISTS when it was made with other properties. */
function sameVolume(volume: VolumeRecord, plan: VolumePlan): VolumeRecord {
  const differs = (what: string): Error => csiError("ALREADY_EXISTS", `Cannot create volume "${volume.name}": it exists with another ${what}`);
  const fits = volume.capacityBytes >= plan.requiredBytes && (plan.limitBytes === 0 || volume.capacityBytes <= plan.limitBytes);
  if (!fits) throw differs("size");
  if (volume.mode !== plan.mode) throw differs("mode");
  if (volume.backing !== plan.backing) throw differs("backing");
  if (volume.origin?.id !== plan.origin?.id) throw differs("source");
  if ((volume.node === undefined) !== (plan.node === undefined)) throw differs("topology");
  return volume;
}

function sameSnapshot(snapshot: SnapshotRecord, request: CreateSnapshotRequest): SnapshotRecord {
  if (snapshot.volumeId === request.sourceVolumeId && snapshot.deleted !== true) return snapshot;
  throw csiError("ALREADY_EXISTS", `Cannot create snapshot "${request.name}": it exists of volume "${snapshot.volumeId}"`);
}

function usedBytes(record: StorageRecord): number {
  return Object.values(record.volumes).reduce((sum, volume) => sum + (volume.shallow === true ? 0 : volume.capacityBytes), 0);
}

function requireSpace(record: StorageRecord, bytes: number, poolBytes: number | undefined): void {
  const used = usedBytes(record);
  if (poolBytes === undefined || used + bytes <= poolBytes) return;
  throw csiError("RESOURCE_EXHAUSTED", `Cannot give out ${bytes} bytes: ${used} of ${poolBytes} are in use`);
}

function requireVolume(record: StorageRecord, id: string, action: string): VolumeRecord {
  const volume = record.volumes[id];
  if (volume === undefined) throw csiError("NOT_FOUND", `Cannot ${action} volume "${id}": there is none`);
  return volume;
}

function contentSourceOf(origin: ContentOrigin): NonNullable<Sendable<CsiVolume>["contentSource"]> {
  return origin.kind === "snapshot" ? { snapshot: { snapshotId: origin.id } } : { volume: { volumeId: origin.id } };
}
