import type { Pod } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import type { ContainerResult } from "./container-runtime.ts";
import { type AttemptView, backoffMs, type ContainerView, decidePod, type PodView } from "./pod-decide.ts";
import { podStatus } from "./pod-status.ts";
import type { KubeletContainer } from "./pod-types.ts";

const NOW = Date.UTC(2026, 0, 1, 12);

const result = (exitCode: number, over: Partial<ContainerResult> = {}): ContainerResult => ({
  exitCode,
  reason: exitCode === 0 ? "Completed" : "Error",
  startedAtMs: NOW - 2_000,
  finishedAtMs: NOW - 1_000,
  ...over,
});
const attempt = (over: Partial<AttemptView> = {}): AttemptView => ({ id: "id", attempt: 0, startedAtMs: NOW - 2_000, started: true, ready: true, ...over });
const seen = (over: Partial<ContainerView> = {}): ContainerView => ({ image: { state: "present" }, busy: false, ...over });
const running = (): ContainerView => seen({ latest: attempt() });
const ended = (exitCode: number): ContainerView => seen({ latest: attempt({ result: result(exitCode), ready: false }) });

function podOf(spec: Partial<Pod["spec"]> = {}, rest: Partial<Pod> = {}): Pod {
  return {
    metadata: { name: "p", namespace: "ns", uid: "u", ...rest.metadata },
    spec: { containers: [{ name: "c" }], ...spec },
    ...(rest.status === undefined ? {} : { status: rest.status }),
  };
}
function viewOf(pod: Pod, containers: Readonly<Record<string, ContainerView>>, over: Partial<PodView> = {}): PodView {
  return { pod, nowMs: NOW, volumes: "ready", containers: new Map(Object.entries(containers)), ...over };
}
const doing = (view: PodView): string[] =>
  decidePod(view).actions.map((action) => ("container" in action ? `${action.do} ${action.container.name}` : action.do));
const statusOf = (view: PodView) => podStatus(view, { podIP: "127.64.0.1", hostIP: "127.0.0.1" });
const deletion = { metadata: { name: "p", namespace: "ns", uid: "u", deletionTimestamp: "2026-01-01T12:00:00Z" } };
const sidecar: KubeletContainer = { name: "s", restartPolicy: "Always" };

describe("decidePod", () => {
  it.each<[string, PodView, string[]]>([
    ["sets volumes up before anything else", viewOf(podOf(), { c: seen() }, { volumes: "absent" }), ["setUpVolumes"]],
    ["waits while volumes are being set up", viewOf(podOf(), { c: seen() }, { volumes: "busy" }), []],
    ["looks for an image before the first start", viewOf(podOf(), { c: seen({ image: { state: "unknown" } }) }), ["pull c"]],
    ["starts a container whose image is there", viewOf(podOf(), { c: seen() }), ["start c"]],
    ["leaves a running container alone", viewOf(podOf(), { c: running() }), []],
    ["leaves a container alone that is being worked on", viewOf(podOf(), { c: seen({ busy: true }) }), []],
    ["starts a container again that ended, whatever its code, under Always", viewOf(podOf(), { c: ended(0) }), ["start c"]],
    [
      "starts only what failed under OnFailure",
      viewOf(podOf({ restartPolicy: "OnFailure", containers: [{ name: "c" }, { name: "d" }] }), { c: ended(1), d: ended(0) }),
      ["start c"],
    ],
    ["lets go of the volumes of a pod that has ended", viewOf(podOf({ restartPolicy: "Never" }), { c: ended(1) }), ["tearDownVolumes"]],
    ["does nothing more for a pod that has ended", viewOf(podOf({ restartPolicy: "Never" }), { c: ended(1) }, { volumes: "absent" }), []],
    ["runs init containers one after the other", viewOf(podOf({ initContainers: [{ name: "i" }, { name: "j" }] }), { i: running(), j: seen(), c: seen() }), []],
    [
      "goes on when an init container has succeeded",
      viewOf(podOf({ initContainers: [{ name: "i" }, { name: "j" }] }), { i: ended(0), j: seen(), c: seen() }),
      ["start j"],
    ],
    ["starts containers beside a sidecar", viewOf(podOf({ initContainers: [sidecar] }), { s: running(), c: seen() }), ["start c"]],
    ["waits for a sidecar to have started", viewOf(podOf({ initContainers: [sidecar] }), { s: seen({ latest: attempt({ started: false }) }), c: seen() }), []],
    ["ends what its probe calls unhealthy", viewOf(podOf(), { c: seen({ latest: attempt({ unhealthy: "failed liveness probe" }) }) }), ["stop c"]],
    ["stops the containers of a deleted pod", viewOf(podOf({}, deletion), { c: running() }), ["stop c"]],
    ["stops sidecars last", viewOf(podOf({ initContainers: [sidecar] }, deletion), { s: running(), c: running() }), ["stop c"]],
    ["lets go of the volumes of a deleted pod before the object", viewOf(podOf({}, deletion), { c: ended(0) }), ["tearDownVolumes"]],
    ["removes the object of a deleted pod last", viewOf(podOf({}, deletion), { c: ended(0) }, { volumes: "absent" }), ["removeObject"]],
    ["removes a deleted pod that never started", viewOf(podOf({}, deletion), { c: seen() }, { volumes: "absent" }), ["removeObject"]],
    [
      "stops a sidecar when the containers have ended for good",
      viewOf(podOf({ restartPolicy: "Never", initContainers: [sidecar] }), { s: running(), c: ended(0) }),
      ["stop s"],
    ],
  ])("%s", (_name, view, wanted) => {
    expect(doing(view)).toEqual(wanted);
  });

  it("waits twice as long before each further restart, and not at all after a long run", () => {
    const after = (number: number, ranMs = 1_000): number =>
      backoffMs(attempt({ attempt: number, result: result(1, { startedAtMs: 0, finishedAtMs: ranMs }) }));
    expect([0, 1, 2, 3, 9].map((number) => after(number))).toEqual([0, 10_000, 20_000, 40_000, 300_000]);
    expect(after(9, 600_000)).toBe(0);
    const view = viewOf(podOf(), { c: seen({ latest: attempt({ attempt: 1, result: result(1) }) }) });
    expect(decidePod(view)).toEqual({ actions: [], recheckAfterMs: 9_000 });
  });

  it("grants what the deletion grants", () => {
    const pod = podOf({ terminationGracePeriodSeconds: 30 }, { metadata: { ...deletion.metadata, deletionGracePeriodSeconds: 3 } });
    expect(decidePod(viewOf(pod, { c: running() })).actions).toMatchObject([{ do: "stop", graceMs: 3_000 }]);
  });

  it("ends a pod whose deadline has passed as Failed", () => {
    const pod = podOf({ activeDeadlineSeconds: 5 } as Partial<Pod["spec"]>, { metadata: {}, status: { startTime: "2026-01-01T11:59:00Z" } });
    const view = viewOf(pod, { c: running() });
    expect(decidePod(view)).toMatchObject({ actions: [{ do: "stop" }], verdict: { reason: "DeadlineExceeded" } });
  });
});

