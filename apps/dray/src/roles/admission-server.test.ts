/** The webhook as it is kept and served: the leader's controller and a server over one fake API, and requests to that server as an API server makes them. */
import { X509Certificate } from "node:crypto";
import { Agent, request as httpsRequest } from "node:https";
import { createServer as createTcpServer } from "node:net";
import { Readable } from "node:stream";
import { connect, type PeerCertificate } from "node:tls";
import { type DataMover, dataMovers, MOVER_ANNOTATIONS } from "@drayage/api";
import { loggerTo, nullLogger, systemRandom } from "@drayage/base";
import { seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { type IssueCertificate, type RunningController, readCertificates, startAdmissionWebhookController } from "@drayage/controllers";
import { WEBHOOK_CERTIFICATE, webhookConfigurationName, webhookHost, webhookService } from "@drayage/install";
import { clusterRoles, type Secret, type Service, secrets, services, validatingWebhookConfigurations } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type AdmissionServer, type AdmissionServerOptions, issueCertificate, startAdmissionServer } from "./admission-server.ts";
import { BodyBudget } from "./body-budget.ts";

const NS = "velero";
const HOST = webhookHost(NS);
const SECRET = { namespace: NS, name: WEBHOOK_CERTIFICATE };
const CONFIGURATION = { name: webhookConfigurationName(NS) };
const DAY_MS = 86_400_000;
const START_MS = Date.parse("2026-01-01T00:00:00Z");

let clock: VirtualClock;
let client: FakeKubeClient;
let running: RunningController | undefined;
let served: AdmissionServer | undefined;
/** Keys are made in real time, which the clock here knows nothing of. */
let issuing: Promise<unknown> | undefined;

beforeEach(() => {
  clock = new VirtualClock(START_MS);
  client = new FakeKubeClient({ clock, random: seededRandom(1) });
  client.seed(services, webhookService(NS) as unknown as Service);
  client.seed(clusterRoles, { metadata: { name: `drayage-${NS}` }, rules: [] });
  client.seed(dataMovers, mover);
});
afterEach(async () => {
  await running?.stop();
  await served?.close();
  running = undefined;
  served = undefined;
});

const mover: DataMover = {
  metadata: { name: "tar" },
  spec: {
    version: "1.0.0",
    description: "tar",
    module: "/tar.ts",
    capabilities: { kinds: ["persistentvolumeclaims"] },
    parameters: { type: "object", properties: { level: { type: "integer", description: "How hard" } } },
  },
};
const base = () => ({ client, clock, random: seededRandom(2), logger: nullLogger, namespace: NS });
const lead = (isServed = true): void => {
  const issue: IssueCertificate = (options) => {
    const issued = issueCertificate({ random: systemRandom })(options);
    issuing = issued;
    return issued;
  };
  running = startAdmissionWebhookController({ ...base(), issue, isServed });
};
const serve = async (options: Partial<AdmissionServerOptions> = {}): Promise<{ host: string; port: number }> => {
  served = startAdmissionServer({ ...base(), client: client as never, address: "127.0.0.1:0", podAddress: undefined, ...options });
  return served.listening;
};
const secret = (): Secret | undefined => client.peek(secrets, SECRET);
const kept = () => readCertificates(secret(), HOST, clock.nowMs());
const registered = () => client.peek(validatingWebhookConfigurations, CONFIGURATION);
const trusted = (): string => Buffer.from(registered()?.webhooks?.[0]?.clientConfig.caBundle ?? "", "base64").toString("utf8");
/** What the API server trusts has signed what servers show. */
const isTrusted = (): boolean => {
  const { current } = kept();
  if (current === undefined) return false;
  const authorities = trusted().match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  return authorities.some((pem) => new X509Certificate(current.certificatePem).verify(new X509Certificate(pem).publicKey));
};
const until = async (wanted: () => boolean): Promise<void> => {
  for (let turn = 0; turn < 400; turn++) {
    await issuing;
    await settle();
    if (wanted()) return;
    await clock.advance(25);
  }
  throw new Error("it did not come to that");
};

