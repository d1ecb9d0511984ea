/** A gRPC server on a Unix socket: what is the same for the services of a CSI driver and for those that a kubelet asks for. */
import { DrayError, messageOf } from "@drayage/base";
import {
  type handleUnaryCall,
  Server,
  ServerCredentials,
  type ServerWritableStream,
  type ServiceDefinition,
  type UntypedServiceImplementation,
} from "@grpc/grpc-js";
import { removeStaleSocket, socketAddress } from "./socket.ts";
import { statusOf } from "./status.ts";

/** Called around every request: for logs, and for faults in tests. What it throws is answered in place of the method's own result. */
export type Interceptor = (method: string, request: object, work: () => Promise<object>) => Promise<object>;

export interface SocketServer {
  /** Ends every call under way and removes the socket. */
  stop(): Promise<void>;
}

export interface SocketService {
  readonly definition: ServiceDefinition;
  /** Methods by their names, each a function of a request and a signal; those whose answer is a stream give an iterable. One that is left out answers UNIMPLEMENTED. */
  readonly implementation: object;
}

/** Serves on `socketPath`, whose folder must exist. A socket left by a killed server is taken over; one that is in use is not (NOT_PERMITTED). */
export async function serveSocket(socketPath: string, services: readonly SocketService[], intercept: Interceptor): Promise<SocketServer> {
  const server = new Server({ "grpc.max_receive_message_length": -1 });
  for (const { definition, implementation } of services) server.addService(definition, handlers(definition, implementation, intercept));
  await removeStaleSocket(socketPath);
  const address = socketAddress(socketPath);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(address.target, ServerCredentials.createInsecure(), (cause) => {
      if (cause === null) return resolve();
      address.release();
      reject(new DrayError("NOT_PERMITTED", `Cannot listen on "${socketPath}": ${messageOf(cause)}`, { cause }));
    });
  });
  return {
    stop: () => {
      server.forceShutdown();
      address.release();
      return removeStaleSocket(socketPath);
    },
  };
}

type Method = (request: object, signal: AbortSignal) => Promise<object>;
type StreamMethod = (request: object, signal: AbortSignal) => AsyncIterable<object>;

function handlers(definition: ServiceDefinition, implementation: object, intercept: Interceptor): UntypedServiceImplementation {
  const methods = implementation as Readonly<Record<string, Method | StreamMethod | undefined>>;
  const bound: UntypedServiceImplementation = {};
  for (const [name, { responseStream }] of Object.entries(definition)) {
    const method = methods[name];
    if (method === undefined) continue;
    if (responseStream) {
      bound[name] = (call: ServerWritableStream<object, object>) => streamTo(call, (method as StreamMethod).bind(implementation));
      continue;
    }
    const handle: handleUnaryCall<object, object> = (call, callback) => {
      const ended = new AbortController();
      call.on("cancelled", () => ended.abort());
      intercept(name, call.request, () => (method as Method).call(implementation, call.request, ended.signal)).then(
        (response) => callback(null, response),
        (error: unknown) => callback(statusOf(error)),
      );
    };
    bound[name] = handle;
  }
  return bound;
}

/** Answers with each value as its caller takes it; what is thrown ends the stream with its status. */
export function streamTo<Request extends object, Response>(
  call: ServerWritableStream<Request, Response>,
  method: (request: Request, signal: AbortSignal) => AsyncIterable<Response>,
): void {
  const ended = new AbortController();
  call.on("cancelled", () => ended.abort());
  const write = async (): Promise<void> => {
    for await (const value of method(call.request, ended.signal)) {
      if (ended.signal.aborted) return;
      if (!call.write(value)) await new Promise<void>((resolve) => onceOf(call, ended.signal, resolve));
    }
  };
  write().then(
    () => call.end(),
    // What gRPC makes the stream's last word of.
    (error: unknown) => call.emit("error", statusOf(error)),
  );
}

function onceOf(call: { once(event: "drain", listener: () => void): unknown }, signal: AbortSignal, listener: () => void): void {
  call.once("drain", listener);
  signal.addEventListener("abort", listener, { once: true });
}