describe("podStatus", () => {
  it.each<[string, PodView, string]>([
    ["Pending before its containers", viewOf(podOf(), { c: seen() }), "Pending"],
    ["Pending while init containers run", viewOf(podOf({ initContainers: [{ name: "i" }] }), { i: running(), c: seen() }), "Pending"],
    ["Running once all have begun", viewOf(podOf(), { c: running() }), "Running"],
    ["Pending while one of two has not begun", viewOf(podOf({ containers: [{ name: "c" }, { name: "d" }] }), { c: running(), d: seen() }), "Pending"],
    ["Running between two restarts", viewOf(podOf(), { c: ended(1) }), "Running"],
    ["Succeeded when all have", viewOf(podOf({ restartPolicy: "Never" }), { c: ended(0) }), "Succeeded"],
    ["Failed when one has", viewOf(podOf({ restartPolicy: "Never", containers: [{ name: "c" }, { name: "d" }] }), { c: ended(0), d: ended(1) }), "Failed"],
    [
      "Failed when an init container has, under Never",
      viewOf(podOf({ restartPolicy: "Never", initContainers: [{ name: "i" }] }), { i: ended(1), c: seen() }),
      "Failed",
    ],
    [
      "Running as long as one runs",
      viewOf(podOf({ restartPolicy: "Never", containers: [{ name: "c" }, { name: "d" }] }), { c: ended(1), d: running() }),
      "Running",
    ],
    ["what it was when it had ended", viewOf(podOf({}, { metadata: {}, status: { phase: "Failed" } }), { c: seen() }), "Failed"],
  ])("is %s", (_name, view, phase) => {
    expect(statusOf(view).phase).toBe(phase);
  });

  it("says why a container waits", () => {
    const reasonOf = (view: PodView): string | undefined => statusOf(view).containerStatuses?.[0]?.state?.waiting?.reason;
    expect(reasonOf(viewOf(podOf(), { c: seen() }, { volumes: "busy" }))).toBe("ContainerCreating");
    expect(reasonOf(viewOf(podOf({ initContainers: [{ name: "i" }] }), { i: running(), c: seen() }))).toBe("PodInitializing");
    expect(reasonOf(viewOf(podOf(), { c: seen({ image: { state: "failed", reason: "ErrImagePull", message: "", retryAtMs: 0 } }) }))).toBe("ErrImagePull");
    expect(reasonOf(viewOf(podOf(), { c: seen({ trouble: { reason: "CreateContainerConfigError", message: "", retryAtMs: 0 } }) }))).toBe(
      "CreateContainerConfigError",
    );
    const crashing = seen({ latest: attempt({ attempt: 3, result: result(1) }) });
    expect(statusOf(viewOf(podOf(), { c: crashing })).containerStatuses?.[0]).toMatchObject({
      restartCount: 3,
      state: { waiting: { reason: "CrashLoopBackOff", message: "back-off 40s restarting failed container=c pod=p_ns(u)" } },
      lastState: { terminated: { exitCode: 1 } },
    });
  });

  it("is ready when every container is, and says which are not", () => {
    const ready = (view: PodView) => statusOf(view).conditions?.find(({ type }) => type === "Ready");
    expect(ready(viewOf(podOf(), { c: running() }))?.status).toBe("True");
    expect(ready(viewOf(podOf(), { c: seen({ latest: attempt({ ready: false }) }) }))).toMatchObject({
      status: "False",
      message: "containers with unready status: [c]",
    });
    expect(ready(viewOf(podOf({ restartPolicy: "Never" }), { c: ended(0) }))).toMatchObject({ status: "False", reason: "PodCompleted" });
  });

  it("keeps the time of a condition that did not change, and conditions of others", () => {
    const conditions = [
      { type: "Ready", status: "True" as const, lastTransitionTime: "2025-01-01T00:00:00Z" },
      { type: "example.org/gate", status: "True" as const },
    ];
    const status = statusOf(viewOf(podOf({}, { metadata: {}, status: { conditions } }), { c: running() }));
    expect(status.conditions).toContainEqual(expect.objectContaining({ type: "Ready", lastTransitionTime: "2025-01-01T00:00:00Z" }));
    expect(status.conditions).toContainEqual({ type: "example.org/gate", status: "True" });
  });
});
