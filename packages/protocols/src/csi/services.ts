/** The services of the Container Storage Interface: their definitions for gRPC, and their methods as types that servers and clients share. */
import { readFileSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { type GrpcObject, loadPackageDefinition, type ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";
import type {
  BlockMetadataResponse,
  ControllerExpandVolumeRequest,
  ControllerExpandVolumeResponse,
  ControllerGetCapabilitiesResponse,
  CreateSnapshotRequest,
  CreateSnapshotResponse,
  CreateVolumeGroupSnapshotRequest,
  CreateVolumeRequest,
  CreateVolumeResponse,
  DeleteSnapshotRequest,
  DeleteVolumeRequest,
  Empty,
  GetCapacityRequest,
  GetCapacityResponse,
  GetMetadataAllocatedRequest,
  GetMetadataDeltaRequest,
  GetPluginCapabilitiesResponse,
  GetPluginInfoResponse,
  GroupControllerGetCapabilitiesResponse,
  ListSnapshotsRequest,
  ListSnapshotsResponse,
  ListVolumesRequest,
  ListVolumesResponse,
  NodeExpandVolumeRequest,
  NodeExpandVolumeResponse,
  NodeGetCapabilitiesResponse,
  NodeGetInfoResponse,
  NodeGetVolumeStatsRequest,
  NodeGetVolumeStatsResponse,
  NodePublishVolumeRequest,
  NodeStageVolumeRequest,
  NodeUnpublishVolumeRequest,
  NodeUnstageVolumeRequest,
  ProbeResponse,
  ValidateVolumeCapabilitiesRequest,
  ValidateVolumeCapabilitiesResponse,
  VolumeGroupSnapshotRequest,
  VolumeGroupSnapshotResponse,
} from "./messages.ts";

/** One method: what it is asked and what it answers. */
export interface Rpc<Request, Response> {
  readonly request: Request;
  readonly response: Response;
}

export interface IdentityRpcs {
  readonly GetPluginInfo: Rpc<Empty, GetPluginInfoResponse>;
  readonly GetPluginCapabilities: Rpc<Empty, GetPluginCapabilitiesResponse>;
  readonly Probe: Rpc<Empty, ProbeResponse>;
}

export interface ControllerRpcs {
  readonly CreateVolume: Rpc<CreateVolumeRequest, CreateVolumeResponse>;
  readonly DeleteVolume: Rpc<DeleteVolumeRequest, Empty>;
  readonly ValidateVolumeCapabilities: Rpc<ValidateVolumeCapabilitiesRequest, ValidateVolumeCapabilitiesResponse>;
  readonly ListVolumes: Rpc<ListVolumesRequest, ListVolumesResponse>;
  readonly GetCapacity: Rpc<GetCapacityRequest, GetCapacityResponse>;
  readonly ControllerGetCapabilities: Rpc<Empty, ControllerGetCapabilitiesResponse>;
  readonly CreateSnapshot: Rpc<CreateSnapshotRequest, CreateSnapshotResponse>;
  readonly DeleteSnapshot: Rpc<DeleteSnapshotRequest, Empty>;
  readonly ListSnapshots: Rpc<ListSnapshotsRequest, ListSnapshotsResponse>;
  readonly ControllerExpandVolume: Rpc<ControllerExpandVolumeRequest, ControllerExpandVolumeResponse>;
}

export interface NodeRpcs {
  readonly NodeStageVolume: Rpc<NodeStageVolumeRequest, Empty>;
  readonly NodeUnstageVolume: Rpc<NodeUnstageVolumeRequest, Empty>;
  readonly NodePublishVolume: Rpc<NodePublishVolumeRequest, Empty>;
  readonly NodeUnpublishVolume: Rpc<NodeUnpublishVolumeRequest, Empty>;
  readonly NodeGetVolumeStats: Rpc<NodeGetVolumeStatsRequest, NodeGetVolumeStatsResponse>;
  readonly NodeExpandVolume: Rpc<NodeExpandVolumeRequest, NodeExpandVolumeResponse>;
  readonly NodeGetCapabilities: Rpc<Empty, NodeGetCapabilitiesResponse>;
  readonly NodeGetInfo: Rpc<Empty, NodeGetInfoResponse>;
}

export interface GroupControllerRpcs {
  readonly GroupControllerGetCapabilities: Rpc<Empty, GroupControllerGetCapabilitiesResponse>;
  readonly CreateVolumeGroupSnapshot: Rpc<CreateVolumeGroupSnapshotRequest, VolumeGroupSnapshotResponse>;
  readonly DeleteVolumeGroupSnapshot: Rpc<VolumeGroupSnapshotRequest, Empty>;
  readonly GetVolumeGroupSnapshot: Rpc<VolumeGroupSnapshotRequest, VolumeGroupSnapshotResponse>;
}

/** Each answers with a stream. */
export interface SnapshotMetadataRpcs {
  readonly GetMetadataAllocated: Rpc<GetMetadataAllocatedRequest, BlockMetadataResponse>;
  readonly GetMetadataDelta: Rpc<GetMetadataDeltaRequest, BlockMetadataResponse>;
}

/** The services with the methods typed here. */
export interface CsiRpcs {
  readonly Identity: IdentityRpcs;
  readonly Controller: ControllerRpcs;
  readonly GroupController: GroupControllerRpcs;
  readonly Node: NodeRpcs;
}

export type CsiServiceName = keyof CsiRpcs | "SnapshotMetadata";

const SERVICES: readonly CsiServiceName[] = ["Identity", "Controller", "Node", "GroupController", "SnapshotMetadata"];

let loaded: Readonly<Record<CsiServiceName, ServiceDefinition>> | undefined;

/**
 * The definition of every service, made from the data in `data/csi.json` on first use and kept.
 * Messages come as messages.ts says: 64-bit integers and enums as text, defaults filled in.
 */
export function csiServices(): Readonly<Record<CsiServiceName, ServiceDefinition>> {
  loaded ??= load();
  return loaded;
}

function load(): Readonly<Record<CsiServiceName, ServiceDefinition>> {
  const data = JSON.parse(readFileSync(new URL("./data/csi.json", import.meta.url), "utf8")) as Parameters<typeof fromJSON>[0];
  const root = loadPackageDefinition(fromJSON(data, { longs: String, enums: String, defaults: true, oneofs: true }));
  const v1 = (root["csi"] as GrpcObject)["v1"] as GrpcObject;
  return Object.fromEntries(SERVICES.map((name) => [name, definitionOf(v1, name)])) as Record<CsiServiceName, ServiceDefinition>;
}

function definitionOf(namespace: GrpcObject, name: CsiServiceName): ServiceDefinition {
  const client = namespace[name];
  if (typeof client !== "function") throw new DrayError("INVARIANT", `Cannot load CSI service "${name}": the data do not define it`);
  return client.service;
}
