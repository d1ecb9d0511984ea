/** A server of the SnapshotMetadata service, by TLS. */
import { DrayError, messageOf } from "@drayage/base";
import { type handleServerStreamingCall, Server, ServerCredentials } from "@grpc/grpc-js";
import { streamTo } from "../csi/serve-socket.ts";
import { type AllocatedRequest, type BlockMetadataResponse, type DeltaRequest, snapshotMetadataService } from "./definition.ts";

/** Errors are thrown with `csiError`. */
export interface SnapshotMetadataImplementation {
  allocated(request: AllocatedRequest, signal: AbortSignal): AsyncIterable<BlockMetadataResponse>;
  delta(request: DeltaRequest, signal: AbortSignal): AsyncIterable<BlockMetadataResponse>;
}

export interface SnapshotMetadataServer {
  readonly port: number;
  stop(): void;
}

/** Listens on a port of `host`; 0 takes any. Throws NOT_PERMITTED when it cannot. */
export async function serveSnapshotMetadata(
  implementation: SnapshotMetadataImplementation,
  { host, port, certificatePem, keyPem }: { readonly host: string; readonly port: number; readonly certificatePem: string; readonly keyPem: string },
): Promise<SnapshotMetadataServer> {
  const server = new Server();
  const allocated: handleServerStreamingCall<AllocatedRequest, BlockMetadataResponse> = (call) => streamTo(call, implementation.allocated.bind(implementation));
  const delta: handleServerStreamingCall<DeltaRequest, BlockMetadataResponse> = (call) => streamTo(call, implementation.delta.bind(implementation));
  server.addService(snapshotMetadataService(), { GetMetadataAllocated: allocated, GetMetadataDelta: delta });
  const pair = { private_key: Buffer.from(keyPem), cert_chain: Buffer.from(certificatePem) };
  const bound = await new Promise<number>((resolve, reject) => {
    server.bindAsync(`${host}:${port}`, ServerCredentials.createSsl(null, [pair]), (cause, at) => {
      if (cause === null) resolve(at);
      else reject(new DrayError("NOT_PERMITTED", `Cannot listen on ${host}:${port}: ${messageOf(cause)}`, { cause }));
    });
  });
  return { port: bound, stop: () => server.forceShutdown() };
}
