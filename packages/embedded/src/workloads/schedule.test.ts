import type { Node, PersistentVolume, PersistentVolumeClaim, Pod, StorageClass } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { type ClusterView, decideSchedule, SELECTED_NODE } from "./schedule.ts";

const node = (name: string, over: { readonly labels?: Record<string, string>; readonly spec?: Node["spec"]; readonly ready?: boolean } = {}): Node => ({
  metadata: { name, labels: { "kubernetes.io/hostname": name, zone: name === "c" ? "z2" : "z1", ...over.labels } },
  ...(over.spec === undefined ? {} : { spec: over.spec }),
  status: { conditions: [{ type: "Ready", status: over.ready === false ? "Unknown" : "True" }], allocatable: { pods: "110" } },
});
const pod = (name: string, spec: Partial<Pod["spec"]> = {}, labels: Record<string, string> = {}): Pod => ({
  metadata: { name, namespace: "ns", uid: name, labels },
  spec: { containers: [{ name: "c" }], ...spec },
});
const on = (nodeName: string, name: string, labels: Record<string, string> = {}): Pod => pod(name, { nodeName }, labels);
const claim = (name: string, over: Partial<PersistentVolumeClaim> = {}): PersistentVolumeClaim => ({
  metadata: { name, namespace: "ns", ...over.metadata },
  spec: { storageClassName: "wait", ...over.spec },
  ...(over.status === undefined ? {} : { status: over.status }),
});
const using = (...names: string[]): Partial<Pod["spec"]> => ({ volumes: names.map((name) => ({ name, persistentVolumeClaim: { claimName: name } })) });

const classes: Record<string, StorageClass> = {
  wait: { metadata: { name: "wait" }, provisioner: "p", volumeBindingMode: "WaitForFirstConsumer" },
  now: { metadata: { name: "now" }, provisioner: "p", volumeBindingMode: "Immediate" },
  zone: {
    metadata: { name: "zone" },
    provisioner: "p",
    volumeBindingMode: "WaitForFirstConsumer",
    allowedTopologies: [{ matchLabelExpressions: [{ key: "zone", values: ["z2"] }] }],
  },
};

function view(
  over: {
    readonly nodes?: readonly Node[];
    readonly pods?: readonly Pod[];
    readonly claims?: readonly PersistentVolumeClaim[];
    readonly volumes?: readonly PersistentVolume[];
  } = {},
): ClusterView {
  return {
    nodes: over.nodes ?? [node("a"), node("b"), node("c")],
    pods: over.pods ?? [],
    claim: (_namespace, name) => over.claims?.find(({ metadata }) => metadata.name === name),
    volume: (name) => over.volumes?.find(({ metadata }) => metadata.name === name),
    storageClass: (name) => classes[name],
  };
}

