import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { settle, VirtualClock } from "@drayage/base/testing";
import { afterEach, describe, expect, it } from "vitest";
import { ask, type HealthTarget, HealthWatch } from "./health.ts";
import { PodAddresses } from "./pod-addresses.ts";
import type { KubeletContainer } from "./pod-types.ts";

const target = (container: Partial<KubeletContainer>, exitCodes: number[] = []): HealthTarget => ({
  podIP: "127.0.0.1",
  container: { name: "c", ...container },
  exec: async () => ({ exitCode: exitCodes.shift() ?? 0, output: "said\n", timedOut: false }),
});
const exec = { exec: { command: ["check"] } };

describe("ask", () => {
  let server: Server | undefined;
  afterEach(() => void server?.close());
  const serve = async (status: number): Promise<number> => {
    server = createServer((_request, response) => response.writeHead(status).end("body"));
    await new Promise<void>((resolve) => server?.listen(0, "127.0.0.1", resolve));
    return (server.address() as AddressInfo).port;
  };

  it("takes the exit code of a command for its answer", async () => {
    expect(await ask(exec, target({}, [0]), 1000)).toEqual({ ok: true, message: "said" });
    expect(await ask(exec, target({}, [1]), 1000)).toEqual({ ok: false, message: "said" });
  });

  it.each([
    [200, true],
    [302, true],
    [404, false],
    [500, false],
  ])("takes HTTP status %i for %s", async (status, ok) => {
    const port = await serve(status);
    expect((await ask({ httpGet: { path: "/healthz", port } }, target({}), 1000)).ok).toBe(ok);
  });

  it("finds a port by its name", async () => {
    const port = await serve(200);
    expect((await ask({ httpGet: { port: "web" } }, target({ ports: [{ name: "web", containerPort: port }] }), 1000)).ok).toBe(true);
    expect((await ask({ tcpSocket: { port: "web" } }, target({ ports: [{ name: "web", containerPort: port }] }), 1000)).ok).toBe(true);
  });

  it("fails where nobody listens, and says so", async () => {
    const port = await serve(200);
    await new Promise((resolve) => server?.close(resolve));
    expect(await ask({ tcpSocket: { port } }, target({}), 1000)).toMatchObject({ ok: false, message: expect.stringContaining("ECONNREFUSED") });
    expect((await ask({ httpGet: { port } }, target({}), 1000)).ok).toBe(false);
  });
});

describe("HealthWatch", () => {
  const watchOf = (container: Partial<KubeletContainer>, exitCodes: number[]) => {
    const clock = new VirtualClock();
    const failures: string[] = [];
    const watch = new HealthWatch(target(container, exitCodes), clock, { change: () => undefined, failure: (message) => failures.push(message) });
    return { clock, failures, watch };
  };

  it("takes a container without probes for started and ready at once", () => {
    const { watch } = watchOf({}, []);
    expect(watch.state).toEqual({ started: true, ready: true });
  });

  it("is ready after the first success, and not ready after enough failures in a row", async () => {
    const { watch, clock, failures } = watchOf({ readinessProbe: { ...exec, periodSeconds: 10, failureThreshold: 2 } }, [0, 1, 0, 1, 1, 0]);
    await settle();
    expect(watch.state.ready).toBe(true);
    await clock.advance(20_000);
    expect(watch.state.ready).toBe(true);
    await clock.advance(20_000);
    expect(watch.state.ready).toBe(false);
    await clock.advance(10_000);
    expect(watch.state.ready).toBe(true);
    expect(failures).toEqual(Array(3).fill("Readiness probe failed: said"));
    watch.stop();
  });

  it("asks neither about readiness nor about life before the startup probe has passed", async () => {
    const { watch, clock } = watchOf({ startupProbe: { ...exec, periodSeconds: 1, failureThreshold: 5 }, livenessProbe: exec }, [1, 1, 0]);
    await settle();
    expect(watch.state).toEqual({ started: false, ready: false });
    await clock.advance(2_000);
    expect(watch.state).toEqual({ started: true, ready: true });
    watch.stop();
  });

  it("wants a container ended whose liveness or startup probe has failed often enough", async () => {
    const alive = watchOf({ livenessProbe: { ...exec, periodSeconds: 1, initialDelaySeconds: 5 } }, [1, 1, 1]);
    await alive.clock.advance(6_000);
    expect(alive.watch.state.unhealthy).toBeUndefined();
    await alive.clock.advance(1_000);
    expect(alive.watch.state.unhealthy).toBe("Container c failed liveness probe, will be restarted");
    const starting = watchOf({ startupProbe: { ...exec, periodSeconds: 1, failureThreshold: 1 } }, [1]);
    await settle();
    expect(starting.watch.state.unhealthy).toContain("failed startup probe");
  });

  it("asks no more once it is stopped", async () => {
    const { watch, clock } = watchOf({ readinessProbe: exec }, [0]);
    await settle();
    watch.stop();
    await clock.advance(60_000);
    expect(clock.pending).toBe(0);
  });
});

describe("PodAddresses", () => {
  it("gives each pod an address of its own, the same each time, and takes it back", () => {
    const addresses = new PodAddresses("127.64");
    addresses.keep("old", "127.64.0.1");
    addresses.keep("foreign", "10.0.0.1");
    expect([addresses.take("a"), addresses.take("b"), addresses.take("a"), addresses.take("old")]).toEqual([
      "127.64.0.2",
      "127.64.0.3",
      "127.64.0.2",
      "127.64.0.1",
    ]);
    addresses.give("a");
    expect(addresses.take("c")).toBe("127.64.0.2");
    const elsewhere = new PodAddresses("127.64", 254);
    expect(Array.from({ length: 255 }, (_, i) => elsewhere.take(`pod-${i}`)).slice(-2)).toEqual(["127.64.254.254", "127.64.0.1"]);
  });
});
