/** A gRPC server of CSI services on a Unix socket. */
import type { Sendable } from "./messages.ts";
import { type Interceptor, type SocketServer, serveSocket } from "./serve-socket.ts";
import { type CsiRpcs, csiServices, type Rpc, type SnapshotMetadataRpcs } from "./services.ts";

/** One method as a function; the signal is aborted when its caller gave up. Errors are thrown with `csiError`. */
export type CsiMethod<Method> =
  Method extends Rpc<infer Request, infer Response> ? (request: Request, signal: AbortSignal) => Promise<Sendable<Response>> : never;

/** A service as functions. A method that is left out answers UNIMPLEMENTED. */
export type CsiImplementation<Service> = { readonly [Name in keyof Service]?: CsiMethod<Service[Name]> };

/** The service whose answers are streams. */
export type SnapshotMetadataMethods = {
  readonly [Name in keyof SnapshotMetadataRpcs]: (
    request: SnapshotMetadataRpcs[Name]["request"],
    signal: AbortSignal,
  ) => AsyncIterable<SnapshotMetadataRpcs[Name]["response"]>;
};

export type CsiImplementations = { readonly [Name in keyof CsiRpcs]?: CsiImplementation<CsiRpcs[Name]> } & {
  readonly SnapshotMetadata?: SnapshotMetadataMethods;
};

export type CsiInterceptor = Interceptor;
export type CsiServer = SocketServer;

/**
 * Serves on `socketPath`, whose folder must exist. A socket left by a killed server is taken over; one that is in use is not (NOT_PERMITTED).
 */
export async function serveCsi(socketPath: string, implementations: CsiImplementations, intercept: CsiInterceptor): Promise<CsiServer> {
  const definitions = csiServices();
  const services = Object.entries(implementations).map(([name, implementation]) => ({
    definition: definitions[name as keyof CsiImplementations],
    implementation,
  }));
  return await serveSocket(socketPath, services, intercept);
}
