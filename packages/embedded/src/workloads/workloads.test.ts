import type { DaemonSet, Deployment, Job, Lease, Node, Pod, ReplicaSet, StatefulSet } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { decideDaemonSet } from "./daemon-set.ts";
import { amount, decideDeployment, REVISION } from "./deployment.ts";
import { decideJob } from "./job.ts";
import { decideNode, LEASE_STALE_MS } from "./node-lifecycle.ts";
import { podFromTemplate, templateHash } from "./pod-template.ts";
import { decideReplicaSet } from "./replica-set.ts";
import { decideStatefulSet } from "./stateful-set.ts";

const NOW = Date.UTC(2026, 0, 1, 12);
const EARLIER = "2026-01-01T11:00:00Z";
const template = { metadata: { labels: { app: "a" } }, spec: { containers: [{ name: "c", image: "i" }] } };
const ready = [{ type: "Ready", status: "True" as const, lastTransitionTime: EARLIER }];

const pod = (
  name: string,
  over: {
    readonly phase?: string;
    readonly ready?: boolean;
    readonly node?: string;
    readonly labels?: Record<string, string>;
    readonly deleting?: boolean;
  } = {},
): Pod => ({
  metadata: {
    name,
    uid: name,
    labels: { app: "a", ...over.labels },
    creationTimestamp: EARLIER,
    ...(over.deleting === true ? { deletionTimestamp: EARLIER } : {}),
  },
  spec: { containers: [{ name: "c" }], nodeName: over.node ?? "n1" },
  status: { phase: (over.phase ?? "Running") as "Running", conditions: over.ready === false ? [] : ready },
});

describe("decideReplicaSet", () => {
  const set = (replicas: number, rest: object = {}): ReplicaSet => ({
    metadata: { name: "s", generation: 3 },
    spec: { replicas, selector: {}, template, ...rest },
  });

  it("makes what is missing, not counting what has ended or is going", () => {
    const owned = [pod("a"), pod("b", { phase: "Failed" }), pod("c", { deleting: true })];
    expect(decideReplicaSet(set(3), owned, NOW)).toMatchObject({ create: 2, remove: [], status: { replicas: 1, readyReplicas: 1, observedGeneration: 3 } });
  });

  it("removes first what serves nobody", () => {
    const owned = [pod("serving"), pod("starting", { ready: false, phase: "Pending" }), pod("unready", { ready: false })];
    expect(decideReplicaSet(set(1), owned, NOW).remove.map(({ metadata }) => metadata.name)).toEqual(["starting", "unready"]);
  });

  it("counts a pod as available only after its time, and looks again then", () => {
    const decision = decideReplicaSet(set(1, { minReadySeconds: 3_610 }), [pod("a")], NOW);
    expect(decision).toMatchObject({ status: { readyReplicas: 1, availableReplicas: 0 }, recheckAfterMs: 10_000 });
  });
});

