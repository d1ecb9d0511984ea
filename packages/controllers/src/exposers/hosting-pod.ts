/** The pod that holds an exposed volume and runs the mover: how it is made, and what its status says. Shape: velero.md 3.3 and 4.1, step 9. */
import { LABELS, MOVER_POD_UID_ENV, MOVER_SECRET_PATH, MOVER_SECRET_PATH_ENV, validLabelValue } from "@drayage/api";
import type { LabelSelector, OwnerReference, PersistentVolume, Pod, PodSpec, VolumeMount } from "@drayage/kube";
import { affinityFor, moverResources } from "../data-movement/node-agent-config.ts";
import type { ChangedBlocksParts } from "./changed-blocks.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { type MoverProgram, programMounts } from "./mover-program.ts";

export interface HostingPodOptions {
  /** Of the movement, and so of every intermediate object. */
  readonly name: string;
  /** Names volume and container, and the path `/<uid>` under which the mover finds the volume. */
  readonly uid: string;
  readonly owner: OwnerReference;
  readonly label: string;
  readonly group: "snapshot-exposer" | "generic-restore-exposer" | "pod-volume-exposer";
  /** `["data-mover", "backup"]`. */
  readonly command: readonly string[];
  readonly args: readonly string[];
  /** Runs instead of command and args. */
  readonly program?: MoverProgram;
  readonly volumeMode: "Filesystem" | "Block";
  readonly readOnly?: boolean;
  /** On SELinux hosts: the pod is trusted with every label, instead of the volume being relabeled for it. */
  readonly noRelabeling?: boolean;
  readonly storageClass: string | undefined;
  /** Where the source volume may be used, for classes that bind to a topology. */
  readonly topology?: NonNullable<PersistentVolume["spec"]["nodeAffinity"]>["required"];
  /** A folder or a device of the node instead of a claim of the pod's own name. */
  readonly hostPath?: { readonly path: string; readonly nodeName: string; readonly privileged: boolean };
  /** A claim for what the mover keeps of the repository. */
  readonly cache?: { readonly claimName: string; readonly path: string };
  /** Where it asks what has changed on its device. */
  readonly changedBlocks?: ChangedBlocksParts;
  /** The mark of its movement's epoch. */
  readonly epoch?: Readonly<Record<string, string>>;
  /** The node that the workload was scheduled to; wins over the configured affinity. */
  readonly selectedNode?: string;
}

const CACHE_VOLUME = "cachedir";

type NodeExpression = { key: string; operator: string; values?: string[] };

/** Every mover of the same restore or backup spreads over the nodes where it can. */
const spread = (group: string): Record<string, unknown> => ({
  maxSkew: 1,
  topologyKey: "kubernetes.io/hostname",
  whenUnsatisfiable: "ScheduleAnyway",
  labelSelector: { matchLabels: { [LABELS.exposerPodGroup]: group } },
});

