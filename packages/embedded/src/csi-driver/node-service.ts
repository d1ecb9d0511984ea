/**
 * The Node service: a volume is staged once on a node and published at each place where a pod wants it.
 *
 *   folder:  storage ──bind──▶ staging ──bind──▶ target          (a symbolic link storage ◀── target where this process cannot mount)
 *   image:   storage ──loop device──mount──▶ staging ──bind──▶ target
 *   block:   storage ──loop device──bind──▶ target, which is a file that becomes the device
 *
 * What is mounted is looked up each time, never remembered, so a call that is made again after a crash at any point ends where the first would have.
 */
import { constants } from "node:fs";
import { access, lstat, mkdir, open, readlink, rm, rmdir, stat, statfs, symlink, unlink, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import {
  type CsiImplementation,
  type CsiMethod,
  csiError,
  type NodeCapability,
  type NodePublishVolumeRequest,
  type NodeRpcs,
  type NodeStageVolumeRequest,
  type VolumeCapability,
} from "@drayage/protocols/csi";
import type { HostAbilities } from "./host-abilities.ts";
import {
  attachLoopDevice,
  detachLoopDevice,
  detachLoopDevices,
  findLoopDevices,
  type LoopDevice,
  loopDeviceBelow,
  refreshLoopDeviceSize,
} from "./loop-devices.ts";
import { bindMount, findMount, mountDevice, unmount } from "./mounts.ts";
import { runProgram } from "./run-program.ts";
import { isStagedAnywhere, isStagedAt, stagingMarker } from "./staging.ts";
import type { RecordFile, VolumeRecord } from "./storage-record.ts";
import { isReaderOnly, modeOf, withoutLoopDevices } from "./volume-plan.ts";
import type { VolumeStorage } from "./volume-storage.ts";

export interface NodeContext {
  readonly records: RecordFile;
  readonly storage: VolumeStorage;
  readonly abilities: HostAbilities;
  readonly topologyKey: string;
  readonly nodeName: string;
}

const CAPABILITIES: readonly NodeCapability[] = ["STAGE_UNSTAGE_VOLUME", "GET_VOLUME_STATS", "EXPAND_VOLUME"];

export class NodeService implements CsiImplementation<NodeRpcs> {
  readonly #context: NodeContext;

  constructor(context: NodeContext) {
    this.#context = context;
  }

  readonly NodeStageVolume = async (request: NodeStageVolumeRequest): Promise<object> => {
    const { volumeId, stagingTargetPath: path } = request;
    requireText(volumeId, "volume id", "stage a volume");
    requireText(path, "staging path", `stage volume "${volumeId}"`);
    const capability = requireCapability(request, "stage");
    const { records, nodeName } = this.#context;
    return records.update(async (now) => {
      const known = now.volumes[volumeId];
      const volume = this.#require(known === undefined ? known : await inMode(known, modeOf(capability)), volumeId, capability, "stage");
      const current = volume.staged[nodeName];
      const live = current !== undefined && (await isStagedAt(volume, current));
      if (live && current === path) return { result: {} };
      if (live) throw csiError("FAILED_PRECONDITION", `Cannot stage volume "${volumeId}" at "${path}": it is staged at "${current}"`);
      await mkdir(path, { recursive: true });
      await this.#stage(volume, path, capability);
      const staged = { ...volume.staged, [nodeName]: path };
      return { record: { ...now, volumes: { ...now.volumes, [volumeId]: { ...volume, staged } } }, result: {} };
    });
  };

  readonly NodeUnstageVolume: CsiMethod<NodeRpcs["NodeUnstageVolume"]> = async ({ volumeId, stagingTargetPath: path }) => {
    requireText(volumeId, "volume id", "unstage a volume");
    requireText(path, "staging path", `unstage volume "${volumeId}"`);
    const { records, storage, nodeName } = this.#context;
    return records.update(async (now) => {
      await unmount(path);
      await rm(stagingMarker(path), { force: true });
      const volume = now.volumes[volumeId];
      if (volume === undefined) return { result: {} };
      const { [nodeName]: _, ...staged } = volume.staged;
      const left = { ...volume, staged };
      if (volume.backing === "image" && Object.keys(staged).length === 0) await detachLoopDevices(storage.volumePath(volume));
      return { record: { ...now, volumes: { ...now.volumes, [volumeId]: left } }, result: {} };
    });
  };

  readonly NodePublishVolume = async (request: NodePublishVolumeRequest): Promise<object> => {
    const { volumeId, stagingTargetPath: staging, targetPath: target } = request;
    requireText(volumeId, "volume id", "publish a volume");
    requireText(target, "target path", `publish volume "${volumeId}"`);
    requireText(staging, "staging path", `publish volume "${volumeId}"`);
    const capability = requireCapability(request, "publish");
    const { records, nodeName, abilities } = this.#context;
    return records.update(async (now) => {
      const volume = this.#require(now.volumes[volumeId], volumeId, capability, "publish");
      if (volume.staged[nodeName] !== staging || !(await isStagedAt(volume, staging))) {
        throw csiError("FAILED_PRECONDITION", `Cannot publish volume "${volumeId}": it is not staged at "${staging}"`);
      }
      const readOnly = request.readonly || volume.shallow === true || isReaderOnly(capability);
      if (volume.mode === "Block") await this.#publishDevice(volume, target, readOnly);
      else if (abilities.mount) await publishFolder(volumeId, staging, target, readOnly);
      else await publishLink(this.#context.storage.volumePath(volume), target);
      return { result: {} };
    });
  };

  readonly NodeUnpublishVolume: CsiMethod<NodeRpcs["NodeUnpublishVolume"]> = async ({ volumeId, targetPath: target }) => {
    requireText(volumeId, "volume id", "unpublish a volume");
    requireText(target, "target path", `unpublish volume "${volumeId}"`);
    const { records, storage } = this.#context;
    return records.update(async (now) => {
      // A device that was attached for this place alone, read-only, goes with it.
      const number = (await stat(target).catch(() => undefined))?.rdev ?? 0;
      const own = loopDeviceBelow(number, storage.folder);
      await unmount(target);
      const volume = now.volumes[volumeId];
      if (own !== undefined && volume !== undefined && volume.shallow !== true) {
        const extra = (await findLoopDevices(storage.volumePath(volume))).find((device) => device.path === own && device.readOnly);
        if (extra !== undefined) await detachLoopDevice(extra.path);
      }
      await removeTarget(target);
      return { result: {} };
    });
  };

  readonly NodeGetVolumeStats: CsiMethod<NodeRpcs["NodeGetVolumeStats"]> = async ({ volumeId, volumePath }) => {
    requireText(volumeId, "volume id", "measure a volume");
    requireText(volumePath, "path", `measure volume "${volumeId}"`);
    const volume = (await this.#context.records.load()).volumes[volumeId];
    const there = await access(volumePath, constants.F_OK).then(
      () => true,
      () => false,
    );
    if (volume === undefined || !there) throw csiError("NOT_FOUND", `Cannot measure volume "${volumeId}": it is not at "${volumePath}"`);
    if (volume.mode === "Block") return { usage: [{ unit: "BYTES", total: String(volume.capacityBytes) }] };
    const { bsize, blocks, bfree, bavail, files, ffree } = await statfs(volumePath);
    return {
      usage: [
        { unit: "BYTES", total: String(blocks * bsize), used: String((blocks - bfree) * bsize), available: String(bavail * bsize) },
        { unit: "INODES", total: String(files), used: String(files - ffree), available: String(ffree) },
      ],
    };
  };

  readonly NodeExpandVolume: CsiMethod<NodeRpcs["NodeExpandVolume"]> = async ({ volumeId, volumePath }) => {
    requireText(volumeId, "volume id", "expand a volume");
    requireText(volumePath, "path", `expand volume "${volumeId}"`);
    const { records, storage } = this.#context;
    const volume = (await records.load()).volumes[volumeId];
    if (volume === undefined) throw csiError("NOT_FOUND", `Cannot expand volume "${volumeId}": there is none`);
    for (const device of volume.backing === "image" ? await findLoopDevices(storage.volumePath(volume)) : []) {
      await refreshLoopDeviceSize(device.path);
      if (volume.mode === "Filesystem" && !device.readOnly) await growMountedFileSystem(volumeId, device.path);
    }
    return { capacityBytes: String(volume.capacityBytes) };
  };

  readonly NodeGetCapabilities: CsiMethod<NodeRpcs["NodeGetCapabilities"]> = async () => ({
    capabilities: CAPABILITIES.map((type) => ({ rpc: { type } })),
  });

  readonly NodeGetInfo: CsiMethod<NodeRpcs["NodeGetInfo"]> = async () => {
    const { nodeName, topologyKey } = this.#context;
    return { nodeId: nodeName, accessibleTopology: { segments: { [topologyKey]: nodeName } } };
  };

  #require(volume: VolumeRecord | undefined, volumeId: string, capability: VolumeCapability, action: string): VolumeRecord {
    const { nodeName, abilities } = this.#context;
    if (volume === undefined) throw csiError("NOT_FOUND", `Cannot ${action} volume "${volumeId}": there is none`);
    const refuse = (why: string): Error => csiError("FAILED_PRECONDITION", `Cannot ${action} volume "${volumeId}": ${why}`);
    if (modeOf(capability) !== volume.mode) throw refuse(`it has mode ${volume.mode}, ${modeOf(capability)} is wanted`);
    if (volume.node !== undefined && volume.node !== nodeName) throw refuse(`it is on node "${volume.node}", this is "${nodeName}"`);
    if (volume.backing === "image" && !abilities.loopDevices) throw withoutLoopDevices(`${action} volume "${volumeId}"`, volume.mode);
    return volume;
  }

  async #stage(volume: VolumeRecord, path: string, capability: VolumeCapability): Promise<void> {
    const { storage, abilities } = this.#context;
    const readOnly = volume.shallow === true;
    // A mount without a record is left from a process that died in between.
    await unmount(path);
    if (volume.backing === "image") {
      const device = await this.#device(volume, readOnly);
      const flags = capability.mount?.mountFlags ?? [];
      if (volume.mode === "Filesystem") await mountDevice(device.path, path, { readOnly, flags });
    } else if (abilities.mount) await bindMount(storage.volumePath(volume), path, { readOnly });
    if (volume.mode === "Block" || !abilities.mount) await writeFile(stagingMarker(path), "");
  }

  /** The device over a volume's image that all nodes of this machine share, attached when it is not yet. */
  async #device(volume: VolumeRecord, readOnly: boolean): Promise<LoopDevice> {
    const image = this.#context.storage.volumePath(volume);
    const device = (await findLoopDevices(image)).find((candidate) => candidate.readOnly === readOnly);
    return device ?? attachLoopDevice(image, { readOnly });
  }

  async #publishDevice(volume: VolumeRecord, target: string, readOnly: boolean): Promise<void> {
    if ((await findMount(target)) !== undefined) return;
    // Writing through a device is not stopped by a read-only mount of its name, so a reader gets a device of its own that refuses.
    const alone = readOnly && volume.shallow !== true;
    const device = alone ? await attachLoopDevice(this.#context.storage.volumePath(volume), { readOnly: true }) : await this.#device(volume, readOnly);
    await mkdir(dirname(target), { recursive: true });
    await (await open(target, "a", 0o600)).close();
    await bindMount(device.path, target, { readOnly: false });
  }
}

