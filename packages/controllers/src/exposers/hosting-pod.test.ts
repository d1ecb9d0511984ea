import { LABELS } from "@drayage/api";
import { nullLogger } from "@drayage/base";
import { seededRandom, VirtualClock } from "@drayage/base/testing";
import type { Pod } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import type { NodeAgentConfig } from "../data-movement/node-agent-config.ts";
import type { MoverPodSettings } from "./exposer-deps.ts";
import { buildHostingPod, failureMessage, type HostingPodOptions, hasEndedWell, startingReason, unrecoverableReason } from "./hosting-pod.ts";
import { inheritedSettings } from "./inherited-settings.ts";

function build(config: NodeAgentConfig = {}, options: Partial<HostingPodOptions> = {}, settings: Partial<MoverPodSettings> = {}): Pod {
  const clock = new VirtualClock();
  const deps = {
    client: new FakeKubeClient({ clock }),
    clock,
    random: seededRandom(1),
    logger: nullLogger,
    namespace: "velero",
    pod: { image: "i", serviceAccount: "s", ...settings },
    config,
  };
  return buildHostingPod(deps, {
    name: "up",
    uid: "u",
    owner: { apiVersion: "v", kind: "k", name: "up", uid: "u" },
    label: LABELS.dataUpload,
    group: "snapshot-exposer",
    command: ["data-mover", "backup"],
    args: [],
    volumeMode: "Filesystem",
    storageClass: "csi",
    ...options,
  });
}

const terms = (pod: Pod): unknown =>
  JSON.parse(JSON.stringify(pod.spec.affinity)).nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms;
const notWindows = { key: "kubernetes.io/os", operator: "NotIn", values: ["windows"] };

