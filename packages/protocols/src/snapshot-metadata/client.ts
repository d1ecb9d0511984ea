/** A client of the SnapshotMetadata service of a cluster. */
import { credentials, Client as GrpcClient, type MethodDefinition } from "@grpc/grpc-js";
import { streamCall } from "../csi/stream-call.ts";
import { type AllocatedRequest, type BlockMetadataResponse, type DeltaRequest, snapshotMetadataService } from "./definition.ts";

export interface SnapshotMetadataClientOptions {
  /** `host:port`. */
  readonly address: string;
  /** PEM of the authority that signed the server's certificate: no other is believed. */
  readonly caCert: string;
  /** How long the service may be silent. @default 60 seconds */
  readonly silenceMs?: number;
}

export interface SnapshotMetadataClient {
  allocated(request: AllocatedRequest, signal?: AbortSignal): AsyncGenerator<BlockMetadataResponse>;
  delta(request: DeltaRequest, signal?: AbortSignal): AsyncGenerator<BlockMetadataResponse>;
  close(): void;
}

/** Errors of calls are those of CSI drivers (CSI_NOT_FOUND, CSI_UNAVAILABLE, NOT_PERMITTED …). */
export function connectSnapshotMetadata({ address, caCert, ...options }: SnapshotMetadataClientOptions): SnapshotMetadataClient {
  const client = new GrpcClient(address, credentials.createSsl(Buffer.from(caCert)), { "grpc.enable_http_proxy": 0 });
  const call = (method: string, request: object, signal: AbortSignal | undefined): AsyncGenerator<BlockMetadataResponse> =>
    streamCall(client, snapshotMetadataService()[method] as MethodDefinition<object, BlockMetadataResponse>, request, { ...options, signal });
  return {
    allocated: (request, signal) => call("GetMetadataAllocated", request, signal),
    delta: (request, signal) => call("GetMetadataDelta", request, signal),
    close: () => client.close(),
  };
}