describe("decideDeployment", () => {
  const deployment = (over: Partial<Deployment["spec"]> & { readonly revisionHistoryLimit?: number } = {}, status?: object): Deployment => ({
    metadata: { name: "d", namespace: "ns", uid: "d", generation: 1 },
    spec: { replicas: 4, selector: { matchLabels: { app: "a" } }, template, ...over },
    ...(status === undefined ? {} : { status: status as Record<string, unknown> }),
  });
  const other = { ...template, spec: { containers: [{ name: "c", image: "old" }] } };
  const setOf = (of: typeof template, size: number, available = size, revision = 1): ReplicaSet => ({
    metadata: {
      name: `d-${templateHash(of)}`,
      uid: templateHash(of),
      labels: { "pod-template-hash": templateHash(of) },
      annotations: { [REVISION]: String(revision) },
      creationTimestamp: EARLIER,
    },
    spec: { replicas: size, selector: {}, template: of },
    status: { replicas: size, readyReplicas: available, availableReplicas: available },
  });
  const scaling = (decision: ReturnType<typeof decideDeployment>): Record<string, number> =>
    Object.fromEntries(decision.scale.map(({ set, to }) => [set.spec.template === template ? "new" : "old", to]));

  it("begins with a ReplicaSet of the whole size, selected by the hash of its template", () => {
    const { create, scale, revision } = decideDeployment(deployment(), [], NOW);
    expect(create?.spec).toMatchObject({ replicas: 4, selector: { matchLabels: { app: "a", "pod-template-hash": templateHash(template) } } });
    expect([scale, revision]).toEqual([[], "1"]);
  });

  it("begins a change with as many as the surge allows", () => {
    expect(decideDeployment(deployment(), [setOf(other, 4)], NOW).create?.spec.replicas).toBe(1);
  });

  it("shrinks the old as far as enough stay available, and grows the new into the room", () => {
    expect(scaling(decideDeployment(deployment(), [setOf(template, 1, 1, 2), setOf(other, 4)], NOW))).toEqual({ old: 2 });
    expect(scaling(decideDeployment(deployment(), [setOf(template, 1, 1, 2), setOf(other, 2)], NOW))).toEqual({ new: 3 });
    expect(scaling(decideDeployment(deployment(), [setOf(template, 4, 3, 2), setOf(other, 1)], NOW))).toEqual({ old: 0 });
    expect(scaling(decideDeployment(deployment(), [setOf(template, 4, 4, 2), setOf(other, 0)], NOW))).toEqual({});
  });

  it("removes old pods that serve nobody, within the least number of pods", () => {
    expect(scaling(decideDeployment(deployment(), [setOf(template, 1, 1, 2), setOf(other, 4, 0)], NOW))["old"]).toBe(2);
  });

  it("never has both under Recreate", () => {
    const recreate = deployment({ strategy: { type: "Recreate" } });
    expect(decideDeployment(recreate, [setOf(other, 4)], NOW)).toMatchObject({ create: { spec: { replicas: 0 } }, scale: [{ to: 0 }] });
    expect(scaling(decideDeployment(recreate, [setOf(template, 0, 0, 2), { ...setOf(other, 0), status: { replicas: 1 } }], NOW))).toEqual({});
    expect(scaling(decideDeployment(recreate, [setOf(template, 0, 0, 2), setOf(other, 0)], NOW))).toEqual({ new: 4 });
  });

  it("changes nothing while paused but the number of replicas", () => {
    expect(decideDeployment(deployment({ paused: true }), [setOf(other, 4)], NOW)).toMatchObject({ scale: [] });
    expect(decideDeployment(deployment({ paused: true }), [setOf(other, 4)], NOW).create).toBeUndefined();
    expect(scaling(decideDeployment(deployment({ paused: true, replicas: 6 }), [setOf(other, 4)], NOW))).toEqual({ old: 6 });
  });

  it("gives a template that comes back a new revision", () => {
    expect(decideDeployment(deployment(), [setOf(template, 0, 0, 1), setOf(other, 4, 4, 2)], NOW).revision).toBe("3");
  });

  it("keeps only as much history as wanted", () => {
    const sets = [
      setOf(template, 4, 4, 9),
      ...[1, 2, 3].map((revision) => ({
        ...setOf(other, 0, 0, revision),
        metadata: { ...setOf(other, 0, 0, revision).metadata, name: `old-${revision}`, labels: {} },
      })),
    ];
    const decision = decideDeployment(deployment({ revisionHistoryLimit: 1 }), sets, NOW);
    expect(decision.remove.map(({ metadata }) => metadata.name)).toEqual(["old-1", "old-2"]);
  });

  it("says when it is complete, and when it has not come on for too long", () => {
    const conditionOf = (status: Readonly<Record<string, unknown>>, type: string) =>
      (status["conditions"] as { type: string; status: string; reason: string }[]).find((each) => each.type === type);
    const complete = decideDeployment(deployment(), [setOf(template, 4)], NOW).status;
    expect(conditionOf(complete, "Progressing")).toMatchObject({ status: "True", reason: "NewReplicaSetAvailable" });
    expect(conditionOf(complete, "Available")).toMatchObject({ status: "True" });
    const before = {
      updatedReplicas: 4,
      readyReplicas: 0,
      availableReplicas: 0,
      conditions: [{ type: "Progressing", status: "True", reason: "ReplicaSetUpdated", lastUpdateTime: EARLIER }],
    };
    const late = decideDeployment(deployment({}, before), [setOf(template, 4, 0)], NOW).status;
    expect(conditionOf(late, "Progressing")).toMatchObject({ status: "False", reason: "ProgressDeadlineExceeded" });
    expect(conditionOf(late, "Available")).toMatchObject({ status: "False" });
  });

  it("rounds parts of a number in the safe direction", () => {
    expect([amount("25%", 3, Math.ceil), amount("25%", 3, Math.floor), amount(2, 3, Math.ceil)]).toEqual([1, 0, 2]);
  });
});

