import { nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import { type Pod, pods } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { RestoreHooks, runRestoreHooks } from "./restore-hooks.ts";

const pod = (annotations: Record<string, string> = {}): Pod => ({
  metadata: { name: "db-0", namespace: "shop", annotations },
  spec: { containers: [{ name: "db" }], initContainers: [{ name: "restore-wait" }, { name: "own" }] },
});

const post = (fields: Record<string, string>): Record<string, string> =>
  Object.fromEntries(Object.entries(fields).map(([key, value]) => [`post.hook.restore.velero.io/${key}`, value]));

describe("init hooks", () => {
  it("come after the container that waits for data, and before the pod's own", () => {
    const hooks = new RestoreHooks({
      hooks: { resources: [{ name: "h", postHooks: [{ init: { initContainers: [{ name: "chown", image: "i", command: ["c"] }] } }] }] },
    });
    expect(hooks.withInitContainers(pod(), "shop", seededRandom(1)).spec.initContainers?.map(({ name }) => name)).toEqual(["restore-wait", "chown", "own"]);
  });

  it("of annotations get a name when they have none", () => {
    const annotated = pod({ "init.hook.restore.velero.io/container-image": "busybox", "init.hook.restore.velero.io/command": '["sh","-c","true"]' });
    const [, added] = new RestoreHooks({}).withInitContainers(annotated, "shop", seededRandom(1)).spec.initContainers ?? [];
    expect(added).toMatchObject({ image: "busybox", command: ["sh", "-c", "true"] });
    expect(added?.name).toMatch(/^velero-restore-init-[0-9a-f]{8}$/);
  });

  it("are for the namespace that the pod goes to", () => {
    const hooks = new RestoreHooks({
      hooks: {
        resources: [{ name: "h", includedNamespaces: ["new"], postHooks: [{ init: { initContainers: [{ name: "x", image: "i", command: ["c"] }] } }] }],
      },
    });
    expect(hooks.withInitContainers(pod(), "new", seededRandom(1)).spec.initContainers).toHaveLength(3);
    expect(hooks.withInitContainers(pod(), "shop", seededRandom(1)).spec.initContainers).toHaveLength(2);
  });

  it("are told off for what they lack", () => {
    const hooks = new RestoreHooks({ hooks: { resources: [{ name: "h", postHooks: [{ init: { initContainers: [{ name: "x" }] } }] }] } });
    expect(hooks.faults).toEqual(['spec.hooks "h": an init container has no image, no command']);
  });
});

describe("runRestoreHooks()", () => {
  async function run(annotations: Record<string, string>, states: (clock: VirtualClock, client: FakeKubeClient) => void = () => undefined, exitCode = 0) {
    const clock = new VirtualClock();
    const client = new FakeKubeClient({ clock });
    const subject = client.seed(pods, pod(annotations));
    client.handlers.podExec = () => ({ exitCode, stdout: "", stderr: "" });
    const failures: string[] = [];
    states(clock, client);
    let ended = false;
    const running = runRestoreHooks({
      client,
      clock,
      hooks: new RestoreHooks({}),
      pods: [subject],
      waitTimeoutMs: 10_000,
      log: nullLogger,
      signal: new AbortController().signal,
      onFailure: (namespace, message) => failures.push(`${namespace}: ${message}`),
    }).finally(() => {
      ended = true;
    });
    while (!ended) await clock.advance(500);
    return { counts: await running, failures };
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
    const clock = new VirtualClock();
    const client = new FakeKubeClient({ clock });
    const failures: string[] = [];
    const counts = await runRestoreHooks({
      client,
      clock,
      hooks: new RestoreHooks({}),
      pods: [client.seed(pods, pod(post({ command: "x" })))],
      problemOf: () => "its data did not come",
      waitTimeoutMs: 10_000,
      log: nullLogger,
      signal: new AbortController().signal,
      onFailure: (_namespace, message) => failures.push(message),
    });
    expect(counts).toEqual({ attempted: 1, failed: 1 });
    expect(failures).toEqual(['Cannot run hook "<from-annotation>" in pod "shop/db-0": its data did not come']);
  });

  it("has nothing to do for pods without hooks", async () => {
    expect(await run({})).toEqual({ counts: { attempted: 0, failed: 0 }, failures: [] });
  });
});
