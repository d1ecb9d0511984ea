/** What a CreateVolume request asks for, after every check that needs no disk. */
import { type CreateVolumeRequest, csiError, type TopologyRequirement, type VolumeCapability } from "@drayage/protocols/csi";
import type { HostAbilities } from "./host-abilities.ts";
import type { Backing, ContentOrigin, StorageRecord, VolumeMode } from "./storage-record.ts";

export interface VolumePlan {
  readonly mode: VolumeMode;
  readonly backing: Backing;
  readonly capacityBytes: number;
  /** The bounds as they were asked for; 0 when not given. */
  readonly requiredBytes: number;
  readonly limitBytes: number;
  readonly node: string | undefined;
  readonly origin: ContentOrigin | undefined;
  /** Nobody may write to it, so it shows its snapshot instead of copying it. */
  readonly shallow: boolean;
}

export interface PlanContext {
  readonly abilities: HostAbilities;
  readonly topologyKey: string;
  readonly nodeName: string;
}

/** What a class may say: `topology: node|shared`, `backing: directory|image` and `shallow: auto|never`. */
interface ClassParameters {
  readonly topology: "node" | "shared";
  readonly backing: Backing | undefined;
  /** Whether readers of a snapshot get a copy of it, as with storage that cannot show one in place. */
  readonly copies: boolean;
}

const CAPACITY_DEFAULT_BYTES = 1024 ** 3;
/** Sizes are given in these, so that a loop device has no torn last sector. */
const SECTOR_BYTES = 512;

/** Throws INVALID_ARGUMENT, OUT_OF_RANGE, NOT_FOUND (its source) or FAILED_PRECONDITION (this machine cannot offer it). */
export function planVolume(request: CreateVolumeRequest, record: StorageRecord, context: PlanContext): VolumePlan {
  const name = request.name;
  const { topology, backing: wantedBacking, copies } = parametersOf(request);
  const modes = new Set(request.volumeCapabilities.map(modeOf));
  const [mode] = modes;
  if (mode === undefined || modes.size > 1) throw csiError("INVALID_ARGUMENT", `Cannot create volume "${name}": capabilities of exactly one mode are wanted`);
  const origin = originOf(request);
  const source = sourceOf(name, origin, record);
  if (source !== undefined && mode === "Block" && source.backing === "directory") {
    throw csiError("INVALID_ARGUMENT", `Cannot create block volume "${name}": its source is a folder, not an image`);
  }
  const backing = source?.backing ?? (mode === "Block" ? "image" : (wantedBacking ?? "directory"));
  if (mode === "Filesystem" && wantedBacking !== undefined && wantedBacking !== backing) {
    throw csiError("INVALID_ARGUMENT", `Cannot create volume "${name}": its class wants backing "${wantedBacking}", its source has "${backing}"`);
  }
  if (backing === "image" && !context.abilities.loopDevices) throw withoutLoopDevices(`create volume "${name}"`, mode);
  return {
    mode,
    backing,
    origin,
    ...sizesOf(request, source?.bytes),
    node: topology === "node" ? nodeOf(request.accessibilityRequirements, context) : undefined,
    shallow: !copies && origin?.kind === "snapshot" && request.volumeCapabilities.every(isReaderOnly),
  };
}

/** The answer where loop devices cannot be had; a plain file would not be a block device and is never passed off as one. */
export function withoutLoopDevices(action: string, mode: VolumeMode): Error {
  const what = mode === "Block" ? "a block volume" : "a volume with a file system of its own";
  return csiError("FAILED_PRECONDITION", `Cannot ${action}: ${what} needs a loop device, and this process may not make one`, { hint: "Run as root." });
}

export function modeOf(capability: VolumeCapability): VolumeMode {
  if (capability.accessMode === null || capability.accessMode.mode === "UNKNOWN")
    throw csiError("INVALID_ARGUMENT", "Cannot use a volume capability: its access mode is missing");
  if ((capability.block === undefined) === (capability.mount === undefined)) {
    throw csiError("INVALID_ARGUMENT", "Cannot use a volume capability: either block or mount is wanted");
  }
  return capability.block === undefined ? "Filesystem" : "Block";
}

export function isReaderOnly(capability: VolumeCapability): boolean {
  return capability.accessMode?.mode === "MULTI_NODE_READER_ONLY" || capability.accessMode?.mode === "SINGLE_NODE_READER_ONLY";
}