describe("decideStatefulSet", () => {
  const set = (over: object = {}): StatefulSet => ({
    metadata: { name: "s", namespace: "ns", uid: "s" },
    spec: { replicas: 3, serviceName: "svc", selector: {}, template, ...over },
  });
  const revision = `s-${templateHash(template)}`;
  const member = (ordinal: number, over: Parameters<typeof pod>[1] = {}): Pod =>
    pod(`s-${ordinal}`, { ...over, labels: { "controller-revision-hash": revision, ...over.labels } });
  const names = (pods: readonly Pod[]): (string | undefined)[] => pods.map(({ metadata }) => metadata.name);

  it("makes one pod after the other, each when the one before is ready", () => {
    expect(names(decideStatefulSet(set(), [], NOW).create)).toEqual(["s-0"]);
    expect(names(decideStatefulSet(set(), [member(0, { ready: false })], NOW).create)).toEqual([]);
    expect(names(decideStatefulSet(set(), [member(0)], NOW).create)).toEqual(["s-1"]);
    expect(names(decideStatefulSet(set({ podManagementPolicy: "Parallel" }), [], NOW).create)).toEqual(["s-0", "s-1", "s-2"]);
  });

  it("gives each pod its name, its number and its own claims", () => {
    const claims = { volumeClaimTemplates: [{ metadata: { name: "data" }, spec: {} }] };
    expect(decideStatefulSet(set(claims), [], NOW).create[0]).toMatchObject({
      metadata: { labels: { "statefulset.kubernetes.io/pod-name": "s-0", "apps.kubernetes.io/pod-index": "0" } },
      spec: { hostname: "s-0", subdomain: "svc", volumes: [{ name: "data", persistentVolumeClaim: { claimName: "data-s-0" } }] },
    });
  });

  it("shrinks from the end, one at a time", () => {
    const owned = [member(0), member(1), member(2)];
    expect(names(decideStatefulSet(set({ replicas: 1 }), owned, NOW).remove)).toEqual(["s-2"]);
    expect(names(decideStatefulSet(set({ replicas: 1 }), [member(0), member(1), member(2, { deleting: true })], NOW).remove)).toEqual([]);
  });

  it("replaces outdated pods from the end, each when the one before is ready again", () => {
    const old = { labels: { "controller-revision-hash": "other" } };
    expect(names(decideStatefulSet(set(), [member(0, old), member(1, old), member(2, old)], NOW).remove)).toEqual(["s-2"]);
    expect(names(decideStatefulSet(set(), [member(0, old), member(1, old), member(2, { ready: false })], NOW).remove)).toEqual([]);
    expect(names(decideStatefulSet(set({ updateStrategy: { type: "OnDelete" } }), [member(0, old), member(1, old), member(2, old)], NOW).remove)).toEqual([]);
    expect(
      names(decideStatefulSet(set({ updateStrategy: { rollingUpdate: { partition: 2 } } }), [member(0, old), member(1, old), member(2)], NOW).remove),
    ).toEqual([]);
  });

  it("makes a pod that has ended anew under its name", () => {
    expect(names(decideStatefulSet(set(), [member(0, { phase: "Failed" })], NOW).remove)).toEqual(["s-0"]);
  });
});

const nodeOf = (name: string, over: Partial<Node> = {}): Node => ({
  metadata: { name, labels: { "kubernetes.io/hostname": name, ...over.metadata?.labels }, creationTimestamp: EARLIER },
  ...(over.spec === undefined ? {} : { spec: over.spec }),
  status: over.status ?? { conditions: [{ type: "Ready", status: "True", lastTransitionTime: EARLIER }] },
});

