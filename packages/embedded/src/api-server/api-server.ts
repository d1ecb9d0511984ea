/**
 * A Kubernetes API server in one process: HTTPS, certificates of its own, everything in one file. See `startApiServer`.
 *
 * It keeps ResourceQuotas and LimitRanges and holds nobody to them, so it refuses nothing for want of room: that is tested where the API server is a real one (test/real-cluster/faults.test.ts).
 *
 *   request ─► RequestHandler ─► who? may they? ─► ResourceHandler ─► Operations ─► Storage ─► change log
 *                                                        │                             │
 *                                                        └─ watches, lists ◄───────────┴─► Definitions, Namespaces, GarbageCollector, StorageProtection
 */

import { constants } from "node:crypto";
import type { IncomingMessage } from "node:http";
import { createServer, type Server } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import type { Duplex } from "node:stream";
import { type Clock, DrayError, errorFields, type Logger, makeFolders, messageOf, type RandomSource, randomHex } from "@drayage/base";
import { AdmittedWrites } from "./admission/admitted-writes.ts";
import { WebhookAdmission } from "./admission/webhook-admission.ts";
import { AuditLog } from "./audit-log.ts";
import { Authorizer } from "./authorization.ts";
import { bootstrap } from "./bootstrap.ts";
import { CertificateAuthority, type KeyPair } from "./certificates.ts";
import { Definitions } from "./definitions.ts";
import { lockDirectory } from "./directory-lock.ts";
import { Faults } from "./faults.ts";
import { GarbageCollector } from "./garbage-collector.ts";
import { kubeconfig } from "./kubeconfig.ts";
import { Namespaces } from "./namespaces.ts";
import { OpenApi } from "./openapi.ts";
import { Operations } from "./operations.ts";
import { StorageProtection } from "./protection.ts";
import { RequestHandler, type RequestRecord } from "./request-handler.ts";
import { ResourceHandler } from "./resource-handler.ts";
import { secretFile } from "./secret-file.ts";
import { Catalog } from "./served-resource.ts";
import { Storage } from "./storage.ts";
import type { World } from "./strategies/strategy.ts";
import { NodeProxy } from "./subresources/node-proxy.ts";
import { Subresources } from "./subresources/subresources.ts";
import { TokenIssuer } from "./tokens.ts";

export interface ApiServerOptions {
  /** Where everything is kept: state, keys, tokens. Made when it is not there. */
  readonly directory: string;
  readonly host?: string;
  /** 0, the default, takes the port of the last start when it is free, and any other otherwise. */
  readonly port?: number;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** When false everyone who is known may do everything. */
  readonly rbac?: boolean;
  /** More names and addresses the server's certificate is good for. */
  readonly hosts?: readonly string[];
  /** Changes kept for watches; see Storage. */
  readonly historyMax?: number;
  /** A file to which every request is written, see AuditLog. */
  readonly auditLog?: string;
  /** Called with every request that was answered. */
  readonly onRequest?: (record: RequestRecord) => void;
}

export interface ApiServer {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly caPem: string;
  /** Bearer token of the administrator, who may do everything. */
  readonly adminToken: string;
  /** What kubelets and this server share: it is what the server shows when it asks a kubelet for logs. */
  readonly kubeletToken: string;
  readonly storage: Storage;
  readonly faults: Faults;
  /** A kubeconfig of the administrator. */
  adminKubeconfig(): string;
  /** A bearer token for any user, which does not expire. */
  token(user: string, groups?: readonly string[]): string;
  /** A kubeconfig for any user. */
  kubeconfigFor(user: string, groups?: readonly string[]): string;
  /** A certificate of this cluster: without hosts it identifies a client by `CN` and `O`. */
  issueCertificate(options: { readonly subject: string; readonly hosts?: readonly string[] }): Promise<KeyPair>;
  /** How many watches are open. */
  readonly watchCount: number;
  /** Ends every open watch, as a lost connection does. */
  dropWatches(): void;
  /** Forgets history: watches from earlier versions, and continued lists, get 410. */
  compact(): void;
  /** Ends watches and connections and closes the state file. What was answered is stored. */
  close(): Promise<void>;
}