describe("buildHostingPod()", () => {
  it("takes priority class, resources, labels and annotations from the ConfigMap", () => {
    const { metadata, spec } = build({
      priorityClassName: "high",
      podResources: { cpuRequest: "1", memoryLimit: "1Gi", ephemeralStorageRequest: "2Gi", ephemeralStorageLimit: "3Gi" },
      podLabels: { team: "storage" },
      podAnnotations: { note: "kept" },
    });
    expect(spec.priorityClassName).toBe("high");
    expect(spec.containers[0]?.resources).toEqual({
      requests: { cpu: "1", "ephemeral-storage": "2Gi" },
      limits: { memory: "1Gi", "ephemeral-storage": "3Gi" },
    });
    expect(metadata.labels).toMatchObject({ team: "storage", [LABELS.dataUpload]: "up" });
    expect(metadata.annotations).toEqual({ note: "kept" });
  });

  it("is privileged only where it reads volumes through the host, and the ConfigMap says so", () => {
    const hostPath = (privileged: boolean) => ({ path: "/var/lib/kubelet/pods/p/volumes/v", nodeName: "node-1", privileged });
    expect(build({}, { hostPath: hostPath(true) }).spec.containers[0]?.securityContext).toEqual({ privileged: true });
    expect(build({}, { hostPath: hostPath(false) }).spec.containers[0]?.securityContext).toEqual({ privileged: false });
    expect(build({ privilegedFsBackup: true }).spec.containers[0]?.securityContext).toBeUndefined();
  });

  it("inherits from the node-agent what gives a pod its identity and its nodes, where the ConfigMap does not say otherwise", () => {
    const inherited = inheritedSettings({
      metadata: { labels: { "azure.workload.identity/use": "true", app: "node-agent" }, annotations: { "iam.amazonaws.com/role": "backup", other: "x" } },
      spec: {
        containers: [],
        tolerations: [
          { key: "CriticalAddonsOnly", operator: "Exists" },
          { key: "kubernetes.azure.com/scalesetpriority", value: "spot" },
          { key: "node.kubernetes.io/unreachable", operator: "Exists" },
        ],
      },
    });
    const { metadata, spec } = build({}, {}, inherited);
    expect(metadata.labels).toMatchObject({ "azure.workload.identity/use": "true" });
    expect(metadata.labels).not.toHaveProperty("app");
    expect(metadata.annotations).toEqual({ "iam.amazonaws.com/role": "backup" });
    expect(spec.tolerations?.map((toleration) => (toleration as { key: string }).key)).toEqual(["CriticalAddonsOnly", "kubernetes.azure.com/scalesetpriority"]);
    const said = build({ podLabels: { a: "b" }, podAnnotations: {} }, {}, inherited).metadata;
    expect(said.labels).not.toHaveProperty(["azure.workload.identity/use"]);
    expect(said.annotations).toBeUndefined();
    expect(inheritedSettings({ spec: { containers: [] } })).toEqual({});
  });

  it("inherits what a pod needs to get its image and to find its store, but nothing that lies in a volume of the node-agent or says who that is", () => {
    const proxy = { name: "HTTPS_PROXY", value: "http://proxy:3128" };
    const fromSecret = { name: "ACCOUNT", valueFrom: { secretKeyRef: { name: "store", key: "account" } } };
    const container = {
      name: "node-agent",
      env: [
        { name: "POD_NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
        { name: "GOOGLE_APPLICATION_CREDENTIALS", value: "/credentials/cloud" },
        { name: "MALLOC_ARENA_MAX", value: "1" },
        proxy,
        fromSecret,
      ],
      envFrom: [{ configMapRef: { name: "settings" } }],
      volumeMounts: [{ name: "cloud", mountPath: "/credentials" }],
    };
    const dnsConfig = { nameservers: ["10.0.0.10"] };
    const { spec } = build(
      {},
      {},
      inheritedSettings({ spec: { containers: [container], imagePullSecrets: [{ name: "mirror" }], dnsPolicy: "None", dnsConfig } }),
    );
    expect(spec).toMatchObject({ imagePullSecrets: [{ name: "mirror" }], dnsPolicy: "None", dnsConfig });
    const names = spec.containers[0]?.env?.map(({ name }) => name);
    expect(spec.containers[0]?.env).toEqual(expect.arrayContaining([proxy, fromSecret]));
    for (const name of ["POD_NAME", "GOOGLE_APPLICATION_CREDENTIALS", "MALLOC_ARENA_MAX"]) expect(names).not.toContain(name);
    expect(spec.containers[0]?.envFrom).toEqual(container.envFrom);
    expect(inheritedSettings({ spec: { containers: [], dnsPolicy: "ClusterFirst", imagePullSecrets: [] } })).toEqual({});
  });

  it("puts operating system and affinity into each term of the volume's topology", () => {
    const zone = (value: string) => ({ key: "zone", operator: "In", values: [value] });
    const config = {
      loadAffinity: [{ nodeSelector: { matchLabels: { disk: "ssd" }, matchExpressions: [{ key: "gpu", operator: "DoesNotExist" as const }] } }],
    };
    const pod = build(config, { topology: { nodeSelectorTerms: [{ matchExpressions: [zone("a")] }, { matchExpressions: [zone("b")] }] } });
    const always = [notWindows, { key: "disk", operator: "In", values: ["ssd"] }, { key: "gpu", operator: "DoesNotExist" }];
    expect(terms(pod)).toEqual([{ matchExpressions: [...always, zone("a")] }, { matchExpressions: [...always, zone("b")] }]);
  });

  it("goes to the workload's node instead of where the affinity says", () => {
    const pod = build({ loadAffinity: [{ nodeSelector: { matchLabels: { disk: "ssd" } } }] }, { selectedNode: "node-2" });
    expect(pod.spec.nodeSelector).toEqual({ "kubernetes.io/hostname": "node-2" });
    expect(terms(pod)).toEqual([{ matchExpressions: [notWindows] }]);
  });

  it("gives block volumes as devices, and read-only ones read-only", () => {
    const block = build({}, { volumeMode: "Block" }).spec.containers[0];
    expect(block?.volumeDevices).toEqual([{ name: "u", devicePath: "/u" }]);
    expect(block?.volumeMounts?.map(({ name }) => name)).toEqual(["scratch", "mover-secret"]);
    const readOnly = build({}, { readOnly: true }).spec;
    expect(readOnly.containers[0]?.volumeMounts?.[0]).toEqual({ name: "u", mountPath: "/u", readOnly: true });
    expect(readOnly.volumes?.[0]?.persistentVolumeClaim).toEqual({ claimName: "up", readOnly: true });
  });

  it("shortens a long name in its label only", () => {
    const name = "a".repeat(70);
    const { metadata } = build({}, { name });
    expect(metadata.name).toBe(name);
    expect(metadata.labels?.[LABELS.dataUpload]).toHaveLength(63);
  });
});

describe("what a mover pod's status says", () => {
  const pod = (status: NonNullable<Pod["status"]>): Pod => ({ ...build(), status });
  const container = (state: NonNullable<NonNullable<NonNullable<Pod["status"]>["containerStatuses"]>[number]["state"]>) => [
    { name: "u", ready: false, restartCount: 0, state },
  ];

  it.each<[string, NonNullable<Pod["status"]>, string]>([
    ["the mover's own words", { phase: "Failed", containerStatuses: container({ terminated: { exitCode: 1, message: "disk error\n" } }) }, "disk error"],
    ["an eviction", { phase: "Failed", reason: "Evicted", message: "low on memory" }, "data path pod was evicted, low on memory"],
    ["the kubelet's words", { phase: "Failed", message: "node lost" }, "node lost"],
    [
      "a signal",
      { phase: "Failed", containerStatuses: container({ terminated: { exitCode: 137, signal: 9, reason: "OOMKilled" } }) },
      "mover ended with signal 9 (OOMKilled)",
    ],
    ["an exit code", { phase: "Failed", containerStatuses: container({ terminated: { exitCode: 2, reason: "Error" } }) }, "mover ended with exit code 2"],
    ["nothing", { phase: "Failed" }, "no reason was given"],
  ])("tells a failure by %s", (_title, status, message) => {
    expect(failureMessage(pod(status))).toBe(message);
  });

  it("tells that it has ended well before the phase says so, and no other end", () => {
    const ended = (exitCode: number) => container({ terminated: { exitCode } });
    expect(hasEndedWell(pod({ phase: "Running", containerStatuses: ended(0) }))).toBe(true);
    expect(hasEndedWell(pod({ phase: "Running", containerStatuses: ended(1) }))).toBe(false);
    expect(hasEndedWell(pod({ phase: "Running", containerStatuses: container({ running: {} }) }))).toBe(false);
    expect(hasEndedWell(pod({ phase: "Running", containerStatuses: [...ended(0), ...container({ running: {} })] }))).toBe(false);
    expect(hasEndedWell(pod({ phase: "Running" }))).toBe(false);
  });

  it("knows what cannot get better from what may", () => {
    expect(unrecoverableReason(pod({ phase: "Pending", containerStatuses: container({ waiting: { reason: "ErrImageNeverPull" } }) }))).toContain(
      "ErrImageNeverPull",
    );
    expect(unrecoverableReason(pod({ phase: "Unknown" }))).toContain("Unknown");
    expect(unrecoverableReason(pod({ phase: "Pending", conditions: [{ type: "PodScheduled", status: "False", message: "0/1 nodes" }] }))).toBeUndefined();
    expect(unrecoverableReason(pod({ phase: "Pending", containerStatuses: container({ waiting: { reason: "ContainerCreating" } }) }))).toBeUndefined();
  });

  it("says what a pod that does not run yet is waiting for", () => {
    expect(startingReason(pod({ conditions: [{ type: "PodScheduled", status: "False", message: "0/1 nodes are available" }] }))).toBe(
      "the mover pod to be scheduled: 0/1 nodes are available",
    );
    expect(startingReason(pod({ containerStatuses: container({ waiting: { reason: "ContainerCreating" } }) }))).toBe(
      "the mover pod to start: ContainerCreating",
    );
    expect(startingReason({ ...pod({}), spec: { ...pod({}).spec, nodeName: "n" } })).toBe('the mover pod to start on node "n"');
  });
});