export function buildHostingPod(deps: ExposerDeps, options: HostingPodOptions): Pod {
  const { config, pod } = deps;
  const { uid, name } = options;
  const path = `/${uid}`;
  const { program } = options;
  const own = program?.command === undefined;
  const files = programMounts(program ?? {});
  const resources = moverResources(config);
  const affinity = options.selectedNode === undefined ? affinityFor(config, options.storageClass)?.nodeSelector : undefined;
  const spec: PodSpec = {
    restartPolicy: "Never",
    terminationGracePeriodSeconds: program?.graceSeconds ?? 0,
    serviceAccountName: pod.serviceAccount,
    securityContext: { runAsUser: 0, ...(options.noRelabeling === true ? { seLinuxOptions: { type: "spc_t" } } : {}) },
    os: { name: "linux" },
    // Where the volume is, the scheduler has no choice; a node that is cordoned still has its pods.
    ...(options.hostPath === undefined ? {} : { nodeName: options.hostPath.nodeName }),
    ...(options.selectedNode === undefined ? {} : { nodeSelector: { "kubernetes.io/hostname": options.selectedNode } }),
    affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: nodeTerms(affinity, options.topology) } } },
    topologySpreadConstraints: [spread(options.group)],
    ...(pod.tolerations === undefined ? {} : { tolerations: [...pod.tolerations] }),
    ...(pod.imagePullSecrets === undefined ? {} : { imagePullSecrets: [...pod.imagePullSecrets] }),
    ...(pod.dnsPolicy === undefined ? {} : { dnsPolicy: pod.dnsPolicy }),
    ...(pod.dnsConfig === undefined ? {} : { dnsConfig: { ...pod.dnsConfig } }),
    ...(config.priorityClassName === undefined || config.priorityClassName === "" ? {} : { priorityClassName: config.priorityClassName }),
    containers: [
      {
        name: uid,
        image: program?.image ?? pod.image,
        imagePullPolicy: pod.imagePullPolicy ?? "IfNotPresent",
        command: [...(program?.command ?? [...(pod.command ?? ["/velero"]), ...(program === undefined ? options.command : [])])],
        args: [...(program?.args ?? options.args), ...(own ? (pod.extraArgs ?? []) : [])],
        env: [
          { name: "NODE_NAME", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
          { name: "VELERO_NAMESPACE", valueFrom: { fieldRef: { fieldPath: "metadata.namespace" } } },
          { name: "VELERO_SCRATCH_DIR", value: "/scratch" },
          { name: "AWS_SHARED_CREDENTIALS_FILE", value: `${MOVER_SECRET_PATH}/cloud` },
          { name: MOVER_SECRET_PATH_ENV, value: MOVER_SECRET_PATH },
          { name: MOVER_POD_UID_ENV, valueFrom: { fieldRef: { fieldPath: "metadata.uid" } } },
          ...(options.changedBlocks?.env ?? []),
          ...(program?.env ?? []),
          ...(pod.env ?? []),
        ],
        ...(pod.envFrom === undefined ? {} : { envFrom: [...pod.envFrom] }),
        ...(Object.keys(resources).length === 0 ? {} : { resources }),
        ...(options.volumeMode === "Block" ? { volumeDevices: [{ name: uid, devicePath: path }] } : { volumeMounts: [volumeMount(options)] }),
        ...(options.hostPath === undefined ? {} : { securityContext: { privileged: options.hostPath.privileged } }),
        terminationMessagePath: "/dev/termination-log",
        terminationMessagePolicy: "File",
      },
    ],
    volumes: [
      options.hostPath === undefined
        ? { name: uid, persistentVolumeClaim: { claimName: name, ...(options.readOnly === true ? { readOnly: true } : {}) } }
        : { name: uid, hostPath: { path: options.hostPath.path, type: "Directory" } },
      { name: "scratch", emptyDir: {} },
      ...(options.cache === undefined ? [] : [{ name: CACHE_VOLUME, persistentVolumeClaim: { claimName: options.cache.claimName } }]),
      { name: "mover-secret", secret: { secretName: name, defaultMode: 0o400 } },
      ...(options.changedBlocks === undefined ? [] : [options.changedBlocks.volume]),
      ...files.volumes,
    ],
  };
  const annotations = { ...(config.podAnnotations ?? pod.annotations), ...options.epoch };
  const container = spec.containers[0];
  if (container !== undefined) {
    container.volumeMounts = [
      ...(container.volumeMounts ?? []),
      { name: "scratch", mountPath: "/scratch" },
      ...(options.cache === undefined ? [] : [{ name: CACHE_VOLUME, mountPath: options.cache.path }]),
      { name: "mover-secret", mountPath: MOVER_SECRET_PATH, readOnly: true },
      ...(options.changedBlocks === undefined ? [] : [options.changedBlocks.mount]),
      ...files.mounts,
    ];
  }
  return {
    metadata: {
      name,
      namespace: deps.namespace,
      labels: { ...(config.podLabels ?? pod.labels), [options.label]: validLabelValue(name), [LABELS.exposerPodGroup]: options.group },
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      ownerReferences: [options.owner],
    },
    spec,
  };
}

/**
 * A volume of a pod is mounted before its mover is made, and is taken as it is then, without propagation: containerd starts no container with a propagated path that is a
 * private mount, which some drivers make; and a volume that is unmounted meanwhile must not look empty to the mover that reads it.
 */
function volumeMount({ uid, readOnly }: HostingPodOptions): VolumeMount {
  return { name: uid, mountPath: `/${uid}`, ...(readOnly === true ? { readOnly: true } : {}) };
}