const SERVICE_NETWORK = "10.96.0";
/** Names and addresses by which the server is known on its own machine and to pods. */
const OWN_NAMES = ["127.0.0.1", "localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc", `${SERVICE_NETWORK}.1`] as const;
const KEEP_ALIVE_MS = 120_000;
const CLOSE_GRACE_MS = 1000;

/**
 * Starts a server over a folder. Throws KUBE_UNAVAILABLE when another process uses the folder, the state file is damaged or the port is taken.
 *
 * @example
 *   const server = await startApiServer({ directory, clock: systemClock, random: systemRandom, logger });
 *   writeFileSync("kubeconfig", server.adminKubeconfig());
 */
export async function startApiServer(options: ApiServerOptions): Promise<ApiServer> {
  const { directory, clock, random, logger } = options;
  const host = options.host ?? "127.0.0.1";
  makeFolders(directory, 0o700);
  // Given back when the start fails, otherwise when the server closes.
  using cleanup = new DisposableStack();
  cleanup.defer(lockDirectory(join(directory, "lock")));
  const authority = await CertificateAuthority.open(directory, clock, random);
  const serving = await authority.ensure("apiserver", { subject: "CN=kube-apiserver", hosts: [...new Set([host, ...OWN_NAMES, ...(options.hosts ?? [])])] });
  const adminToken = secretFile(join(directory, "admin-token"), () => randomHex(random, 32));
  const kubeletToken = secretFile(join(directory, "kubelet-token"), () => randomHex(random, 32));
  const storage = cleanup.adopt(new Storage({ directory, logger, ...(options.historyMax === undefined ? {} : { historyMax: options.historyMax }) }), (it) =>
    it.close(),
  );
  const parts = assemble(options, storage, authority.pem, kubeletToken);
  let url = "";
  const auditLog = options.auditLog === undefined ? undefined : new AuditLog(options.auditLog, clock);
  const handler = new RequestHandler({ ...parts, auditLog, openApi: new OpenApi(parts.catalog), adminToken, clock, logger, address: () => url });
  handler.onRequest = options.onRequest;
  const server = createHttpsServer(serving, authority.pem, handler, logger);
  const port = await listen(server, host, options.port ?? 0, directory);
  url = `https://${host.includes(":") ? `[${host}]` : host}:${port}`;
  publishOwnService(storage, parts.operations, parts.catalog, port);
  const held = cleanup.move();
  let closing: Promise<void> | undefined;
  return {
    url,
    host,
    port,
    caPem: authority.pem,
    adminToken,
    kubeletToken,
    storage,
    faults: parts.faults,
    adminKubeconfig: () => kubeconfig(url, authority.pem, "kubernetes-admin", adminToken),
    token: (user, groups = []) => parts.tokens.issueForUser(user, groups),
    kubeconfigFor: (user, groups = []) => kubeconfig(url, authority.pem, user, parts.tokens.issueForUser(user, groups)),
    issueCertificate: (wanted) => authority.issue(wanted),
    get watchCount() {
      return parts.resources.watchCount;
    },
    dropWatches: () => parts.resources.dropWatches(),
    compact: () => storage.compact(),
    close: () => {
      closing ??= closeServer(server, parts.resources, clock).finally(() => held.dispose());
      return closing;
    },
  };
}

interface Parts {
  readonly catalog: Catalog;
  readonly operations: Operations;
  readonly tokens: TokenIssuer;
  readonly authorizer: Authorizer;
  readonly nodes: NodeProxy;
  readonly resources: ResourceHandler;
  readonly faults: Faults;
}

