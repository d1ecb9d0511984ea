/** A storage driver in memory, whose answers can be lost, refused or late. */
import {
  type CreateSnapshotRequest,
  type CreateVolumeRequest,
  type CsiSnapshot,
  type CsiVolume,
  type CsiVolumeGroupSnapshot,
  csiError,
  type Sendable,
  type StatusName,
} from "@drayage/protocols/csi";
import type { StorageDriver } from "../storage-driver.ts";

export interface MemoryVolume {
  readonly id: string;
  readonly request: Sendable<CreateVolumeRequest>;
  /** Where its bytes came from. */
  readonly from: string | undefined;
}

export interface MemorySnapshot {
  readonly id: string;
  readonly volumeId: string;
  readonly bytes: string;
  readonly groupId?: string;
  ready: boolean;
}

export class MemoryDriver implements StorageDriver {
  readonly name: string;
  readonly topologyKey: string | undefined = "topology.csi.drayage.io/node";
  readonly volumes = new Map<string, MemoryVolume>();
  readonly snapshots = new Map<string, MemorySnapshot>();
  /** Volumes that a node uses: their deletion is refused. */
  readonly inUse = new Set<string>();
  /** Whether snapshots are ready at once. */
  snapshotsReady = true;
  /** Called before the work of each method and after it; what it throws is the answer. */
  intercept: ((method: string, moment: "before" | "after") => void) | undefined;

  constructor(name = "csi.drayage.io") {
    this.name = name;
  }

  /** Refuses the next `times` calls of a method. */
  refuse(method: string, status: StatusName, times = 1): void {
    let left = times;
    this.intercept = (called, moment) => {
      if (called !== method || moment !== "before" || left === 0) return;
      left--;
      throw csiError(status, `Cannot call "${method}": refused`);
    };
  }

  readonly CreateVolume: StorageDriver["CreateVolume"] = async (request) => {
    const { snapshot, volume } = request.volumeContentSource ?? {};
    return this.#answer("CreateVolume", () => {
      const id = `vol-of-${request.name}`;
      const from = snapshot?.snapshotId ?? volume?.volumeId;
      if (from !== undefined && !this.snapshots.has(from) && !this.volumes.has(from)) throw csiError("NOT_FOUND", `Cannot copy "${from}": there is none`);
      this.volumes.set(id, { id, request, from });
      return { volume: this.#volume(id, request) };
    });
  };

  readonly DeleteVolume: StorageDriver["DeleteVolume"] = async ({ volumeId = "" }) =>
    this.#answer("DeleteVolume", () => {
      if (this.inUse.has(volumeId)) throw csiError("FAILED_PRECONDITION", `Cannot delete volume "${volumeId}": it is in use`);
      this.volumes.delete(volumeId);
      return {};
    });

  readonly CreateSnapshot: StorageDriver["CreateSnapshot"] = async ({ name = "", sourceVolumeId = "" }: Sendable<CreateSnapshotRequest>) =>
    this.#answer("CreateSnapshot", () => {
      const source = this.volumes.get(sourceVolumeId);
      if (source === undefined) throw csiError("NOT_FOUND", `Cannot create snapshot "${name}": there is no volume "${sourceVolumeId}"`);
      const id = `snap-of-${name}`;
      const made = this.snapshots.get(id) ?? { id, volumeId: sourceVolumeId, bytes: source.request.capacityRange?.requiredBytes ?? "0", ready: false };
      made.ready ||= this.snapshotsReady;
      this.snapshots.set(id, made);
      return { snapshot: this.#snapshot(made) };
    });

  readonly groups: StorageDriver["groups"] = {
    CreateVolumeGroupSnapshot: async ({ name = "", sourceVolumeIds = [] }) =>
      this.#answer("CreateVolumeGroupSnapshot", () => {
        const groupId = `group-of-${name}`;
        for (const volumeId of sourceVolumeIds) {
          const source = this.volumes.get(volumeId);
          if (source === undefined) throw csiError("NOT_FOUND", `Cannot create group "${name}": there is no volume "${volumeId}"`);
          const id = `snap-of-${name}-${volumeId}`;
          const made = this.snapshots.get(id) ?? { id, volumeId, bytes: source.request.capacityRange?.requiredBytes ?? "0", ready: false, groupId };
          made.ready ||= this.snapshotsReady;
          this.snapshots.set(id, made);
        }
        return { groupSnapshot: this.#group(groupId) };
      }),
    GetVolumeGroupSnapshot: async ({ groupSnapshotId = "" }) =>
      this.#answer("GetVolumeGroupSnapshot", () => {
        const groupSnapshot = this.#group(groupSnapshotId);
        if (groupSnapshot.snapshots.length === 0) throw csiError("NOT_FOUND", `Cannot look up group "${groupSnapshotId}": there is none`);
        return { groupSnapshot };
      }),
    DeleteVolumeGroupSnapshot: async ({ groupSnapshotId = "" }) =>
      this.#answer("DeleteVolumeGroupSnapshot", () => {
        for (const [id, { groupId }] of this.snapshots) if (groupId === groupSnapshotId) this.snapshots.delete(id);
        return {};
      }),
  };

  readonly DeleteSnapshot: StorageDriver["DeleteSnapshot"] = async ({ snapshotId = "" }) =>
    this.#answer("DeleteSnapshot", () => {
      this.snapshots.delete(snapshotId);
      return {};
    });

  readonly ListSnapshots: StorageDriver["ListSnapshots"] = async ({ snapshotId = "" }) =>
    this.#answer("ListSnapshots", () => {
      const found = this.snapshots.get(snapshotId);
      return { entries: found === undefined ? [] : [{ snapshot: this.#snapshot(found) }], nextToken: "" };
    });

  async #answer<T>(method: string, work: () => T): Promise<T> {
    this.intercept?.(method, "before");
    const result = work();
    this.intercept?.(method, "after");
    return result;
  }

  #volume(volumeId: string, request: Sendable<CreateVolumeRequest>): CsiVolume {
    const node = request.parameters?.["topology"] === "node" ? request.accessibilityRequirements?.preferred?.[0] : undefined;
    return {
      volumeId,
      capacityBytes: request.capacityRange?.requiredBytes ?? "0",
      volumeContext: {},
      contentSource: null,
      accessibleTopology: node === undefined ? [] : [{ segments: { ...node.segments } as Record<string, string> }],
    };
  }

  #group(groupSnapshotId: string): CsiVolumeGroupSnapshot {
    const members = [...this.snapshots.values()].filter(({ groupId }) => groupId === groupSnapshotId);
    const snapshots = members.map((member) => this.#snapshot(member));
    return { groupSnapshotId, snapshots, creationTime: snapshots[0]?.creationTime ?? null, readyToUse: members.every(({ ready }) => ready) };
  }

  #snapshot({ id, volumeId, bytes, ready }: MemorySnapshot): CsiSnapshot {
    return {
      snapshotId: id,
      sourceVolumeId: volumeId,
      sizeBytes: bytes,
      creationTime: { seconds: "1795234207", nanos: 286468400 },
      readyToUse: ready,
      groupSnapshotId: "",
    };
  }
}
