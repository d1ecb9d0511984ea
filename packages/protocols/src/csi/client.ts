/** A typed client of one CSI service. */
import { systemClock } from "@drayage/base";
import { credentials, Client as GrpcClient, type MethodDefinition, type ServiceError } from "@grpc/grpc-js";
import type { Sendable } from "./messages.ts";
import { type CsiRpcs, csiServices, type Rpc, type SnapshotMetadataRpcs } from "./services.ts";
import { socketAddress } from "./socket.ts";
import { errorFromStatus } from "./status.ts";
import { type StreamCallOptions, streamCall } from "./stream-call.ts";

export interface CallOptions {
  /** The call ends with CSI_UNAVAILABLE when the driver takes longer; ten minutes when left out, since a snapshot may be a copy. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal | undefined;
}

/** Every method of a service as a function. A failure is thrown as status.ts says; an abort throws the signal's reason. */
export type CsiClient<Service> = {
  readonly [Method in keyof Service]: Service[Method] extends Rpc<infer Request, infer Response>
    ? (request: Sendable<Request>, options?: CallOptions) => Promise<Response>
    : never;
};

/** The same of methods whose answers are streams. */
export type StreamClient<Service> = {
  readonly [Method in keyof Service]: Service[Method] extends Rpc<infer Request, infer Response>
    ? (request: Sendable<Request>, options?: StreamCallOptions) => AsyncGenerator<Response, undefined>
    : never;
};

export interface CsiConnection {
  readonly identity: CsiClient<CsiRpcs["Identity"]>;
  readonly controller: CsiClient<CsiRpcs["Controller"]>;
  readonly groupController: CsiClient<CsiRpcs["GroupController"]>;
  readonly node: CsiClient<CsiRpcs["Node"]>;
  readonly snapshotMetadata: StreamClient<SnapshotMetadataRpcs>;
  close(): void;
}

const CALL_TIMEOUT_MS = 600_000;

/**
 * Connects to the driver that listens on `socketPath`. The connection is made with the first call and again whenever it is lost;
 * a call while nobody listens throws CSI_UNAVAILABLE.
 */
export function connectCsi(socketPath: string): CsiConnection {
  const address = socketAddress(socketPath);
  // A driver that restarts must be found again at once: gRPC's own back-off grows to two minutes.
  const client = new GrpcClient(address.target, credentials.createInsecure(), {
    "grpc.initial_reconnect_backoff_ms": 50,
    "grpc.max_reconnect_backoff_ms": 500,
    "grpc.enable_http_proxy": 0,
    "grpc.max_receive_message_length": -1,
  });
  return {
    identity: serviceClient(client, "Identity"),
    controller: serviceClient(client, "Controller"),
    groupController: serviceClient(client, "GroupController"),
    node: serviceClient(client, "Node"),
    snapshotMetadata: streamClient(client),
    close: () => {
      client.close();
      address.release();
    },
  };
}

function serviceClient<Name extends keyof CsiRpcs>(client: GrpcClient, name: Name): CsiClient<CsiRpcs[Name]> {
  const methods = Object.entries(csiServices()[name]).map(([method, definition]) => [
    method,
    (request: object, options: CallOptions = {}) => call(client, definition, request, options),
  ]);
  return Object.fromEntries(methods) as CsiClient<CsiRpcs[Name]>;
}

function streamClient(client: GrpcClient): StreamClient<SnapshotMetadataRpcs> {
  const methods = Object.entries(csiServices().SnapshotMetadata).map(([method, definition]) => [
    method,
    (request: object, options: StreamCallOptions = {}) => streamCall(client, definition as MethodDefinition<object, object>, request, options),
  ]);
  return Object.fromEntries(methods) as StreamClient<SnapshotMetadataRpcs>;
}

function call(client: GrpcClient, definition: MethodDefinition<object, object>, request: object, options: CallOptions): Promise<object> {
  const { signal, timeoutMs = CALL_TIMEOUT_MS } = options;
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    // Deadlines are points of the machine's own clock; gRPC knows no other.
    const deadline = systemClock.nowMs() + timeoutMs;
    const answered = (error: ServiceError | null, response: object | undefined): void => {
      signal?.removeEventListener("abort", cancel);
      if (signal?.aborted === true) reject(signal.reason);
      else if (error !== null) reject(errorFromStatus(definition.path, error));
      else resolve(response ?? {});
    };
    const under = client.makeUnaryRequest(definition.path, definition.requestSerialize, definition.responseDeserialize, request, { deadline }, answered);
    const cancel = (): void => under.cancel();
    signal?.addEventListener("abort", cancel, { once: true });
  });
}