/** As with storage of devices, a volume has the mode that it is used in; another one when nobody uses it. */
async function inMode(volume: VolumeRecord, mode: VolumeRecord["mode"]): Promise<VolumeRecord> {
  const changes = volume.mode !== mode && volume.backing === "image" && volume.shallow !== true && !(await isStagedAnywhere(volume));
  return changes ? { ...volume, mode } : volume;
}

async function publishFolder(volumeId: string, staging: string, target: string, readOnly: boolean): Promise<void> {
  const mounted = await findMount(target);
  if (mounted !== undefined) {
    if (mounted.readOnly === readOnly) return;
    throw csiError("ALREADY_EXISTS", `Cannot publish volume "${volumeId}" at "${target}": it is there ${mounted.readOnly ? "read-only" : "writable"}`);
  }
  await mkdir(target, { recursive: true });
  await bindMount(staging, target, { readOnly });
}

/** Where nothing can be mounted, the target names the volume's folder. Who uses it must resolve the link, and keep readers from writing himself. */
async function publishLink(folder: string, target: string): Promise<void> {
  const found = await lstat(target).catch(() => undefined);
  if (found?.isSymbolicLink() === true && (await readlink(target)) === folder) return;
  if (found !== undefined) await removeTarget(target);
  await mkdir(dirname(target), { recursive: true });
  await symlink(folder, target);
}

