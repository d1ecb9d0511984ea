/**
 * The admission webhook as the API server asks it: AdmissionReview over HTTPS at one path. Every server answers, the leader as well as those that wait; each reads the certificate that the
 * leader keeps in a Secret, and changes it without ending a connection. Until there is one nobody listens, and the API server lets everything through.
 *
 * What is asked is never logged nor answered back: objects hold what their owners wrote.
 */
import type { IncomingMessage, ServerResponse } from "node:http";
import { createServer, type Server } from "node:https";
import { type DataMover, dataMovers } from "@drayage/api";
import { errorFields, type Logger } from "@drayage/base";
import {
  type AdmissionAnswer,
  type AdmissionQuestion,
  answerAdmission,
  type IssueCertificate,
  MoverRegistry,
  readAdmissionReview,
  readCertificates,
} from "@drayage/controllers";
import { WEBHOOK_CERTIFICATE, WEBHOOK_PATH, webhookHost } from "@drayage/install";
import { RateLimiter, secrets, startInformer } from "@drayage/kube";
import { BodyBudget } from "./body-budget.ts";
import { parseAddress } from "./metrics-server.ts";
import type { Role } from "./role.ts";

export interface AdmissionServerOptions extends Omit<Role, "signal"> {
  /** `host:port` or `:port`. */
  readonly address: string;
  /** Where to listen when the address names no host; every address of the machine when undefined. */
  readonly podAddress: string | undefined;
  readonly bodies?: BodyBudget;
}

export interface AdmissionServer {
  /** Where it listens, as soon as it does. */
  readonly listening: Promise<{ readonly host: string; readonly port: number }>;
  close(): Promise<void>;
}

/** Two objects as large as etcd takes them (1.5 MiB), with what is around them. */
const BODY_BYTES_MAX = 4 << 20;
/** Of all requests together, which anybody in the pod network may send: each is held several times while it is read and judged. */
const BODIES_BYTES_MAX = 16 << 20;
const CONNECTIONS_MAX = 100;
const HANDSHAKE_MS = 5_000;
const REQUEST_MS = 10_000;
/** Within what the API server waits for an answer. */
const LOOK_MS = 2_000;
/** Of the API server, for all that ask. One that waits for its turn waits a fifth of a second, of the three that the API server does. */
const LOOKS_A_SECOND = 5;
const LOOKS_AT_ONCE = 10;
const LISTEN_AGAIN_FIRST_MS = 1_000;
const LISTEN_AGAIN_MAX_MS = 60_000;

/**
 * Serves until `close`. That nobody can listen there is logged and tried again, each time after twice as long up to a minute, and no reason to stop: what is not refused when it is written is
 * refused when a backup begins. Throws USAGE for an address that is none.
 */