describe("decideSchedule", () => {
  it("prefers the node with the fewest pods, then the first name", () => {
    expect(decideSchedule(pod("p"), view())).toEqual({ do: "bind", node: "a" });
    expect(decideSchedule(pod("p"), view({ pods: [on("a", "1"), on("b", "2"), on("b", "3")] }))).toEqual({ do: "bind", node: "c" });
  });

  it.each<[string, Partial<Pod["spec"]>, readonly Node[], string]>([
    [
      "a selector that no node meets",
      { nodeSelector: { x: "y" } },
      [node("a")],
      "0/1 nodes are available: 1 node(s) didn't match Pod's node affinity/selector.",
    ],
    ["a cordoned node", {}, [node("a", { spec: { unschedulable: true } })], "0/1 nodes are available: 1 node(s) were unschedulable."],
    [
      "a taint",
      {},
      [node("a", { spec: { taints: [{ key: "k", value: "v", effect: "NoSchedule" }] } })],
      "0/1 nodes are available: 1 node(s) had untolerated taint {k: v}.",
    ],
    ["a node that is not ready", {}, [node("a", { ready: false })], "0/1 nodes are available: 1 node(s) were not ready."],
    ["no nodes", {}, [], "no nodes available to schedule pods"],
    ["a claim that is not there", using("x"), [node("a")], '0/1 nodes are available: persistentvolumeclaim "x" not found.'],
  ])("says what is in the way: %s", (_name, spec, nodes, message) => {
    expect(decideSchedule(pod("p", spec), view({ nodes }))).toEqual({ do: "fail", message });
  });

  it("counts different reasons together", () => {
    const nodes = [node("a", { ready: false }), node("b", { spec: { unschedulable: true } }), node("c", { ready: false })];
    expect(decideSchedule(pod("p"), view({ nodes }))).toEqual({
      do: "fail",
      message: "0/3 nodes are available: 1 node(s) were unschedulable, 2 node(s) were not ready.",
    });
  });

  it("meets required affinity, with its fields and operators", () => {
    const affinity = (term: object): Partial<Pod["spec"]> => ({
      affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [term] } } },
    });
    expect(decideSchedule(pod("p", affinity({ matchFields: [{ key: "metadata.name", operator: "In", values: ["b"] }] })), view())).toEqual({
      do: "bind",
      node: "b",
    });
    expect(decideSchedule(pod("p", affinity({ matchExpressions: [{ key: "zone", operator: "NotIn", values: ["z1"] }] })), view())).toEqual({
      do: "bind",
      node: "c",
    });
    expect(decideSchedule(pod("p", affinity({ matchExpressions: [{ key: "kubernetes.io/os", operator: "NotIn", values: ["windows"] }] })), view())).toEqual({
      do: "bind",
      node: "a",
    });
    expect(decideSchedule(pod("p", affinity({})), view())).toMatchObject({ do: "fail" });
  });

  it("tolerates what it is told to", () => {
    const nodes = [node("a", { spec: { taints: [{ key: "k", value: "v", effect: "NoSchedule" }], unschedulable: true } })];
    expect(
      decideSchedule(
        pod("p", {
          tolerations: [
            { key: "k", value: "v" },
            { operator: "Exists", key: "node.kubernetes.io/unschedulable" },
          ],
        }),
        view({ nodes }),
      ),
    ).toEqual({ do: "bind", node: "a" });
    expect(decideSchedule(pod("p", { tolerations: [{ operator: "Exists" }] }), view({ nodes }))).toEqual({ do: "bind", node: "a" });
  });

  it("spreads over domains, strictly or as well as it can", () => {
    const spread = (whenUnsatisfiable: string, topologyKey = "zone") => ({
      topologySpreadConstraints: [{ maxSkew: 1, topologyKey, whenUnsatisfiable, labelSelector: { matchLabels: { app: "x" } } }],
    });
    const pods = [on("a", "1", { app: "x" }), on("c", "2", { app: "x" }), on("c", "3")];
    expect(decideSchedule(pod("p", spread("ScheduleAnyway", "kubernetes.io/hostname"), { app: "x" }), view({ pods }))).toEqual({ do: "bind", node: "b" });
    const crowded = [on("a", "1", { app: "x" }), on("b", "2", { app: "x" }), on("c", "3"), on("c", "4"), on("c", "5")];
    expect(decideSchedule(pod("p", spread("DoNotSchedule"), { app: "x" }), view({ pods: crowded }))).toEqual({ do: "bind", node: "c" });
  });

  it("keeps pods apart that want to be, and together that want to be", () => {
    const term = { topologyKey: "zone", labelSelector: { matchLabels: { app: "x" } } };
    const wanting = (kind: string): Partial<Pod["spec"]> => ({ affinity: { [kind]: { requiredDuringSchedulingIgnoredDuringExecution: [term] } } });
    const pods = [on("a", "1", { app: "x" })];
    expect(decideSchedule(pod("p", wanting("podAntiAffinity"), { app: "x" }), view({ pods }))).toEqual({ do: "bind", node: "c" });
    expect(decideSchedule(pod("p", wanting("podAffinity"), { app: "x" }), view({ pods }))).toEqual({ do: "bind", node: "b" });
    expect(decideSchedule(pod("p", wanting("podAffinity"), { app: "x" }), view())).toEqual({ do: "bind", node: "a" });
    expect(decideSchedule(pod("p", wanting("podAffinity")), view())).toMatchObject({ do: "fail" });
  });

  it("goes where its volume is", () => {
    const required = { nodeSelectorTerms: [{ matchExpressions: [{ key: "kubernetes.io/hostname", operator: "In", values: ["b"] }] }] };
    const volumes: PersistentVolume[] = [{ metadata: { name: "pv" }, spec: { nodeAffinity: { required } } }];
    const claims = [claim("x", { spec: { volumeName: "pv" }, status: { phase: "Bound" } })];
    expect(decideSchedule(pod("p", using("x")), view({ claims, volumes }))).toEqual({ do: "bind", node: "b" });
    expect(decideSchedule(pod("p", { ...using("x"), nodeSelector: { zone: "z2" } }), view({ claims, volumes }))).toEqual({
      do: "fail",
      message: "0/3 nodes are available: 1 node(s) had volume node affinity conflict, 2 node(s) didn't match Pod's node affinity/selector.",
    });
  });

  it("chooses a node for claims that wait for one, and stays with it until they are bound", () => {
    const claims = [claim("x"), claim("y")];
    expect(decideSchedule(pod("p", using("x", "y")), view({ claims }))).toEqual({ do: "provision", node: "a", claims });
    const asked = [claim("x", { metadata: { annotations: { [SELECTED_NODE]: "b" } } }), claim("y")];
    expect(decideSchedule(pod("p", using("x", "y")), view({ claims: asked }))).toEqual({ do: "provision", node: "b", claims: [asked[1]] });
    const all = ["x", "y"].map((name) => claim(name, { metadata: { name, annotations: { [SELECTED_NODE]: "b" } } }));
    expect(decideSchedule(pod("p", using("x", "y")), view({ claims: all }))).toEqual({ do: "wait", node: "b" });
  });

  it("chooses again when the chosen node will not do any more", () => {
    const claims = [claim("x", { metadata: { annotations: { [SELECTED_NODE]: "gone" } } })];
    expect(decideSchedule(pod("p", using("x")), view({ claims }))).toEqual({ do: "provision", node: "a", claims });
  });

  it("waits for claims that are bound at once, and heeds where a class makes volumes", () => {
    expect(decideSchedule(pod("p", using("x")), view({ claims: [claim("x", { spec: { storageClassName: "now" } })] }))).toEqual({
      do: "fail",
      message: "0/3 nodes are available: pod has unbound immediate PersistentVolumeClaims.",
    });
    const claims = [claim("x", { spec: { storageClassName: "zone" } })];
    expect(decideSchedule(pod("p", using("x")), view({ claims }))).toEqual({ do: "provision", node: "c", claims });
  });
});
