import type { Restore } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { type Pod, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { type PodData, RestoreHookRuns } from "./restore-hook-runs.ts";

const pod = (annotations: Record<string, string> = {}, name = "db-0"): Pod => ({
  metadata: { name, namespace: "shop", annotations, labels: { "velero.io/restore-name": "back" } },
  spec: { containers: [{ name: "db" }] },
});

const post = (fields: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [`post.hook.restore.velero.io/${key}`, value]));

function world() {
  const clock = new VirtualClock();
  const client = new FakeKubeClient({ clock });
  const restore = { metadata: { name: "back", uid: "restore-1", creationTimestamp: new Date(clock.nowMs()).toISOString() }, spec: {} } as Restore;
  client.handlers.podExec = () => ({ exitCode: 0, stdout: "", stderr: "" });
  const newRuns = () => new RestoreHookRuns({ client, clock, restore, waitTimeoutMs: 10_000, log: nullLogger, signal: new AbortController().signal });
  return { clock, client, restore, newRuns };
}

const READY: PodData = { state: "ready" };

describe("hooks in restored pods", () => {
  async function run(annotations: Record<string, string>, states: (clock: VirtualClock, client: FakeKubeClient) => void = () => undefined, exitCode = 0) {
    const { clock, client, newRuns } = world();
    client.seed(pods, pod(annotations));
    client.handlers.podExec = () => ({ exitCode, stdout: "", stderr: "" });
    const runs = newRuns();
    await runs.offer(() => READY);
    states(clock, client);
    let ended = false;
    const results = runs.results().finally(() => {
      ended = true;
    });
    while (!ended) await clock.advance(500);
    const [result] = await results;
    return {
      counts: { attempted: result?.attempted ?? 0, failed: result?.failed ?? 0 },
      failures: result?.errors.map((text) => `${result.namespace}: ${text}`) ?? [],
    };
  }

  const up = (ready: boolean) => (clock: VirtualClock, client: FakeKubeClient) => {
    clock.after(3_000, () => {
      client.mutate(pods, { namespace: "shop", name: "db-0" }, (current) => {
        current.status = { phase: "Running", containerStatuses: [{ name: "db", ready, restartCount: 0, state: { running: {} } }] };
      });
    });
  };

  it("waits until the container runs", async () => {
    expect(await run(post({ command: "x" }), up(false))).toEqual({ counts: { attempted: 1, failed: 0 }, failures: [] });
  });

  it("waits for readiness where that is asked for, and gives up after its own time", async () => {
    const { counts, failures } = await run(post({ command: "x", "wait-for-ready": "true", "wait-timeout": "5s" }), up(false));
    expect(counts).toEqual({ attempted: 1, failed: 1 });
    expect(failures[0]).toMatch(/container "db" is not ready after 5 s/);
  });

  it("says why a container never came up", async () => {
    const { failures } = await run(post({ command: "x" }), (_clock, client) => {
      client.mutate(pods, { namespace: "shop", name: "db-0" }, (current) => {
        current.status = {
          phase: "Pending",
          containerStatuses: [{ name: "db", ready: false, restartCount: 0, state: { waiting: { reason: "ImagePullBackOff" } } }],
        };
      });
    });
    expect(failures[0]).toMatch(/not running after 10 s \(ImagePullBackOff\)/);
  });

  it("reports a command that fails and a pod that is gone", async () => {
    expect((await run(post({ command: "x" }), up(true), 7)).failures[0]).toMatch(/exit code 7/);
    expect((await run(post({ command: "x" }), (_clock, client) => client.discard(pods, { namespace: "shop", name: "db-0" }))).failures[0]).toMatch(
      /the pod is gone/,
    );
  });

  it("does not wait for a pod that will never come up", async () => {
    const { client, newRuns } = world();
    client.seed(pods, pod(post({ command: "x" })));
    const runs = newRuns();
    await runs.offer(() => ({ state: "missing", why: "its data did not come" }));
    const errors = ['Cannot run hook "<from-annotation>" in pod "shop/db-0": its data did not come'];
    expect(await runs.results()).toEqual([{ namespace: "shop", attempted: 1, failed: 1, errors }]);
  });

  it("run in a pod whose data is there while another one waits for its own", async () => {
    const { client, newRuns } = world();
    const executed: string[] = [];
    client.handlers.podExec = ({ name }) => {
      executed.push(name);
      return { exitCode: 0, stdout: "", stderr: "" };
    };
    for (const name of ["db-0", "db-1"]) {
      client.seed(pods, {
        ...pod(post({ command: "x" }), name),
        status: { phase: "Running", containerStatuses: [{ name: "db", ready: true, restartCount: 0, state: { running: {} } }] },
      });
    }
    const runs = newRuns();
    await runs.offer(({ metadata }) => (metadata.name === "db-0" ? READY : { state: "pending", why: "its data is on its way" }));
    expect(await runs.results()).toHaveLength(1);
    expect(executed).toEqual(["db-0"]);
    await runs.offer(() => READY);
    expect(await runs.results()).toHaveLength(2);
    expect(executed).toEqual(["db-0", "db-1"]);

    // Another process finds the notes, and runs nothing again.
    const others = newRuns();
    await others.offer(() => READY);
    expect((await others.results()).map(({ attempted, failed }) => [attempted, failed])).toEqual([
      [1, 0],
      [1, 0],
    ]);
    expect(executed).toHaveLength(2);
  });

  it("are not for pods that an earlier restore of that name made", async () => {
    const { client, newRuns } = world();
    client.seed(pods, { ...pod(post({ command: "x" })), metadata: { ...pod(post({ command: "x" })).metadata, creationTimestamp: "1969-12-31T23:59:59Z" } });
    const runs = newRuns();
    await runs.offer(() => READY);
    expect(await runs.results()).toEqual([]);
  });

  it("has nothing to do for pods without hooks", async () => {
    expect(await run({})).toEqual({ counts: { attempted: 0, failed: 0 }, failures: [] });
  });
});
