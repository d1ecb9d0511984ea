/**
 * The GroupController service: snapshots of several volumes as they were at one moment.
 *
 *   every volume's lock ─▶ every file system stands still ─▶ copies aside ─▶ they move again ─▶ all in place with one change of the record
 *
 * Invariants:
 * - A group is there with all its members or not at all, however its making ends.
 * - What one writer wrote to one volume before it wrote to another is never missing where the later write is there: nothing is copied before everything stands still.
 *   That holds for file systems of their own. Folders of the host and devices cannot be made to stand still (see consistent-copy.ts); for them the application is quiesced.
 */
import { type Clock, forEachLimit } from "@drayage/base";
import {
  type CreateVolumeGroupSnapshotRequest,
  type CsiImplementation,
  type CsiMethod,
  type CsiVolumeGroupSnapshot,
  csiError,
  type GroupControllerRpcs,
  type Sendable,
  type VolumeGroupSnapshotRequest,
} from "@drayage/protocols/csi";
import { quiesced } from "./consistent-copy.ts";
import type { OperationLocks } from "./operation-locks.ts";
import { idOf, requireId, requireOrigin, snapshotMessage, timestampOf, withoutUnusedSnapshots } from "./snapshot-records.ts";
import type { RecordFile, SnapshotRecord, StorageRecord, VolumeRecord } from "./storage-record.ts";
import { removeTree, type VolumeStorage } from "./volume-storage.ts";

export interface GroupControllerContext {
  readonly records: RecordFile;
  readonly storage: VolumeStorage;
  readonly operations: OperationLocks;
  readonly clock: Clock;
  /** How long a snapshot stays unready after it was cut. */
  readonly snapshotProcessingMs: number;
}

/** Every file system of the group stands still until the last copy is made. */
const COPIES_PARALLEL = 4;
/** A group is frozen as a whole, so it is kept within what a machine can hold still. */
const MEMBERS_MAX = 256;

interface Cut {
  readonly record: SnapshotRecord;
  readonly aside: string;
}

export class GroupControllerService implements CsiImplementation<GroupControllerRpcs> {
  readonly #context: GroupControllerContext;

  constructor(context: GroupControllerContext) {
    this.#context = context;
  }

  readonly GroupControllerGetCapabilities: CsiMethod<GroupControllerRpcs["GroupControllerGetCapabilities"]> = async () => ({
    capabilities: [{ rpc: { type: "CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT" } }],
  });

