/**
 * The SnapshotMetadata service that stands before a CSI driver in a cluster: which blocks of a snapshot were written, and which since another snapshot.
 * Definition: kubernetes-csi/external-snapshot-metadata, proto/schema.proto, release 1.0. It differs from the driver's own service in who asks (a token) and in what is named.
 */
import { DrayError } from "@drayage/base";
import { type GrpcObject, loadPackageDefinition, type ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON } from "@grpc/proto-loader";

export type { BlockMetadata, BlockMetadataResponse } from "../csi/messages.ts";

interface CallerRequest {
  /** Of a service account, for the audience that the SnapshotMetadataService names. */
  readonly securityToken: string;
  /** Of the VolumeSnapshot. */
  readonly namespace: string;
  /** What lies before it is of no interest. */
  readonly startingOffset: string;
  /** Ranges in one message; 0 leaves it to the server. */
  readonly maxResults: number;
}

export interface AllocatedRequest extends CallerRequest {
  readonly snapshotName: string;
}

export interface DeltaRequest extends CallerRequest {
  /** The storage's handle of the base, whose VolumeSnapshot may be gone. Releases before 0.2 of the sidecar take the name of a VolumeSnapshot here, and find none. */
  readonly baseSnapshotId: string;
  readonly targetSnapshotName: string;
}

const response = {
  fields: {
    blockMetadataType: { type: "BlockMetadataType", id: 1 },
    volumeCapacityBytes: { type: "int64", id: 2 },
    blockMetadata: { rule: "repeated", type: "BlockMetadata", id: 3 },
  },
};

const DEFINITION = {
  nested: {
    snapshotmetadata: {
      nested: {
        SnapshotMetadata: {
          methods: {
            GetMetadataAllocated: { requestType: "GetMetadataAllocatedRequest", responseType: "GetMetadataAllocatedResponse", responseStream: true },
            GetMetadataDelta: { requestType: "GetMetadataDeltaRequest", responseType: "GetMetadataDeltaResponse", responseStream: true },
          },
        },
        BlockMetadataType: { values: { UNKNOWN: 0, FIXED_LENGTH: 1, VARIABLE_LENGTH: 2 } },
        BlockMetadata: { fields: { byteOffset: { type: "int64", id: 1 }, sizeBytes: { type: "int64", id: 2 } } },
        GetMetadataAllocatedRequest: {
          fields: {
            securityToken: { type: "string", id: 1 },
            namespace: { type: "string", id: 2 },
            snapshotName: { type: "string", id: 3 },
            startingOffset: { type: "int64", id: 4 },
            maxResults: { type: "int32", id: 5 },
          },
        },
        GetMetadataAllocatedResponse: response,
        GetMetadataDeltaRequest: {
          fields: {
            securityToken: { type: "string", id: 1 },
            namespace: { type: "string", id: 2 },
            baseSnapshotId: { type: "string", id: 3 },
            targetSnapshotName: { type: "string", id: 4 },
            startingOffset: { type: "int64", id: 5 },
            maxResults: { type: "int32", id: 6 },
          },
        },
        GetMetadataDeltaResponse: response,
      },
    },
  },
};

let loaded: ServiceDefinition | undefined;

/** Made on first use and kept. */
export function snapshotMetadataService(): ServiceDefinition {
  loaded ??= load();
  return loaded;
}

function load(): ServiceDefinition {
  const root = loadPackageDefinition(fromJSON(DEFINITION as Parameters<typeof fromJSON>[0], { longs: String, enums: String, defaults: true }));
  const service = (root["snapshotmetadata"] as GrpcObject)["SnapshotMetadata"];
  if (typeof service !== "function") throw new DrayError("INVARIANT", 'Cannot load service "SnapshotMetadata": the data do not define it');
  return service.service;
}
