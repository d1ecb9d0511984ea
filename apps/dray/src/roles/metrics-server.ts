/** Shows what was counted, as Prometheus asks for it, and answers whether the process lives. */
import { createServer, type Server } from "node:http";
import { isIPv6 } from "node:net";
import { DrayError, errorFields, type Logger, messageOf } from "@drayage/base";
import { METRICS, type MetricDefinition, type MetricName, type Metrics } from "@drayage/controllers";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export interface MetricsServer {
  readonly metrics: Metrics;
  /** Where it listens, or undefined when it does not. */
  readonly address: { readonly host: string; readonly port: number } | undefined;
  close(): Promise<void>;
}

export interface MetricsServerOptions {
  /** `host:port` or `:port`, Velero's form; empty for no metrics. */
  readonly address: string;
  /** Where to listen when the address names no host: the pod's own address. Every address of the machine when undefined. */
  readonly podAddress: string | undefined;
  readonly logger: Logger;
}

/**
 * Serves `/metrics`, `/healthz` and `/readyz` over HTTP. Only what is counted is shown: names of schedules, nodes and locations, no data. That nobody can listen there is logged and no reason to stop:
 * backups matter more than their figures. Throws USAGE for an address that is none.
 */
export async function startMetricsServer({ address, podAddress, logger }: MetricsServerOptions): Promise<MetricsServer> {
  const registry = new Registry();
  collectDefaultMetrics({ register: registry });
  const metrics = registeredMetrics(registry);
  if (address === "") return { metrics, address: undefined, close: async () => undefined };
  const { host, port } = parseAddress(address, "show metrics");
  const server = createServer((request, response) => {
    if (request.method !== "GET") response.writeHead(405).end();
    else if (request.url === "/healthz" || request.url === "/readyz") response.writeHead(200, { "content-type": "text/plain" }).end("ok\n");
    else if (request.url === "/metrics") {
      registry.metrics().then(
        (text) => response.writeHead(200, { "content-type": registry.contentType }).end(text),
        (error: unknown) => response.writeHead(500).end(`${messageOf(error)}\n`),
      );
    } else response.writeHead(404).end();
  });
  server.headersTimeout = 10_000;
  server.requestTimeout = 30_000;
  server.maxConnections = 100;
  const listening = await listen(server, host ?? podAddress, port).catch((error: unknown) => {
    logger.warn("Metrics are not shown: their address cannot be listened on", { address, ...errorFields(error) });
    return undefined;
  });
  return {
    metrics,
    address: listening,
    close: () =>
      new Promise((closed) => {
        server.close(() => closed());
        server.closeAllConnections();
      }),
  };
}

/** The port of controllers over prom-client. A metric appears in the registry with its first figure, since of most a process has only a few. */
export function registeredMetrics(registry: Registry): Metrics {
  const collectors = new Map<MetricName, Counter | Gauge | Histogram>();
  const collector = (name: MetricName): Counter | Gauge | Histogram => {
    const known = collectors.get(name);
    if (known !== undefined) return known;
    const { type, help, labels, buckets }: MetricDefinition = METRICS[name];
    const base = { name, help, labelNames: [...labels], registers: [registry] };
    const made = type === "counter" ? new Counter(base) : type === "gauge" ? new Gauge(base) : new Histogram({ ...base, buckets: [...(buckets ?? [])] });
    collectors.set(name, made);
    return made;
  };
  return {
    add: (name, labels, by = 1) => (collector(name) as Counter).inc({ ...labels }, by),
    set: (name, labels, value) => (collector(name) as Gauge).set({ ...labels }, value),
    observe: (name, labels, value) => (collector(name) as Histogram).observe({ ...labels }, value),
  };
}

/** Reads Velero's form of an address. Throws USAGE, saying what cannot be done there. */
export function parseAddress(address: string, action: string): { readonly host: string | undefined; readonly port: number } {
  const [, host = "", digits = ""] = /^(.*):(\d{1,5})$/.exec(address) ?? [];
  const port = Number(digits);
  const bare = host.replace(/^\[(.*)\]$/, "$1");
  if (digits === "" || port > 65_535 || (host.startsWith("[") && !isIPv6(bare)))
    throw new DrayError("USAGE", `Cannot ${action} at "${address}": host:port or :port is wanted`);
  return { host: bare === "" ? undefined : bare, port };
}

function listen(server: Server, host: string | undefined, port: number): Promise<{ host: string; port: number }> {
  return new Promise((listening, failed) => {
    server.once("error", failed);
    server.listen({ port, ...(host === undefined ? {} : { host }) }, () => {
      const address = server.address();
      if (address === null || typeof address === "string") failed(new Error("it has no port"));
      else listening({ host: address.address, port: address.port });
    });
  });
}