function parametersOf(request: CreateVolumeRequest): ClassParameters {
  let topology: ClassParameters["topology"] = "shared";
  let backing: Backing | undefined;
  let copies = false;
  for (const [key, value] of Object.entries(request.parameters)) {
    // What the provisioner adds about the claim.
    if (key.startsWith("csi.storage.k8s.io/")) continue;
    if (key === "topology" && (value === "node" || value === "shared")) topology = value;
    else if (key === "backing" && (value === "directory" || value === "image")) backing = value;
    else if (key === "shallow" && (value === "auto" || value === "never")) copies = value === "never";
    else {
      throw csiError("INVALID_ARGUMENT", `Cannot create volume "${request.name}": parameter "${key}" is "${value}"`, {
        hint: 'Parameters are topology ("node" or "shared"), backing ("directory" or "image") and shallow ("auto" or "never").',
      });
    }
  }
  return { topology, backing, copies };
}

function originOf({ name, volumeContentSource }: CreateVolumeRequest): ContentOrigin | undefined {
  if (volumeContentSource === null) return undefined;
  const { snapshot, volume } = volumeContentSource;
  if (snapshot !== undefined && snapshot.snapshotId !== "") return { kind: "snapshot", id: snapshot.snapshotId };
  if (volume !== undefined && volume.volumeId !== "") return { kind: "volume", id: volume.volumeId };
  throw csiError("INVALID_ARGUMENT", `Cannot create volume "${name}": its source has no id`);
}

function sourceOf(name: string, origin: ContentOrigin | undefined, record: StorageRecord): { backing: Backing; bytes: number } | undefined {
  if (origin === undefined) return undefined;
  const snapshot = record.snapshots[origin.id];
  const volume = record.volumes[origin.id];
  if (origin.kind === "snapshot" && snapshot !== undefined && snapshot.deleted !== true) return { backing: snapshot.backing, bytes: snapshot.sizeBytes };
  if (origin.kind === "volume" && volume !== undefined) return { backing: volume.backing, bytes: volume.capacityBytes };
  throw csiError("NOT_FOUND", `Cannot create volume "${name}": there is no ${origin.kind} "${origin.id}"`);
}

function sizesOf(request: CreateVolumeRequest, sourceBytes: number | undefined): Pick<VolumePlan, "capacityBytes" | "requiredBytes" | "limitBytes"> {
  const requiredBytes = Number(request.capacityRange?.requiredBytes ?? "0");
  const limitBytes = Number(request.capacityRange?.limitBytes ?? "0");
  const refuse = (why: string): Error => csiError("OUT_OF_RANGE", `Cannot create volume "${request.name}": ${why}`);
  if (requiredBytes < 0 || limitBytes < 0) throw csiError("INVALID_ARGUMENT", `Cannot create volume "${request.name}": its size is negative`);
  if (!Number.isSafeInteger(requiredBytes)) throw refuse(`${request.capacityRange?.requiredBytes} bytes are wanted, ${Number.MAX_SAFE_INTEGER} are the most`);
  if (limitBytes > 0 && limitBytes < requiredBytes) throw refuse(`${requiredBytes} bytes are wanted, ${limitBytes} allowed`);
  if (sourceBytes !== undefined && requiredBytes > 0 && requiredBytes < sourceBytes)
    throw refuse(`its source has ${sourceBytes} bytes, ${requiredBytes} are wanted`);
  const unbounded = requiredBytes > 0 ? requiredBytes : (sourceBytes ?? CAPACITY_DEFAULT_BYTES);
  const capacityBytes =
    Math.ceil((requiredBytes === 0 && sourceBytes === undefined && limitBytes > 0 ? Math.min(unbounded, limitBytes) : unbounded) / SECTOR_BYTES) * SECTOR_BYTES;
  if (limitBytes > 0 && capacityBytes > limitBytes) throw refuse(`${capacityBytes} bytes are needed, ${limitBytes} allowed`);
  return { capacityBytes, requiredBytes, limitBytes };
}

/** The preferred node, else one that is allowed, else this one. */
function nodeOf(requirement: TopologyRequirement | null, { topologyKey, nodeName }: PlanContext): string {
  if (requirement === null) return nodeName;
  const node = [...requirement.preferred, ...requirement.requisite].map(({ segments }) => segments[topologyKey]).find((name) => name !== undefined);
  if (node === undefined) throw csiError("RESOURCE_EXHAUSTED", `Cannot place a volume: no topology with key "${topologyKey}" is asked for`);
  return node;
}