/** Terms are alternatives, expressions inside one all hold: so the operating system and the affinity go into each term of the topology. */
function nodeTerms(affinity: LabelSelector | undefined, topology: HostingPodOptions["topology"]): { matchExpressions: NodeExpression[] }[] {
  const always: NodeExpression[] = [
    { key: "kubernetes.io/os", operator: "NotIn", values: ["windows"] },
    ...Object.entries(affinity?.matchLabels ?? {}).map(([key, value]) => ({ key, operator: "In", values: [value] })),
    ...(affinity?.matchExpressions ?? []).map(({ key, operator, values }) => ({ key, operator, ...(values === undefined ? {} : { values }) })),
  ];
  const terms = topology?.nodeSelectorTerms ?? [];
  return terms.length === 0
    ? [{ matchExpressions: always }]
    : terms.map(({ matchExpressions }) => ({ matchExpressions: [...always, ...(matchExpressions ?? [])] }));
}

/** Why a mover pod can never come up, or undefined while it still may. Not being schedulable now is no such reason: nodes come and go. */
export function unrecoverableReason(pod: Pod): string | undefined {
  const phase = pod.status?.phase;
  if (phase === "Failed" || phase === "Unknown") return `mover pod is ${phase}: ${failureMessage(pod)}`;
  for (const { state } of pod.status?.containerStatuses ?? []) {
    const reason = state?.waiting?.reason;
    if (reason === "ImagePullBackOff" || reason === "ErrImageNeverPull") {
      return `mover pod cannot get its image: ${reason}${state?.waiting?.message === undefined ? "" : `: ${state.waiting.message}`}`;
    }
  }
  return undefined;
}

/** What a pod that does not run yet is waiting for, in the words of the scheduler or the kubelet. */
export function startingReason(pod: Pod): string {
  const scheduled = pod.status?.conditions?.find(({ type }) => type === "PodScheduled");
  if (scheduled?.status === "False" && scheduled.message !== undefined) return `the mover pod to be scheduled: ${scheduled.message}`;
  const waiting = pod.status?.containerStatuses?.[0]?.state?.waiting;
  if (waiting?.reason !== undefined) return `the mover pod to start: ${waiting.reason}${waiting.message === undefined ? "" : `: ${waiting.message}`}`;
  return pod.spec.nodeName === undefined ? "the mover pod to be scheduled" : `the mover pod to start on node "${pod.spec.nodeName}"`;
}

/** Why a pod ended that its own program did not end: its node is shut down, was lost, or had to make room. Velero fails what was evicted for want of resources, and so do we. */
export function isDisrupted({ status }: Pod): boolean {
  if (status?.reason === "Evicted") return false;
  if (status?.reason !== undefined && ["NodeLost", "NodeShutdown", "Terminated"].includes(status.reason)) return true;
  if (status?.conditions?.some(({ type, status: is }) => type === "DisruptionTarget" && is === "True") === true) return true;
  // The kubelet came back, after its node had, and found no trace of the container.
  return status?.containerStatuses?.[0]?.state?.terminated?.reason === "ContainerStatusUnknown";
}

/** What is known about the end of a failed pod: the mover's own words, else the kubelet's. */
export function failureMessage(pod: Pod): string {
  const terminated = pod.status?.containerStatuses?.[0]?.state?.terminated;
  const own = terminated?.message?.trim();
  if (own !== undefined && own !== "") return own;
  if (pod.status?.reason === "Evicted") return `data path pod was evicted, ${pod.status.message ?? "no reason was given"}`;
  if (pod.status?.message !== undefined && pod.status.message !== "") return pod.status.message;
  if (terminated === undefined) return "no reason was given";
  const how = terminated.signal === undefined || terminated.signal === 0 ? `exit code ${terminated.exitCode}` : `signal ${terminated.signal}`;
  return `mover ended with ${how}${terminated.reason === undefined || terminated.reason === "Error" ? "" : ` (${terminated.reason})`}`;
}

/**
 * Whether all of a pod has ended well. A kubelet tells so of the containers about a second before it says it of the pod, whose sandbox it takes away in between; none of them starts again.
 * Why one failed may hang on what becomes of the pod (`isDisrupted`), so that is waited for.
 */
export function hasEndedWell({ status }: Pod): boolean {
  const containers = status?.containerStatuses ?? [];
  return containers.length > 0 && containers.every(({ state }) => state?.terminated?.exitCode === 0);
}

/** The termination message of a pod that ended well. */
export function successMessage(pod: Pod): string {
  return pod.status?.containerStatuses?.[0]?.state?.terminated?.message ?? "";
}