/** The parts over one storage, with what runs by itself: definitions, namespaces, the garbage collector, the protection of storage. */
function assemble(options: ApiServerOptions, storage: Storage, caPem: string, kubeletToken: string): Parts {
  const { clock, random, logger } = options;
  const world: World = { storage, clock, random, serviceNetwork: SERVICE_NETWORK };
  const catalog = new Catalog();
  const operations = new Operations(world);
  const tokens = new TokenIssuer(options.directory, storage, clock, random);
  const authorizer = new Authorizer(storage, options.rbac ?? true);
  new Definitions(world, catalog, operations);
  new Namespaces(world, catalog, operations, caPem, logger);
  new GarbageCollector(storage, catalog, operations, logger);
  new StorageProtection(storage, catalog, operations, logger);
  bootstrap(catalog, operations);
  const nodes = new NodeProxy(storage, kubeletToken);
  const subresources = new Subresources({ world, operations, authorizer, tokens, nodes });
  const writes = new AdmittedWrites(operations, storage, new WebhookAdmission({ storage, random, logger }));
  const resources = new ResourceHandler({ world, catalog, operations, writes, subresources });
  subresources.attach(resources);
  return { catalog, operations, tokens, authorizer, nodes, resources, faults: new Faults() };
}

function createHttpsServer(serving: KeyPair, caPem: string, handler: RequestHandler, logger: Logger): Server {
  const server = createServer(
    {
      key: serving.keyPem,
      cert: serving.certificatePem,
      ca: caPem,
      requestCert: true,
      rejectUnauthorized: false,
      // A resumed session would not show the client's certificate again.
      secureOptions: constants.SSL_OP_NO_TICKET,
      // A watch has no end of its own.
      requestTimeout: 0,
      keepAliveTimeout: KEEP_ALIVE_MS,
    },
    (request, response) => {
      handler.handle(request, response).catch((error: unknown) => {
        logger.error("a request could not be answered", { method: request.method, url: request.url, ...errorFields(error) });
        response.destroy();
      });
    },
  );
  server.on("upgrade", (request: IncomingMessage, socket: Duplex, head: Buffer) => void handler.handleUpgrade(request, socket, head));
  server.on("tlsClientError", (error) => logger.debug("a TLS connection failed", errorFields(error)));
  return server;
}

/** Listens where the last start did, when nobody said where: kubeconfigs of before then still work. */
async function listen(server: Server, host: string, wanted: number, directory: string): Promise<number> {
  const remembered = secretFile(join(directory, "port"), () => String(wanted));
  const candidates = wanted === 0 ? [...new Set([Number(remembered) || 0, 0])] : [wanted];
  let failure: unknown;
  for (const port of candidates) {
    try {
      await new Promise<void>((resolve, reject) => {
        server.once("error", reject);
        server.listen(port, host, () => {
          server.off("error", reject);
          resolve();
        });
      });
      const actual = (server.address() as AddressInfo).port;
      secretFile(join(directory, "port"), () => String(actual), true);
      return actual;
    } catch (error) {
      failure = error;
    }
  }
  throw new DrayError("KUBE_UNAVAILABLE", `Cannot listen on "${host}:${wanted}": ${messageOf(failure)}`, { cause: failure, hint: "Choose another port." });
}

/** The service `kubernetes` in the namespace `default`, by which pods find the server. */
function publishOwnService(storage: Storage, operations: Operations, catalog: Catalog, port: number): void {
  const services = catalog.find("", "v1", "services");
  if (services === undefined || storage.get("services", "default/kubernetes") !== undefined) return;
  const labels = { component: "apiserver", provider: "kubernetes" };
  const spec = { clusterIP: `${SERVICE_NETWORK}.1`, ports: [{ name: "https", port: 443, protocol: "TCP", targetPort: port }] };
  operations.create(
    services,
    "default",
    { metadata: { name: "kubernetes", labels }, spec },
    { dryRun: false, manager: "kube-apiserver", fieldValidation: "Ignore", warnings: [] },
  );
}

async function closeServer(server: Server, resources: ResourceHandler, clock: Clock): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  resources.dropWatches();
  server.closeIdleConnections();
  // Requests under way get a moment to be answered; then their connections are cut.
  const cancel = clock.after(CLOSE_GRACE_MS, () => server.closeAllConnections());
  await closed;
  cancel();
}
