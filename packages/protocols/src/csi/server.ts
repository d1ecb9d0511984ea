/** A gRPC server of CSI services on a Unix socket. */
import { DrayError, messageOf } from "@drayage/base";
import { type handleUnaryCall, Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from "@grpc/grpc-js";
import type { Sendable } from "./messages.ts";
import { type CsiRpcs, csiServices, type Rpc } from "./services.ts";
import { removeStaleSocket, socketAddress } from "./socket.ts";
import { statusOf } from "./status.ts";

/** One method as a function; the signal is aborted when its caller gave up. Errors are thrown with `csiError`. */
export type CsiMethod<Method> =
  Method extends Rpc<infer Request, infer Response> ? (request: Request, signal: AbortSignal) => Promise<Sendable<Response>> : never;

/** A service as functions. A method that is left out answers UNIMPLEMENTED. */
export type CsiImplementation<Service> = { readonly [Name in keyof Service]?: CsiMethod<Service[Name]> };

export type CsiImplementations = { readonly [Name in keyof CsiRpcs]?: CsiImplementation<CsiRpcs[Name]> };

/** Called around every request: for logs, and for faults in tests. What it throws is answered in place of the method's own result. */
export type CsiInterceptor = (method: string, request: object, work: () => Promise<object>) => Promise<object>;

export interface CsiServer {
  /** Ends every call under way and removes the socket. */
  stop(): Promise<void>;
}

/**
 * Serves on `socketPath`, whose folder must exist. A socket left by a killed server is taken over; one that is in use is not (NOT_PERMITTED).
 */
export async function serveCsi(socketPath: string, implementations: CsiImplementations, intercept: CsiInterceptor): Promise<CsiServer> {
  const server = new Server({ "grpc.max_receive_message_length": -1 });
  const definitions = csiServices();
  for (const [name, implementation] of Object.entries(implementations)) {
    server.addService(definitions[name as keyof CsiRpcs], handlers(definitions[name as keyof CsiRpcs], implementation, intercept));
  }
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

function handlers(definition: ServiceDefinition, implementation: object, intercept: CsiInterceptor): UntypedServiceImplementation {
  const methods = implementation as Readonly<Record<string, Method | undefined>>;
  const bound: UntypedServiceImplementation = {};
  for (const name of Object.keys(definition)) {
    const method = methods[name];
    if (method === undefined) continue;
    const handle: handleUnaryCall<object, object> = (call, callback) => {
      const ended = new AbortController();
      call.on("cancelled", () => ended.abort());
      intercept(name, call.request, () => method.call(implementation, call.request, ended.signal)).then(
        (response) => callback(null, response),
        (error: unknown) => callback(statusOf(error)),
      );
    };
    bound[name] = handle;
  }
  return bound;
}
