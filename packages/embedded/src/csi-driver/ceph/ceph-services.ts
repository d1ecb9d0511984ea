/**
 * The services of the embedded driver, behaving as those of Ceph do:
 *
 *                       cephfs                                                       rbd
 *   readers of a        at once, read-only, no bytes copied (`backingSnapshot`)      refused for file systems: one that is mounted replays its journal;
 *   snapshot                                                                         as a block device at once
 *   writers of a        a full copy that takes its time: ABORTED until it is done    at once (copy on write)
 *   snapshot
 *   block volumes       refused                                                      yes
 *   many writers        yes                                                          block volumes only
 *   encrypted           both: see tenant-keys.ts
 *
 * How a class makes them fail: see class-parameters.ts.
 */
import type { Clock, Logger, RandomSource } from "@drayage/base";
import {
  type ControllerRpcs,
  type CreateSnapshotRequest,
  type CreateVolumeRequest,
  type CsiImplementation,
  type CsiMethod,
  csiError,
  type NodeRpcs,
  type VolumeCapability,
} from "@drayage/protocols/csi";
import type { ControllerService } from "../controller-service.ts";
import type { HostAbilities } from "../host-abilities.ts";
import type { NodeService } from "../node-service.ts";
import { isReaderOnly, modeOf } from "../volume-plan.ts";
import { type CephRecord, CephRecordFile } from "./ceph-record.ts";
import { type CephParameters, snapshotFault, volumeParameters } from "./class-parameters.ts";
import { type TenantReader, tenantKey } from "./tenant-keys.ts";

export type CephKind = "cephfs" | "rbd";

export interface CephContext {
  readonly kind: CephKind;
  /** The driver's storage. */
  readonly folder: string;
  readonly abilities: HostAbilities;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Encrypted volumes are refused without. */
  readonly tenants: TenantReader | undefined;
}

/** A copy that nobody asked after for so long is forgotten: its claim is gone. */
const CLONE_FORGOTTEN_MS = 60 * 60_000;

export function cephServices(
  services: { readonly controller: ControllerService; readonly node: NodeService },
  context: CephContext,
): { readonly controller: CsiImplementation<ControllerRpcs>; readonly node: CsiImplementation<NodeRpcs> } {
  const record = new CephRecordFile(context.folder, context.random);
  return { controller: controllerOf(services.controller, record, context), node: nodeOf(services.node, record, context) };
}

function controllerOf(inner: ControllerService, record: CephRecordFile, context: CephContext): CsiImplementation<ControllerRpcs> {
  const { kind, abilities, logger } = context;
  const methods: CsiImplementation<ControllerRpcs> = inner;

  const CreateVolume: CsiMethod<ControllerRpcs["CreateVolume"]> = async (request) => {
    const parameters = volumeParameters(request.name, request.parameters);
    const { shallow } = requireSupported(kind, request, parameters);
    const source = request.volumeContentSource?.snapshot?.snapshotId ?? request.volumeContentSource?.volume?.volumeId;
    if (parameters.fault === "no-space") throw csiError("RESOURCE_EXHAUSTED", `Cannot create volume "${request.name}": the pool is full`);
    const key = await keyFor(request, parameters, (await record.load()).keys[source ?? ""]);
    if (source !== undefined && !shallow) await copied(request.name, parameters);
    const isNewFileSystem = kind === "rbd" && source === undefined && request.volumeCapabilities.every((capability) => modeOf(capability) === "Filesystem");
    const answer = await inner.CreateVolume({
      ...request,
      parameters: { ...(shallow ? {} : { shallow: "never" }), ...(isNewFileSystem && abilities.loopDevices ? { backing: "image" } : {}) },
    });
    const id = answer.volume.volumeId ?? "";
    await record.update((now) => {
      const { [request.name]: _, ...clones } = now.clones;
      const isFull = kind === "cephfs" && request.name in now.clones;
      const { shown = [] } = now;
      const isShown = shallow && !shown.includes(id);
      return {
        ...now,
        clones,
        keys: key === undefined ? now.keys : { ...now.keys, [id]: key },
        fullClones: now.fullClones + (isFull ? 1 : 0),
        shallowVolumes: now.shallowVolumes + (isShown ? 1 : 0),
        shown: isShown ? [...shown, id] : shown,
      };
    });
    return answer;
  };

  const keyFor = async (request: CreateVolumeRequest, { encrypted, tenant }: CephParameters, sourceKey: string | undefined): Promise<string | undefined> => {
    const action = `create volume "${request.name}"`;
    if (!encrypted) {
      if (sourceKey === undefined) return undefined;
      throw csiError("INVALID_ARGUMENT", `Cannot ${action}: its source is encrypted, its class is not`);
    }
    const key = await tenantKey(context.tenants, tenant, action);
    if (sourceKey === undefined || sourceKey === key) return key;
    throw csiError("PERMISSION_DENIED", `Cannot ${action}: the token of namespace "${tenant}" does not open its source`, {
      hint: "The token must be the one that the source was made with.",
    });
  };

  /** Resolves once the copy is done. CephFS copies in the background and is asked again and again; RBD shares what is not written to. */
  const copied = async (name: string, { cloneMs, fault }: CephParameters): Promise<void> => {
    const nowMs = context.clock.nowMs();
    const isForgotten = (sinceMs: number): boolean => nowMs - sinceMs > Math.max(CLONE_FORGOTTEN_MS, 2 * cloneMs);
    if (kind === "rbd" && fault === undefined) return;
    const { clones } = await record.update((now) => ({
      ...now,
      clones: { ...Object.fromEntries(Object.entries(now.clones).filter(([, sinceMs]) => !isForgotten(sinceMs))), [name]: now.clones[name] ?? nowMs },
    }));
    const sinceMs = clones[name] ?? nowMs;
    const isDue = nowMs - sinceMs >= (kind === "rbd" ? 0 : cloneMs);
    if (fault === "clone-failed" && isDue) throw csiError("INTERNAL", `Cannot create volume "${name}": the clone of its source has failed`);
    if (isDue && fault !== "clone-stuck") return;
    logger.debug("A clone is under way", { name, ms: nowMs - sinceMs });
    throw csiError("ABORTED", `Cannot create volume "${name}" yet: the clone of its source is in progress for ${Math.round((nowMs - sinceMs) / 1000)} s`);
  };

  const DeleteVolume: CsiMethod<ControllerRpcs["DeleteVolume"]> = async (request) => {
    const answer = await inner.DeleteVolume(request);
    await record.update((now) => withoutKey(now, request.volumeId));
    return answer;
  };

  const CreateSnapshot = async (request: CreateSnapshotRequest) => {
    const fault = snapshotFault(request.name, request.parameters);
    if (fault === "failed") throw csiError("INTERNAL", `Cannot create snapshot "${request.name}": the storage has refused it`);
    if (fault === "stuck") throw csiError("ABORTED", `Cannot create snapshot "${request.name}" yet: an operation on its volume is in progress`);
    const answer = await inner.CreateSnapshot({ ...request, parameters: {} });
    const key = (await record.load()).keys[request.sourceVolumeId];
    if (key !== undefined) await record.update((now) => ({ ...now, keys: { ...now.keys, [answer.snapshot.snapshotId ?? ""]: key } }));
    return answer;
  };

  const DeleteSnapshot: CsiMethod<ControllerRpcs["DeleteSnapshot"]> = async (request) => {
    const answer = await inner.DeleteSnapshot(request);
    await record.update((now) => withoutKey(now, request.snapshotId));
    return answer;
  };

  return { ...methods, CreateVolume, DeleteVolume, CreateSnapshot, DeleteSnapshot };
}

