/**
 * The messages of the Container Storage Interface, v1, as they arrive: every field present, absent messages null
 * (members of a oneof are left out instead), 64-bit integers as decimal text, enums by name.
 * Only what this program uses is named here; the wire carries the rest. Source: `csi.proto` of the Go module github.com/container-storage-interface/spec.
 */

/** A 64-bit integer as decimal text, because numbers lose digits beyond 2^53. */
export type Int64 = string;

/** What may be sent where `T` is wanted: a field left out has its default. */
export type Sendable<T> = T extends string | number | boolean | null
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Sendable<Item>[]
    : { readonly [Field in keyof T]?: Sendable<T[Field]> | undefined };

export type Empty = Readonly<Record<never, never>>;
export type StringMap = Readonly<Record<string, string>>;

export interface Timestamp {
  readonly seconds: Int64;
  readonly nanos: number;
}

// Identity

export interface GetPluginInfoResponse {
  readonly name: string;
  readonly vendorVersion: string;
  readonly manifest: StringMap;
}

export type PluginService = "UNKNOWN" | "CONTROLLER_SERVICE" | "VOLUME_ACCESSIBILITY_CONSTRAINTS" | "GROUP_CONTROLLER_SERVICE" | "SNAPSHOT_METADATA_SERVICE";

export interface PluginCapability {
  readonly service?: { readonly type: PluginService };
  readonly volumeExpansion?: { readonly type: "UNKNOWN" | "ONLINE" | "OFFLINE" };
}

export interface GetPluginCapabilitiesResponse {
  readonly capabilities: readonly PluginCapability[];
}

export interface ProbeResponse {
  readonly ready: { readonly value: boolean } | null;
}

// Changed blocks

export interface BlockMetadata {
  readonly byteOffset: Int64;
  readonly sizeBytes: Int64;
}

export interface GetMetadataAllocatedRequest {
  readonly snapshotId: string;
  readonly startingOffset: Int64;
  readonly maxResults: number;
  readonly secrets: StringMap;
}

export interface GetMetadataDeltaRequest {
  readonly baseSnapshotId: string;
  readonly targetSnapshotId: string;
  readonly startingOffset: Int64;
  readonly maxResults: number;
  readonly secrets: StringMap;
}

/** Of both calls: one of several. */
export interface BlockMetadataResponse {
  readonly blockMetadataType: "UNKNOWN" | "FIXED_LENGTH" | "VARIABLE_LENGTH";
  readonly volumeCapacityBytes: Int64;
  readonly blockMetadata: readonly BlockMetadata[];
}

// Volumes

export type AccessMode =
  | "UNKNOWN"
  | "SINGLE_NODE_WRITER"
  | "SINGLE_NODE_READER_ONLY"
  | "MULTI_NODE_READER_ONLY"
  | "MULTI_NODE_SINGLE_WRITER"
  | "MULTI_NODE_MULTI_WRITER"
  | "SINGLE_NODE_SINGLE_WRITER"
  | "SINGLE_NODE_MULTI_WRITER";

/** Exactly one of `block` and `mount` is set. */
export interface VolumeCapability {
  readonly block?: Empty;
  readonly mount?: { readonly fsType: string; readonly mountFlags: readonly string[]; readonly volumeMountGroup: string };
  readonly accessMode: { readonly mode: AccessMode } | null;
}

/** Zero means that no bound is given. */
export interface CapacityRange {
  readonly requiredBytes: Int64;
  readonly limitBytes: Int64;
}

/** At most one of the two is set. */
export interface VolumeContentSource {
  readonly snapshot?: { readonly snapshotId: string };
  readonly volume?: { readonly volumeId: string };
}

export interface Topology {
  readonly segments: StringMap;
}

export interface TopologyRequirement {
  readonly requisite: readonly Topology[];
  readonly preferred: readonly Topology[];
}

export interface CsiVolume {
  readonly capacityBytes: Int64;
  readonly volumeId: string;
  readonly volumeContext: StringMap;
  readonly contentSource: VolumeContentSource | null;
  readonly accessibleTopology: readonly Topology[];
}

export interface CreateVolumeRequest {
  readonly name: string;
  readonly capacityRange: CapacityRange | null;
  readonly volumeCapabilities: readonly VolumeCapability[];
  readonly parameters: StringMap;
  readonly volumeContentSource: VolumeContentSource | null;
  readonly accessibilityRequirements: TopologyRequirement | null;
}

export interface CreateVolumeResponse {
  readonly volume: CsiVolume | null;
}

export interface DeleteVolumeRequest {
  readonly volumeId: string;
}

export interface ValidateVolumeCapabilitiesRequest {
  readonly volumeId: string;
  readonly volumeContext: StringMap;
  readonly volumeCapabilities: readonly VolumeCapability[];
  readonly parameters: StringMap;
}

export interface ValidateVolumeCapabilitiesResponse {
  readonly confirmed: { readonly volumeContext: StringMap; readonly volumeCapabilities: readonly VolumeCapability[]; readonly parameters: StringMap } | null;
  readonly message: string;
}

export interface ListVolumesRequest {
  readonly maxEntries: number;
  readonly startingToken: string;
}

export interface ListVolumesResponse {
  readonly entries: readonly { readonly volume: CsiVolume | null; readonly status: { readonly publishedNodeIds: readonly string[] } | null }[];
  readonly nextToken: string;
}

export interface GetCapacityRequest {
  readonly volumeCapabilities: readonly VolumeCapability[];
  readonly parameters: StringMap;
  readonly accessibleTopology: Topology | null;
}