describe("the certificate and the registration of the admission webhook", () => {
  it("are made where there is a Service for them, and go with the Service and the server's ClusterRole", async () => {
    lead();
    await until(isTrusted);
    expect(secret()).toMatchObject({ type: "kubernetes.io/tls", metadata: { labels: { "velero.io/exclude-from-backup": "true" } } });
    expect(Object.keys(secret()?.data ?? {}).sort()).toEqual(["ca.crt", "tls.crt", "tls.key"]);
    const { endsAtMs = 0, certificatePem = "" } = kept().current ?? {};
    expect(Math.round((endsAtMs - START_MS) / DAY_MS)).toBe(365);
    expect(new X509Certificate(certificatePem).checkHost(HOST)).toBe(HOST);
    const { uid } = client.peek(services, { namespace: NS, name: "drayage-webhook" })?.metadata ?? {};
    expect(secret()?.metadata.ownerReferences).toEqual([{ apiVersion: "v1", kind: "Service", name: "drayage-webhook", uid }]);
    expect(uid).toBeDefined();
    expect(registered()?.metadata.ownerReferences).toMatchObject([{ kind: "ClusterRole", name: "drayage-velero" }]);
    expect(registered()?.webhooks?.map(({ failurePolicy, sideEffects, timeoutSeconds }) => [failurePolicy, sideEffects, timeoutSeconds])).toEqual(
      Array(5).fill(["Ignore", "None", 3]),
    );
  });

  it("are renewed in time and trusted before they are shown, by leaders that end after every write", async () => {
    lead();
    await until(isTrusted);
    const first = kept().current?.certificatePem;
    const seen = [JSON.stringify([secret()?.data, trusted()])];
    await running?.stop();
    await clock.advance(276 * DAY_MS);
    for (let turn = 0; turn < 40 && (kept().next !== undefined || kept().current?.certificatePem === first); turn++) {
      // Another leader, as after a kill.
      await running?.stop();
      lead();
      await until(() => JSON.stringify([secret()?.data, trusted()]) !== seen.at(-1)).catch(() => undefined);
      await clock.advance(60_000);
      const state = JSON.stringify([secret()?.data, trusted()]);
      if (state !== seen.at(-1)) seen.push(state);
      expect(isTrusted()).toBe(true);
    }
    expect(kept().current?.certificatePem).not.toBe(first);
    expect(kept().next).toBeUndefined();
    expect(seen.length).toBeGreaterThanOrEqual(3);
    // The first's authority goes when it has ended.
    expect(kept().authorities).toHaveLength(2);
    await running?.stop();
    await clock.advance(100 * DAY_MS);
    lead();
    await until(() => kept().authorities.length === 1 && isTrusted());
  });

  it("are made again when they were damaged, have ended while nobody led, or were changed by somebody", async () => {
    lead();
    await until(isTrusted);
    client.mutate(secrets, SECRET, (it) => {
      it.data = { ...it.data, "tls.key": btoa("nonsense") };
    });
    await until(isTrusted);
    await running?.stop();
    await clock.advance(400 * DAY_MS);
    expect(kept().current).toBeUndefined();
    lead();
    await until(isTrusted);
    client.mutate(validatingWebhookConfigurations, CONFIGURATION, (it) => {
      for (const webhook of it.webhooks ?? []) webhook.clientConfig.caBundle = btoa("nobody");
    });
    await until(isTrusted);
  });

  it("are taken away where there is no Service any more, or nobody serves", async () => {
    lead();
    await until(isTrusted);
    client.discard(services, { namespace: NS, name: "drayage-webhook" });
    await until(() => registered() === undefined);
    client.seed(services, webhookService(NS) as unknown as Service);
    await until(isTrusted);
    await running?.stop();
    lead(false);
    await until(() => registered() === undefined);
  });
});

