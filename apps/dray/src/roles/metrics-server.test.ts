import { nullLogger } from "@drayage/base";
import { afterEach, describe, expect, it } from "vitest";
import { type MetricsServer, startMetricsServer } from "./metrics-server.ts";

const servers: MetricsServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(address: string, podAddress?: string): Promise<MetricsServer> {
  const server = await startMetricsServer({ address, podAddress, logger: nullLogger });
  servers.push(server);
  return server;
}
const ask = (server: MetricsServer, path: string): Promise<Response> => fetch(`http://${server.address?.host}:${server.address?.port}${path}`);

describe("the metrics server", () => {
  it("shows what was counted as Prometheus reads it, and that the process lives", async () => {
    const server = await serve("127.0.0.1:0");
    server.metrics.add("velero_backup_success_total", { schedule: "nightly" }, 2);
    server.metrics.set("velero_backup_last_status", { schedule: "nightly" }, 1);
    server.metrics.observe("velero_backup_duration_seconds", { schedule: "nightly" }, 100);
    const response = await ask(server, "/metrics");
    const text = await response.text();
    expect(response.headers.get("content-type")).toMatch(/^text\/plain; version=0\.0\.4/);
    expect(text).toContain('velero_backup_success_total{schedule="nightly"} 2\n');
    expect(text).toContain("# TYPE velero_backup_last_status gauge\n");
    expect(text).toContain('velero_backup_duration_seconds_bucket{le="60",schedule="nightly"} 0\n');
    expect(text).toContain('velero_backup_duration_seconds_bucket{le="300",schedule="nightly"} 1\n');
    expect(text).toContain("process_resident_memory_bytes");
    expect(await (await ask(server, "/healthz")).text()).toBe("ok\n");
    expect((await ask(server, "/secrets")).status).toBe(404);
    expect((await fetch(`http://127.0.0.1:${server.address?.port}/metrics`, { method: "POST" })).status).toBe(405);
  });

  it("listens on the pod's address where none is named", async () => {
    expect((await serve(":0", "127.0.0.2")).address?.host).toBe("127.0.0.2");
  });

  it("goes on without where it cannot listen, or is not to", async () => {
    const first = await serve("127.0.0.1:0");
    const second = await serve(`127.0.0.1:${first.address?.port}`);
    expect(second.address).toBeUndefined();
    second.metrics.add("velero_backup_success_total", { schedule: "" });
    expect((await serve("")).address).toBeUndefined();
  });

  it.each(["8085", "host", "host:99999", "[nonsense]:1"])("refuses %s, which is no address", async (address) => {
    await expect(startMetricsServer({ address, podAddress: undefined, logger: nullLogger })).rejects.toThrow(/host:port or :port is wanted/);
  });
});