export interface GetCapacityResponse {
  readonly availableCapacity: Int64;
  readonly maximumVolumeSize: { readonly value: Int64 } | null;
  readonly minimumVolumeSize: { readonly value: Int64 } | null;
}

export type ControllerCapability =
  | "UNKNOWN"
  | "CREATE_DELETE_VOLUME"
  | "PUBLISH_UNPUBLISH_VOLUME"
  | "LIST_VOLUMES"
  | "GET_CAPACITY"
  | "CREATE_DELETE_SNAPSHOT"
  | "LIST_SNAPSHOTS"
  | "CLONE_VOLUME"
  | "PUBLISH_READONLY"
  | "EXPAND_VOLUME"
  | "LIST_VOLUMES_PUBLISHED_NODES"
  | "VOLUME_CONDITION"
  | "GET_VOLUME"
  | "SINGLE_NODE_MULTI_WRITER"
  | "MODIFY_VOLUME"
  | "GET_SNAPSHOT";

export interface ControllerGetCapabilitiesResponse {
  readonly capabilities: readonly { readonly rpc?: { readonly type: ControllerCapability } }[];
}

export interface ControllerExpandVolumeRequest {
  readonly volumeId: string;
  readonly capacityRange: CapacityRange | null;
  readonly volumeCapability: VolumeCapability | null;
}

export interface ControllerExpandVolumeResponse {
  readonly capacityBytes: Int64;
  readonly nodeExpansionRequired: boolean;
}

// Snapshots

export interface CsiSnapshot {
  readonly sizeBytes: Int64;
  readonly snapshotId: string;
  readonly sourceVolumeId: string;
  readonly creationTime: Timestamp | null;
  readonly readyToUse: boolean;
  readonly groupSnapshotId: string;
}

export interface CreateSnapshotRequest {
  readonly sourceVolumeId: string;
  readonly name: string;
  readonly parameters: StringMap;
}

export interface CreateSnapshotResponse {
  readonly snapshot: CsiSnapshot | null;
}

export interface DeleteSnapshotRequest {
  readonly snapshotId: string;
}

export interface ListSnapshotsRequest {
  readonly maxEntries: number;
  readonly startingToken: string;
  readonly sourceVolumeId: string;
  readonly snapshotId: string;
}

export interface ListSnapshotsResponse {
  readonly entries: readonly { readonly snapshot: CsiSnapshot | null }[];
  readonly nextToken: string;
}

// Group snapshots

/** Snapshots of several volumes, cut at one moment. */
export interface CsiVolumeGroupSnapshot {
  readonly groupSnapshotId: string;
  readonly snapshots: readonly CsiSnapshot[];
  readonly creationTime: Timestamp | null;
  readonly readyToUse: boolean;
}

export interface CreateVolumeGroupSnapshotRequest {
  readonly name: string;
  readonly sourceVolumeIds: readonly string[];
  readonly parameters: StringMap;
}

export interface VolumeGroupSnapshotResponse {
  readonly groupSnapshot: CsiVolumeGroupSnapshot | null;
}

/** Names a group for a driver that may have kept no record of it: by its members too. */
export interface VolumeGroupSnapshotRequest {
  readonly groupSnapshotId: string;
  readonly snapshotIds: readonly string[];
}

export interface GroupControllerGetCapabilitiesResponse {
  readonly capabilities: readonly { readonly rpc?: { readonly type: "UNKNOWN" | "CREATE_DELETE_GET_VOLUME_GROUP_SNAPSHOT" } }[];
}

// Node

export interface NodeStageVolumeRequest {
  readonly volumeId: string;
  readonly publishContext: StringMap;
  readonly stagingTargetPath: string;
  readonly volumeCapability: VolumeCapability | null;
  readonly volumeContext: StringMap;
}

export interface NodeUnstageVolumeRequest {
  readonly volumeId: string;
  readonly stagingTargetPath: string;
}

export interface NodePublishVolumeRequest {
  readonly volumeId: string;
  readonly publishContext: StringMap;
  readonly stagingTargetPath: string;
  readonly targetPath: string;
  readonly volumeCapability: VolumeCapability | null;
  readonly readonly: boolean;
  readonly volumeContext: StringMap;
}

export interface NodeUnpublishVolumeRequest {
  readonly volumeId: string;
  readonly targetPath: string;
}

export interface NodeGetVolumeStatsRequest {
  readonly volumeId: string;
  readonly volumePath: string;
  readonly stagingTargetPath: string;
}

export interface VolumeUsage {
  readonly available: Int64;
  readonly total: Int64;
  readonly used: Int64;
  readonly unit: "UNKNOWN" | "BYTES" | "INODES";
}

export interface NodeGetVolumeStatsResponse {
  readonly usage: readonly VolumeUsage[];
}

export interface NodeExpandVolumeRequest {
  readonly volumeId: string;
  readonly volumePath: string;
  readonly capacityRange: CapacityRange | null;
  readonly stagingTargetPath: string;
}

export interface NodeExpandVolumeResponse {
  readonly capacityBytes: Int64;
}

export type NodeCapability =
  | "UNKNOWN"
  | "STAGE_UNSTAGE_VOLUME"
  | "GET_VOLUME_STATS"
  | "EXPAND_VOLUME"
  | "VOLUME_CONDITION"
  | "SINGLE_NODE_MULTI_WRITER"
  | "VOLUME_MOUNT_GROUP";

export interface NodeGetCapabilitiesResponse {
  readonly capabilities: readonly { readonly rpc?: { readonly type: NodeCapability } }[];
}

export interface NodeGetInfoResponse {
  readonly nodeId: string;
  readonly maxVolumesPerNode: Int64;
  readonly accessibleTopology: Topology | null;
}