describe("decideDaemonSet", () => {
  const set = (over: object = {}): DaemonSet => ({ metadata: { name: "d", uid: "d" }, spec: { selector: {}, template, ...over } });
  const hash = { "controller-revision-hash": templateHash(template) };

  it("has one pod on each node that takes it, pinned there", () => {
    const nodes = [
      nodeOf("n1"),
      nodeOf("n2"),
      nodeOf("n3", { spec: { taints: [{ key: "own", effect: "NoSchedule" }] } }),
      nodeOf("n4", { spec: { unschedulable: true } }),
    ];
    const { create, status } = decideDaemonSet(set(), [pod("p", { labels: hash })], nodes, NOW);
    expect(create.map(({ spec }) => JSON.stringify(spec.affinity).match(/"n\d"/)?.[0])).toEqual(['"n2"', '"n4"']);
    expect(status).toMatchObject({ desiredNumberScheduled: 3, currentNumberScheduled: 1, numberReady: 1, numberUnavailable: 2 });
  });

  it("has none on a node that its template's selector does not name, and takes away what runs there", () => {
    const systemOf = (name: string, os: string): Node => nodeOf(name, { metadata: { labels: { "kubernetes.io/os": os } } });
    const nodes = [systemOf("n1", "linux"), systemOf("n2", "windows")];
    const ofLinux = set({ template: { ...template, spec: { ...template.spec, nodeSelector: { "kubernetes.io/os": "linux" } } } });
    const { create, remove, status } = decideDaemonSet(ofLinux, [pod("astray", { node: "n2" })], nodes, NOW);
    expect(create.map(({ spec }) => JSON.stringify(spec.affinity).match(/"n\d"/)?.[0])).toEqual(['"n1"']);
    expect(remove.map(({ metadata }) => metadata.name)).toEqual(["astray"]);
    expect(status).toMatchObject({ desiredNumberScheduled: 1 });
  });

  it("removes what is where it should not be, has ended, or is there twice", () => {
    const owned = [
      pod("away", { node: "gone", labels: hash }),
      pod("ended", { phase: "Failed", labels: hash }),
      pod("twice", { node: "n2", labels: hash }),
      pod("second", { node: "n2", labels: hash, ready: false }),
    ];
    expect(
      decideDaemonSet(set(), owned, [nodeOf("n1"), nodeOf("n2")], NOW)
        .remove.map(({ metadata }) => metadata.name)
        .sort(),
    ).toEqual(["away", "ended", "second"]);
  });

  it("replaces outdated pods one at a time", () => {
    const owned = [pod("a"), pod("b", { node: "n2" })];
    const nodes = [nodeOf("n1"), nodeOf("n2")];
    expect(decideDaemonSet(set(), owned, nodes, NOW).remove).toHaveLength(1);
    expect(decideDaemonSet(set(), [pod("a", { labels: hash, ready: false }), pod("b", { node: "n2" })], nodes, NOW).remove).toHaveLength(0);
    expect(decideDaemonSet(set({ updateStrategy: { type: "OnDelete" } }), owned, nodes, NOW).remove).toHaveLength(0);
  });

  it("waits for a pod that still goes before it makes its successor", () => {
    expect(decideDaemonSet(set(), [pod("a", { deleting: true })], [nodeOf("n1")], NOW).create).toEqual([]);
  });
});

describe("decideJob", () => {
  const job = (over: Partial<Job["spec"]> & { readonly activeDeadlineSeconds?: number; readonly suspend?: boolean } = {}, status?: Job["status"]): Job => ({
    metadata: { name: "j", uid: "j" },
    spec: { template, ...over },
    ...(status === undefined ? {} : { status }),
  });
  const failed = (name: string): Pod => {
    const base = pod(name, { phase: "Failed" });
    return {
      ...base,
      status: {
        ...base.status,
        containerStatuses: [{ name: "c", ready: false, restartCount: 0, state: { terminated: { exitCode: 1, finishedAt: "2026-01-01T11:59:55Z" } } }],
      },
    };
  };

  it("runs as many at once as it may, until enough have succeeded", () => {
    expect(decideJob(job({ completions: 5, parallelism: 3 }), [], NOW).create).toBe(3);
    expect(decideJob(job({ completions: 5, parallelism: 3 }), [pod("a", { phase: "Succeeded" }), pod("b")], NOW).create).toBe(2);
    expect(decideJob(job({ completions: 2, parallelism: 3 }), [pod("a", { phase: "Succeeded" }), pod("b")], NOW).create).toBe(0);
  });

  it("is complete, and says so once", () => {
    const decision = decideJob(job(), [pod("a", { phase: "Succeeded" })], NOW);
    expect(decision).toMatchObject({ create: 0, status: { succeeded: 1, active: 0 }, event: { reason: "Completed" } });
    expect((decision.status["conditions"] as { type: string }[]).map(({ type }) => type)).toEqual(["SuccessCriteriaMet", "Complete"]);
    const after = job({}, { succeeded: 1, conditions: [{ type: "Complete", status: "True", lastTransitionTime: EARLIER }] });
    expect(decideJob(after, [pod("a", { phase: "Succeeded" })], NOW)).toMatchObject({ create: 0, expire: false, status: {} });
  });

  it("tries again after a while, and gives up beyond the limit", () => {
    expect(decideJob(job(), [failed("a")], NOW)).toMatchObject({ create: 0, recheckAfterMs: 5_000 });
    expect(decideJob(job(), [failed("a")], NOW + 5_000).create).toBe(1);
    expect(decideJob(job({ backoffLimit: 0 }), [failed("a")], NOW)).toMatchObject({ create: 0, event: { reason: "BackoffLimitExceeded" } });
  });

  it("does not forget successes whose pods are gone", () => {
    expect(decideJob(job({ completions: 2 }, { succeeded: 1, startTime: EARLIER }), [], NOW).create).toBe(1);
  });

  it("goes when it has been kept long enough", () => {
    const done = job({ ttlSecondsAfterFinished: 3_600 }, { conditions: [{ type: "Complete", status: "True", lastTransitionTime: EARLIER }] });
    expect(decideJob(done, [], NOW).expire).toBe(true);
    expect(decideJob(done, [], NOW - 60_000)).toMatchObject({ expire: false, recheckAfterMs: 60_000 });
  });

  it("ends at its deadline, and runs nothing while suspended", () => {
    const late = job({ activeDeadlineSeconds: 60 }, { startTime: EARLIER });
    expect(decideJob(late, [pod("a")], NOW)).toMatchObject({ event: { reason: "DeadlineExceeded" }, remove: [{ metadata: { name: "a" } }] });
    expect(decideJob(job({ suspend: true }), [pod("a")], NOW)).toMatchObject({ create: 0, remove: [{ metadata: { name: "a" } }] });
  });
});