function nodeOf(inner: NodeService, record: CephRecordFile, { tenants }: CephContext): CsiImplementation<NodeRpcs> {
  const methods: CsiImplementation<NodeRpcs> = inner;
  const NodeStageVolume: CsiMethod<NodeRpcs["NodeStageVolume"]> = async (request) => {
    const wanted = (await record.load()).keys[request.volumeId];
    if (wanted !== undefined) {
      const action = `stage volume "${request.volumeId}"`;
      const tenant = await tenants?.tenantOf(request.volumeId);
      const key = await tenantKey(tenants, tenant, action);
      if (key !== wanted) throw csiError("PERMISSION_DENIED", `Cannot ${action}: the token of namespace "${tenant}" does not open it`);
    }
    return inner.NodeStageVolume(request);
  };
  return { ...methods, NodeStageVolume };
}

function withoutKey(record: CephRecord, id: string): CephRecord {
  const { [id]: _, ...keys } = record.keys;
  return { ...record, keys, shown: (record.shown ?? []).filter((other) => other !== id) };
}

/** Throws INVALID_ARGUMENT for what the storage cannot do. */
function requireSupported(kind: CephKind, request: CreateVolumeRequest, { backingSnapshot }: CephParameters): { readonly shallow: boolean } {
  const { volumeCapabilities, volumeContentSource: source } = request;
  const refuse = (why: string): Error => csiError("INVALID_ARGUMENT", `Cannot create volume "${request.name}": ${why}`);
  const readers = volumeCapabilities.length > 0 && volumeCapabilities.every(isReaderOnly);
  const isFileSystem = volumeCapabilities.every((capability) => modeOf(capability) === "Filesystem");
  if (readers && source === null) throw refuse("a volume that nobody may write to needs a snapshot or a volume to show");
  if (kind === "rbd") {
    if (backingSnapshot !== undefined) throw refuse("only CephFS can show a snapshot in place (backingSnapshot)");
    if (readers && isFileSystem) throw refuse("access mode ReadOnlyMany is not supported for file systems on RBD: it is for block volumes");
    if (isFileSystem && volumeCapabilities.some(isShared))
      throw refuse("access mode ReadWriteMany is not supported for file systems on RBD: it is for block volumes");
    return { shallow: false };
  }
  if (!isFileSystem) throw refuse("CephFS has no block volumes");
  const ofSnapshot = (source?.snapshot?.snapshotId ?? "") !== "";
  if (backingSnapshot === true && !ofSnapshot) throw refuse("its class shows snapshots (backingSnapshot), and its claim names none");
  if (backingSnapshot === true && !readers)
    throw refuse("its class shows snapshots (backingSnapshot), which can only be read: access mode ReadOnlyMany is wanted");
  return { shallow: readers && ofSnapshot && backingSnapshot !== false };
}

function isShared(capability: VolumeCapability): boolean {
  return capability.accessMode?.mode === "MULTI_NODE_MULTI_WRITER";
}