/** Removes the empty folder, the file or the link that a volume was shown at. A folder with something in it is not ours and stays: an error says so. */
async function removeTarget(target: string): Promise<void> {
  const found = await lstat(target).catch(() => undefined);
  if (found === undefined) return;
  try {
    await (found.isDirectory() ? rmdir(target) : unlink(target));
  } catch (cause) {
    throw csiError("INTERNAL", `Cannot remove "${target}": ${(cause as Error).message}`, { cause });
  }
}

async function growMountedFileSystem(volumeId: string, device: string): Promise<void> {
  const { exitCode, stderr } = await runProgram("resize2fs", [device]);
  if (exitCode === 0) return;
  throw csiError("FAILED_PRECONDITION", `Cannot expand volume "${volumeId}" while it is mounted: ${stderr.split("\n").at(-1)}`, {
    hint: "End the pods that use it, or run with CAP_SYS_RESOURCE.",
  });
}

function requireCapability(request: { readonly volumeId: string; readonly volumeCapability: VolumeCapability | null }, action: string): VolumeCapability {
  if (request.volumeCapability === null) throw csiError("INVALID_ARGUMENT", `Cannot ${action} volume "${request.volumeId}": no capability is given`);
  return request.volumeCapability;
}

function requireText(value: string, what: string, action: string): void {
  if (value === "") throw csiError("INVALID_ARGUMENT", `Cannot ${action}: no ${what} is given`);
}
