import { memoryLogger, seededRandom, settle, VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { leases } from "./core.ts";
import { runAsLeader } from "./leader-election.ts";
import { FakeKubeClient } from "./testing/index.ts";

const LEASE = { namespace: "velero", name: "drayage-server" };

function setUp() {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const events: string[] = [];
  const candidate = (identity: string) => {
    const ending = new AbortController();
    const running = runAsLeader(
      { client, lease: LEASE, identity, clock, random: seededRandom(identity.length), logger: memoryLogger(), signal: ending.signal },
      async (signal) => {
        events.push(`${identity} leads`);
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
        events.push(`${identity} stops`);
      },
    );
    running.catch(() => undefined);
    return { running, end: () => ending.abort(new Error("ended")) };
  };
  return { clock, client, events, candidate };
}

describe("leader election", () => {
  it("lets one candidate lead, and the next one in as soon as it ends", async () => {
    const { clock, client, events, candidate } = setUp();
    const first = candidate("one");
    await clock.advance(1_000);
    const second = candidate("two");
    await clock.advance(60_000);
    expect(events).toEqual(["one leads"]);
    expect(client.peek(leases, LEASE)?.spec).toMatchObject({ holderIdentity: "one", leaseDurationSeconds: 15, leaseTransitions: 0 });
    expect(client.peek(leases, LEASE)?.spec?.renewTime).toMatch(/\.\d{6}Z$/);
    first.end();
    await clock.advance(5_000);
    await first.running;
    expect(events).toEqual(["one leads", "one stops", "two leads"]);
    expect(client.peek(leases, LEASE)?.spec).toMatchObject({ holderIdentity: "two", leaseTransitions: 1 });
    second.end();
    await clock.advance(1_000);
    await second.running;
  });

  it("takes the lease of a leader that has gone silent, judging by its own clock", async () => {
    const { clock, client, events, candidate } = setUp();
    // The silent leader's clock is a year ahead.
    client.seed(leases, { metadata: LEASE, spec: { holderIdentity: "silent", leaseDurationSeconds: 15, renewTime: "2027-01-01T00:00:00.000000Z" } });
    const { end, running } = candidate("one");
    await clock.advance(14_000);
    expect(events).toEqual([]);
    await clock.advance(5_000);
    expect(events).toEqual(["one leads"]);
    end();
    await clock.advance(1_000);
    await running;
  });

  it("takes the lease of a leader that is known to have ended at once", async () => {
    const { clock, client } = setUp();
    client.seed(leases, { metadata: LEASE, spec: { holderIdentity: "pod_1", leaseDurationSeconds: 15, renewTime: "2026-01-01T00:00:00.000000Z" } });
    const ending = new AbortController();
    const running = runAsLeader(
      {
        ...{ client, lease: LEASE, identity: "pod_2", clock, random: seededRandom(1), logger: memoryLogger(), signal: ending.signal },
        hasEnded: (holder) => holder.startsWith("pod_"),
      },
      async (signal) => new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true })),
    );
    await settle();
    expect(client.peek(leases, LEASE)?.spec?.holderIdentity).toBe("pod_2");
    ending.abort(new Error("ended"));
    await clock.advance(1_000);
    await running;
  });

  it("stops leading when it cannot renew in time, and says so", async () => {
    const { clock, client, events, candidate } = setUp();
    const { running } = candidate("one");
    await clock.advance(1_000);
    client.failNext({ resource: "leases.coordination.k8s.io" }, "KUBE_UNAVAILABLE", 1_000);
    const outcome = expect(running).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
    await clock.advance(15_000);
    await outcome;
    expect(events).toEqual(["one leads", "one stops"]);
  });

  it("stops leading when the server does not answer at all, before another may lead", async () => {
    const { clock, client, events, candidate } = setUp();
    const { running } = candidate("one");
    await clock.advance(1_000);
    expect(events).toEqual(["one leads"]);
    const silence = (signal: AbortSignal | undefined): Promise<never> =>
      new Promise((_resolve, reject) => signal?.addEventListener("abort", () => reject(signal.reason), { once: true }));
    client.find = (_type, _key, signal) => silence(signal);
    client.replace = (_type, _object, options) => silence(options?.signal);
    await clock.advance(8_000);
    expect(events).toEqual(["one leads"]);
    await clock.advance(3_000);
    expect(events).toEqual(["one leads", "one stops"]);
    await expect(running).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
  });

  it("renews with one request, and looks at the lease only when somebody else has written it", async () => {
    const { clock, client, events, candidate } = setUp();
    const { end, running } = candidate("one");
    await clock.advance(1_000);
    const asked = (): readonly string[] => client.calls.splice(0).map(({ verb }) => verb);
    asked();
    await clock.advance(15_000);
    expect(asked()).toEqual(["replace", "replace", "replace"]);
    client.mutate(leases, LEASE, (lease) => {
      lease.metadata.annotations = { note: "by another" };
    });
    await clock.advance(5_000);
    expect(asked()).toEqual(["replace", "get", "replace"]);
    expect(client.peek(leases, LEASE)?.metadata.annotations).toEqual({ note: "by another" });
    await client.delete(leases, LEASE);
    asked();
    await clock.advance(5_000);
    expect(asked()).toEqual(["replace", "get", "create"]);
    expect(events).toEqual(["one leads"]);
    end();
    await clock.advance(1_000);
    await running;
  });

  it("stops leading with its next renewal when another holds the lease", async () => {
    const { clock, client, events, candidate } = setUp();
    const { running } = candidate("one");
    await settle();
    client.mutate(leases, LEASE, (lease) => {
      lease.spec = { ...lease.spec, holderIdentity: "usurper" };
    });
    const outcome = expect(running).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
    await clock.advance(6_000);
    await outcome;
    expect(events).toEqual(["one leads", "one stops"]);
    expect(client.peek(leases, LEASE)?.spec?.holderIdentity).toBe("usurper");
  });
});