describe("a server", () => {
  interface Asked {
    readonly method?: string;
    readonly path?: string;
    readonly headers?: Readonly<Record<string, string>>;
    /** What was sent is not all. */
    readonly isOpen?: boolean;
    /** A connection of its own when left out. */
    readonly agent?: Agent;
  }
  const ask = async (port: number, body: string | Buffer, options: Asked = {}) =>
    new Promise<{ code: number; text: string }>((resolve, reject) => {
      const { method = "POST", path = "/admit?timeout=3s", headers = {}, isOpen = false, agent = false } = options;
      const request = httpsRequest({ host: "127.0.0.1", port, servername: HOST, ca: trusted(), method, path, headers, agent }, (response) => {
        const parts: Buffer[] = [];
        response.on("data", (part: Buffer) => parts.push(part));
        response.once("end", () => resolve({ code: response.statusCode ?? 0, text: Buffer.concat(parts).toString("utf8") }));
      });
      request.on("error", reject);
      if (!isOpen) request.end(body);
      else if (body.length > 0) request.write(body);
      else request.flushHeaders();
    });
  const review = (datamover: string): string =>
    JSON.stringify({
      apiVersion: "admission.k8s.io/v1",
      kind: "AdmissionReview",
      request: { uid: "u", operation: "CREATE", resource: { group: "velero.io", version: "v1", resource: "backups" }, object: { spec: { datamover } } },
    });
  const shown = (port: number): Promise<PeerCertificate> =>
    new Promise((resolve, reject) => {
      const socket = connect({ host: "127.0.0.1", port, servername: HOST, ca: trusted() }, () => {
        resolve(socket.getPeerCertificate());
        socket.destroy();
      });
      socket.once("error", reject);
    });

  it("answers under the certificate that is registered, and takes a renewed one", async () => {
    lead();
    await until(isTrusted);
    const { port } = await serve();
    expect(JSON.parse((await ask(port, review("tape"))).text)).toMatchObject({ response: { uid: "u", allowed: false, status: { code: 422 } } });
    expect(JSON.parse((await ask(port, review("tar"))).text)).toMatchObject({ response: { uid: "u", allowed: true } });
    const before = (await shown(port)).fingerprint256;
    client.mutate(secrets, SECRET, (it) => {
      it.data = {};
    });
    await until(isTrusted);
    await settle();
    const after = (await shown(port)).fingerprint256;
    expect(after).not.toBe(before);
    expect(after).toBe(new X509Certificate(kept().current?.certificatePem ?? "").fingerprint256);
  });

  it("asks for a mover that its cache does not know yet before it refuses", async () => {
    lead();
    await until(isTrusted);
    const { port } = await serve();
    client.seed(dataMovers, { ...mover, metadata: { name: "just-now" } });
    expect(JSON.parse((await ask(port, review("just-now"))).text)).toMatchObject({ response: { allowed: true } });
  });

  it("refuses no claim for a mover that was added in another installation only", async () => {
    lead();
    await until(isTrusted);
    // The cache does not come to know it, so that every answer is by what the API server says.
    client.intercept = ({ verb, resource }) => (verb === "watch" && resource === "datamovers.drayage.io" ? new Promise(() => undefined) : undefined);
    const { port } = await serve();
    client.seed(dataMovers, { ...mover, metadata: { name: "theirs" }, spec: { ...mover.spec, moduleFiles: "drayage-mover-theirs" } });
    const claim = (parameters: object): string =>
      JSON.stringify({
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        request: {
          uid: "u",
          operation: "CREATE",
          resource: { group: "", version: "v1", resource: "persistentvolumeclaims" },
          object: { metadata: { annotations: { [MOVER_ANNOTATIONS.mover]: "theirs", [MOVER_ANNOTATIONS.parameters]: JSON.stringify(parameters) } } },
        },
      });
    expect(JSON.parse((await ask(port, claim({ level: 1 }))).text).response).toEqual({ uid: "u", allowed: true });
    // What is wrong by the mover's own schema is wrong all the same.
    const { response } = JSON.parse((await ask(port, claim({ level: "high" }))).text);
    expect(response).toMatchObject({ allowed: false, status: { message: expect.stringContaining('parameter "level"') } });
    expect(response.status.message).not.toContain("was not added");
  });

  /** Tells when so many have been read that come to be judged. */
  class Counting extends BodyBudget {
    readonly reached: Promise<void>;
    readonly #reach: () => void;
    #left: number;

    constructor(count: number) {
      super(4_000, 4_000 * count);
      const { promise, resolve } = Promise.withResolvers<void>();
      [this.reached, this.#reach, this.#left] = [promise, resolve, count];
    }

    override use(...[request, work]: Parameters<BodyBudget["use"]>): ReturnType<BodyBudget["use"]> {
      return super.use(request, (text) => {
        const working = work(text);
        this.#left -= 1;
        if (this.#left === 0) this.#reach();
        return working;
      });
    }
  }

  it("asks the API server once for all that come while it is asked, however many they are", async () => {
    lead();
    await until(isTrusted);
    const [first, goOn] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const bodies = new Counting(9);
    const { port } = await serve({ bodies });
    let lists = 0;
    client.intercept = async ({ verb, resource }) => {
      if (verb !== "list" || resource !== "datamovers.drayage.io") return;
      lists += 1;
      first.resolve();
      await goOn.promise;
    };
    const asked = [ask(port, review("tape"))];
    await first.promise;
    for (let other = 1; other < 9; other++) asked.push(ask(port, review(`tape-${other}`)));
    await bodies.reached;
    expect(lists).toBe(1);
    goOn.resolve();
    const [, ...others] = await Promise.all(asked);
    for (const { text } of others) expect(JSON.parse(text)).toMatchObject({ response: { allowed: false } });
    // The second began after the others had asked: it has seen what was registered before they did.
    expect(lists).toBe(2);
  });

  it("asks the API server eleven times for two hundred reviews: ten at once, then five times a second for all that wait", async () => {
    lead();
    await until(isTrusted);
    const bodies = new Counting(200);
    const { port } = await serve({ bodies });
    let lists = 0;
    client.intercept = ({ verb, resource }) => {
      if (verb === "list" && resource === "datamovers.drayage.io") lists += 1;
    };
    const agent = new Agent({ keepAlive: true });
    const isRefused = async (name: string): Promise<boolean> => !JSON.parse((await ask(port, review(name), { agent })).text).response.allowed;
    for (let one = 1; one <= 170; one++) expect(await isRefused(one <= 10 ? "tape" : "tar")).toBe(one <= 10);
    expect(lists).toBe(10);
    const waiting = Array.from({ length: 30 }, (_, one) => isRefused(`tape-${one}`));
    await bodies.reached;
    await settle();
    expect(lists).toBe(10);
    // What is registered while they wait is known to them.
    client.seed(dataMovers, { ...mover, metadata: { name: "tape-7" } });
    await clock.advance(200);
    expect((await Promise.all(waiting)).flatMap((refused, one) => (refused ? [] : [one]))).toEqual([7]);
    expect(lists).toBe(11);
    agent.destroy();
  });

  it("answers 413 to a body that is too large, by its length before it is sent or by what has come", async () => {
    lead();
    await until(isTrusted);
    const { port } = await serve();
    expect((await ask(port, "", { isOpen: true, headers: { "content-length": String((4 << 20) + 1) } })).code).toBe(413);
    const bodies = new BodyBudget(1_000, 4_000);
    await served?.close();
    const small = await serve({ bodies });
    expect((await ask(small.port, "x".repeat(1_001), { isOpen: true })).code).toBe(413);
    expect((await ask(small.port, review("tar"))).code).toBe(200);
  });

  it("answers 503 while what it may hold is held, and goes on when it is not any more", async () => {
    lead();
    await until(isTrusted);
    const bodies = new BodyBudget(1_000, 1_000);
    const { port } = await serve({ bodies });
    const held = Promise.withResolvers<void>();
    const done = Promise.withResolvers<void>();
    const holding = bodies.use(Object.assign(Readable.from([Buffer.alloc(990)]), { headers: {} }) as never, () => {
      held.resolve();
      return done.promise;
    });
    await held.promise;
    expect((await ask(port, "", { isOpen: true, headers: { "content-length": "500" } })).code).toBe(503);
    expect((await ask(port, "x".repeat(500), { isOpen: true })).code).toBe(503);
    done.resolve();
    expect(await holding).toBeUndefined();
    expect((await ask(port, review("tar"))).code).toBe(200);
  });

  it("listens as soon as it can where its port was taken", async () => {
    lead();
    await until(isTrusted);
    const other = createTcpServer();
    const port = await new Promise<number>((resolve) => {
      other.listen(0, "127.0.0.1", () => resolve((other.address() as { port: number }).port));
    });
    let refusals = 0;
    let refused = Promise.withResolvers<void>();
    const logger = loggerTo(({ level }) => {
      if (level !== "warn") return;
      refusals += 1;
      refused.resolve();
    });
    const listening = serve({ address: `127.0.0.1:${port}`, logger });
    await refused.promise;
    refused = Promise.withResolvers<void>();
    await clock.advance(1_000);
    await refused.promise;
    await new Promise((closed) => other.close(closed));
    await clock.advance(2_000);
    expect((await listening).port).toBe(port);
    expect(refusals).toBe(2);
    expect((await ask(port, review("tar"))).code).toBe(200);
  });

  it("answers what is no review with 400, and nothing that was sent", async () => {
    lead();
    await until(isTrusted);
    const { port } = await serve();
    for (const nonsense of ["", "{", "secret", '{"kind":"AdmissionReview"}', Buffer.from([0xff, 0x00, 0xfe])]) {
      const { code, text } = await ask(port, nonsense);
      expect(code).toBe(400);
      expect(text).not.toContain("secret");
    }
    expect((await ask(port, review("tape"), { path: "/other" })).code).toBe(404);
    expect((await ask(port, "", { method: "GET" })).code).toBe(405);
  });
});