  readonly CreateVolumeGroupSnapshot = async (request: CreateVolumeGroupSnapshotRequest): Promise<{ groupSnapshot: Sendable<CsiVolumeGroupSnapshot> }> => {
    const { records, storage, operations } = this.#context;
    requireSources(request);
    const groupId = idOf("group", request.name);
    return operations.run(groupId, async () => {
      const before = await records.load();
      const existing = membersOf(before, groupId);
      if (existing.length > 0) return { groupSnapshot: this.#group(groupId, sameGroup(existing, request)) };
      const volumes = request.sourceVolumeIds.map((id) => sourceVolume(before, id, request.name));
      const cuts: Cut[] = [];
      try {
        await sharedAll(operations, volumes, () => standingStill(volumes, storage, () => this.#copyAll(groupId, volumes, cuts)));
        const members = await records.update(async (now) => {
          const other = membersOf(now, groupId);
          if (other.length > 0) return { result: sameGroup(other, request) };
          for (const { id } of volumes) requireOrigin(now, { kind: "volume", id });
          for (const { aside, record } of cuts) await storage.place(aside, "snapshots", record.id);
          const made = cuts.map(({ record }) => record);
          const snapshots = { ...now.snapshots, ...Object.fromEntries(made.map((record) => [record.id, record])) };
          return { record: { ...now, snapshots }, result: made };
        });
        return { groupSnapshot: this.#group(groupId, members) };
      } finally {
        for (const { aside } of cuts) await removeTree(aside);
      }
    });
  };

  readonly DeleteVolumeGroupSnapshot = async (request: VolumeGroupSnapshotRequest): Promise<object> => {
    const { records, storage, operations } = this.#context;
    const groupId = request.groupSnapshotId;
    requireId(groupId, "delete a group snapshot");
    return operations.run(groupId, async () => {
      const leftovers = await records.update(async (now) => {
        const members = membersOf(now, groupId);
        requireMembers(now, request, members);
        if (members.length === 0) return { result: [] };
        const marked = Object.fromEntries(members.map((snapshot) => [snapshot.id, { ...snapshot, deleted: true as const }]));
        const { record, freed } = withoutUnusedSnapshots({ ...now, snapshots: { ...now.snapshots, ...marked } });
        const taken: (string | undefined)[] = [];
        for (const id of freed) taken.push(await storage.takeAway("snapshots", id));
        return { record, result: taken };
      });
      storage.discard(leftovers);
      return {};
    });
  };

  readonly GetVolumeGroupSnapshot = async (request: VolumeGroupSnapshotRequest): Promise<{ groupSnapshot: Sendable<CsiVolumeGroupSnapshot> }> => {
    const groupId = request.groupSnapshotId;
    requireId(groupId, "look up a group snapshot");
    const now = await this.#context.records.load();
    const members = membersOf(now, groupId);
    if (members.length === 0) throw csiError("NOT_FOUND", `Cannot look up group snapshot "${groupId}": there is none`);
    requireMembers(now, request, members);
    return { groupSnapshot: this.#group(groupId, members) };
  };

  /** Adds each copy to `cuts` as soon as it is there, so that the caller can remove it whatever happens to the next. */
  async #copyAll(groupId: string, volumes: readonly VolumeRecord[], cuts: Cut[]): Promise<void> {
    const { clock, storage, snapshotProcessingMs } = this.#context;
    const createdNs = clock.nowNs().toString();
    const readyAtMs = clock.nowMs() + snapshotProcessingMs;
    await forEachLimit(volumes, COPIES_PARALLEL, async (volume) => {
      const { mode, backing, capacityBytes } = volume;
      const aside = await storage.prepare({ backing, capacityBytes, formatted: false, copyOf: storage.volumePath(volume) });
      const name = `${groupId}/${volume.id}`;
      cuts.push({
        aside,
        record: { id: idOf("snap", name), name, volumeId: volume.id, mode, backing, sizeBytes: capacityBytes, createdNs, readyAtMs, groupId },
      });
    });
  }

  #group(groupSnapshotId: string, members: readonly SnapshotRecord[]): Sendable<CsiVolumeGroupSnapshot> {
    const snapshots = members.toSorted((a, b) => (a.volumeId < b.volumeId ? -1 : 1)).map((member) => snapshotMessage(member, this.#context.clock));
    const [first] = members;
    return {
      groupSnapshotId,
      snapshots,
      ...(first === undefined ? {} : { creationTime: timestampOf(first) }),
      readyToUse: snapshots.every(({ readyToUse }) => readyToUse === true),
    };
  }
}

function membersOf(record: StorageRecord, groupId: string): readonly SnapshotRecord[] {
  return Object.values(record.snapshots).filter((snapshot) => snapshot.groupId === groupId && snapshot.deleted !== true);
}

function requireSources({ name, sourceVolumeIds }: CreateVolumeGroupSnapshotRequest): void {
  const refuse = (why: string): Error => csiError("INVALID_ARGUMENT", `Cannot create a group snapshot: ${why}`);
  if (name === "") throw refuse("its name is empty");
  if (sourceVolumeIds.length === 0) throw refuse("no volumes are given");
  if (sourceVolumeIds.length > MEMBERS_MAX) throw refuse(`${sourceVolumeIds.length} volumes are given, ${MEMBERS_MAX} are allowed`);
  if (sourceVolumeIds.includes("")) throw refuse("a volume has no id");
  if (new Set(sourceVolumeIds).size < sourceVolumeIds.length) throw refuse("a volume is given twice");
}

function sourceVolume(record: StorageRecord, id: string, name: string): VolumeRecord {
  const volume = record.volumes[id];
  if (volume === undefined) throw csiError("NOT_FOUND", `Cannot create group snapshot "${name}": there is no volume "${id}"`);
  return volume;
}

/** The group that a repeated request means, or ALREADY_EXISTS when it was made of other volumes. */
function sameGroup(members: readonly SnapshotRecord[], { name, sourceVolumeIds }: CreateVolumeGroupSnapshotRequest): readonly SnapshotRecord[] {
  const there = members.map(({ volumeId }) => volumeId);
  if (there.length === sourceVolumeIds.length && there.every((id) => sourceVolumeIds.includes(id))) return members;
  throw csiError("ALREADY_EXISTS", `Cannot create group snapshot "${name}": it exists of volumes "${there.toSorted().join('", "')}"`);
}

/** Refuses a group that its caller knows other members of than there are; members that were deleted one by one may still be named. */
function requireMembers(record: StorageRecord, { groupSnapshotId, snapshotIds }: VolumeGroupSnapshotRequest, members: readonly SnapshotRecord[]): void {
  if (snapshotIds.length === 0) return;
  const wrong =
    members.find(({ id }) => !snapshotIds.includes(id))?.id ??
    snapshotIds.find((id) => id in record.snapshots && record.snapshots[id]?.groupId !== groupSnapshotId);
  if (wrong !== undefined)
    throw csiError("INVALID_ARGUMENT", `Cannot use group snapshot "${groupSnapshotId}": snapshot "${wrong}" is in one of the two lists only`);
}

/** Runs `work` while none of the volumes can be deleted or grown. */
function sharedAll<T>(operations: OperationLocks, volumes: readonly VolumeRecord[], work: () => Promise<T>): Promise<T> {
  return volumes.reduceRight(
    (inner, { id }) =>
      async () =>
        operations.share(id, inner),
    work,
  )();
}

/** Runs `work` while every volume holds what was written to it, and, where it has a file system of its own, takes no more. */
function standingStill<T>(volumes: readonly VolumeRecord[], storage: VolumeStorage, work: () => Promise<T>): Promise<T> {
  return volumes.reduceRight((inner, volume) => () => quiesced(volume, storage.volumePath(volume), inner), work)();
}