export function startAdmissionServer(options: AdmissionServerOptions): AdmissionServer {
  const { address, podAddress, client, namespace, clock, random, logger, bodies = new BodyBudget(BODY_BYTES_MAX, BODIES_BYTES_MAX) } = options;
  const { host = podAddress, port } = parseAddress(address, "serve the admission webhook");
  const base = { client, clock, random, logger };
  const movers = startInformer(dataMovers, base);
  const certificates = startInformer(secrets, { ...base, namespace, fieldSelector: `metadata.name=${WEBHOOK_CERTIFICATE}` });
  const listening = Promise.withResolvers<{ host: string; port: number }>();
  let server: Server | undefined;
  let closed = false;
  let cancelListen: (() => void) | undefined;

  const closing = new AbortController();
  const turns = new RateLimiter(clock, { qps: LOOKS_A_SECOND, burst: LOOKS_AT_ONCE });
  // Movers of the whole cluster, whether this installation can run them or not: an application of another installation's must not be kept from starting by this one.
  const look = shared(
    () => turns.take(closing.signal),
    async () => {
      const all: DataMover[] = [];
      for await (const mover of client.listAll(dataMovers, { signal: AbortSignal.timeout(LOOK_MS) })) all.push(mover);
      return new MoverRegistry(all, []);
    },
  );
  // The cache may not have seen a mover that was registered or changed just now: nothing is said against an object before the API server was asked.
  const judge = async (question: AdmissionQuestion): Promise<AdmissionAnswer> => {
    const first = answerAdmission(question, new MoverRegistry(movers.list(), []));
    if (first.response.allowed && first.response.warnings === undefined) return first;
    return answerAdmission(question, await look());
  };
  const listen = (credentials: { readonly cert: string; readonly key: string }): void => {
    const started = createServer({
      ...credentials,
      minVersion: "TLSv1.2",
      handshakeTimeout: HANDSHAKE_MS,
      requestTimeout: REQUEST_MS,
      headersTimeout: REQUEST_MS,
    });
    const bind = (): void => void started.listen({ port, ...(host === undefined ? {} : { host }) });
    let waitMs = LISTEN_AGAIN_FIRST_MS;
    server = started;
    started.maxConnections = CONNECTIONS_MAX;
    started.on("request", (request, response) => void answer(request, response, { judge, bodies, logger }));
    started.on("tlsClientError", (error) => logger.debug("A connection to the admission webhook failed", errorFields(error)));
    started.on("error", (error) => {
      if (closed || started.listening) return;
      logger.warn("The admission webhook is not served yet: its address cannot be listened on", { address, againAfterMs: waitMs, ...errorFields(error) });
      cancelListen = clock.after(waitMs, bind);
      waitMs = Math.min(waitMs * 2, LISTEN_AGAIN_MAX_MS);
    });
    started.on("listening", () => {
      const bound = started.address();
      if (bound === null || typeof bound === "string") return;
      logger.info("The admission webhook is served", { port: bound.port });
      listening.resolve({ host: bound.address, port: bound.port });
    });
    bind();
  };
  const changed = (): void => {
    if (closed) return;
    const { current } = readCertificates(certificates.get({ namespace, name: WEBHOOK_CERTIFICATE }), webhookHost(namespace), clock.nowMs());
    if (current === undefined) return;
    const credentials = { cert: current.certificatePem, key: current.keyPem };
    if (server === undefined) listen(credentials);
    else server.setSecureContext(credentials);
  };
  // Before the movers have been listed, all of them would be missing.
  movers.synced().then(
    () => void certificates.onChange(changed),
    () => undefined,
  );
  return {
    listening: listening.promise,
    close: async () => {
      closed = true;
      closing.abort();
      cancelListen?.();
      movers.stop();
      certificates.stop();
      const running = server;
      if (running === undefined) return;
      await new Promise<void>((done) => {
        running.close(() => done());
        running.closeAllConnections();
      });
    },
  };
}

/**
 * Calls that come while one is under way, or waits for its turn, share the one that begins after that: what each gets was begun after it asked, and however many ask, there is one at a time.
 */
function shared<T>(turn: () => Promise<void>, work: () => Promise<T>): () => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  let next: Promise<T> | undefined;
  return () => {
    next ??= last.then(turn).then(() => {
      next = undefined;
      const begun = work();
      last = begun.catch(() => undefined);
      return begun;
    });
    return next;
  };
}

interface Answering {
  readonly judge: (question: AdmissionQuestion) => Promise<AdmissionAnswer>;
  readonly bodies: BodyBudget;
  readonly logger: Logger;
}

async function answer(request: IncomingMessage, response: ServerResponse, { judge, bodies, logger }: Answering): Promise<void> {
  const refuse = (code: number, text: string): void => void response.writeHead(code, { "content-type": "text/plain", connection: "close" }).end(`${text}\n`);
  try {
    if ((request.url ?? "").split("?")[0] !== WEBHOOK_PATH) return refuse(404, "not found");
    if (request.method !== "POST") return refuse(405, "only POST is served");
    const refusal = await bodies.use(request, async (body) => {
      const question = readAdmissionReview(body);
      if (question === undefined) return refuse(400, "an AdmissionReview of admission.k8s.io/v1 with a request to create or update an object is wanted");
      const text = JSON.stringify(await judge(question));
      response.writeHead(200, { "content-type": "application/json" }).end(text);
    });
    if (refusal === "tooLarge") refuse(413, `more than ${bodies.eachMax} bytes`);
    // The API server goes on without an answer (failurePolicy: Ignore).
    if (refusal === "busy") refuse(503, "too much is asked at once");
  } catch (error) {
    logger.debug("The admission webhook could not answer", errorFields(error));
    if (response.headersSent) response.destroy();
    else refuse(500, "it could not be answered");
  }
}

/** Loaded when it is needed, once in months. */
export const issueCertificate =
  ({ random }: Pick<Role, "random">): IssueCertificate =>
  async ({ host, ...validity }) => {
    const { Authority } = await import("@drayage/protocols/x509");
    const authority = await Authority.create(random, { subject: "CN=drayage-webhook-ca", ...validity });
    return { ...(await authority.issue({ subject: `CN=${host}`, hosts: [host], ...validity })), authorityPem: authority.pem };
  };