describe("decideNode", () => {
  const lease = (agoMs: number): Lease => ({ metadata: { name: "n1" }, spec: { renewTime: new Date(NOW - agoMs).toISOString() } });

  it("leaves a node alone that is heard", () => {
    expect(decideNode(nodeOf("n1"), lease(1_000), [pod("p")], NOW)).toEqual({ unready: [], evict: [], recheckAfterMs: 5_000 });
  });

  it("declares a silent node unknown, taints it, and its pods not ready", () => {
    const decision = decideNode(nodeOf("n1"), lease(LEASE_STALE_MS + 1), [pod("p")], NOW);
    expect(decision.conditions).toMatchObject([{ type: "Ready", status: "Unknown", reason: "NodeStatusUnknown" }]);
    expect(decision.taints?.map(({ key, effect }) => `${key} ${effect}`)).toEqual([
      "node.kubernetes.io/unreachable NoSchedule",
      "node.kubernetes.io/unreachable NoExecute",
    ]);
    expect([decision.unready.length, decision.evict.length]).toEqual([1, 0]);
  });

  it("drives pods away when their toleration ends, but never those that tolerate it for ever", () => {
    const since = new Date(NOW - 301_000).toISOString();
    const lost = nodeOf("n1", { status: { conditions: [{ type: "Ready", status: "Unknown", lastTransitionTime: since }] } });
    const stays = {
      ...pod("daemon"),
      spec: { ...pod("daemon").spec, tolerations: [{ key: "node.kubernetes.io/unreachable", operator: "Exists", effect: "NoExecute" }] },
    };
    expect(decideNode(lost, lease(400_000), [pod("p"), stays, pod("done", { phase: "Succeeded" })], NOW).evict.map(({ metadata }) => metadata.name)).toEqual([
      "p",
    ]);
  });

  it("takes the taint away from a node that is back, and leaves those of others", () => {
    const taints = [
      { key: "own", effect: "NoSchedule" },
      { key: "node.kubernetes.io/unreachable", effect: "NoSchedule" },
    ];
    expect(decideNode(nodeOf("n1", { spec: { taints } }), lease(1_000), [], NOW).taints).toEqual([{ key: "own", effect: "NoSchedule" }]);
  });
});

describe("podFromTemplate and templateHash", () => {
  it("names a template by its content, not by the order of its fields", () => {
    expect(templateHash({ a: 1, b: { c: 2, d: undefined } })).toBe(templateHash({ b: { c: 2 }, a: 1 }));
    expect(templateHash({ a: 1 })).not.toBe(templateHash({ a: 2 }));
  });

  it("copies the template, so that a change to a pod is not one of the owner", () => {
    const owner: Job = { metadata: { name: "o", namespace: "ns", uid: "u" }, spec: { template } };
    const made = podFromTemplate({ group: "batch", version: "v1", plural: "jobs", kind: "Job", namespaced: true }, owner, template, { generateName: "o-" });
    made.spec.containers[0] = { name: "changed" };
    expect(template.spec.containers[0]?.name).toBe("c");
    expect(made.metadata.ownerReferences).toMatchObject([{ kind: "Job", name: "o", uid: "u", controller: true }]);
  });
});
