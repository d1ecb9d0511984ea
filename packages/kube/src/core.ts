/** The built-in kinds this program works with: where each is served, and the fields it uses. Other fields travel through untouched. */
import type { KubeObject, ResourceType } from "./types.ts";

export interface LabelSelector {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: "In" | "NotIn" | "Exists" | "DoesNotExist"; values?: string[] }[];
}

export interface Condition {
  type: string;
  status: "True" | "False" | "Unknown";
  reason?: string;
  message?: string;
  lastTransitionTime?: string;
  lastProbeTime?: string | null;
  observedGeneration?: number;
}

export interface Namespace extends KubeObject {
  spec?: { finalizers?: string[] };
  status?: { phase?: "Active" | "Terminating"; conditions?: Condition[] };
}

export interface EnvVar {
  name: string;
  value?: string;
  valueFrom?: {
    fieldRef?: { fieldPath: string };
    secretKeyRef?: { name: string; key: string; optional?: boolean };
    configMapKeyRef?: { name: string; key: string; optional?: boolean };
  };
}

export interface VolumeMount {
  name: string;
  mountPath: string;
  subPath?: string;
  readOnly?: boolean;
  mountPropagation?: string;
}

export interface Probe {
  exec?: { command: string[] };
  httpGet?: { path?: string; port: number | string; host?: string; scheme?: string };
  tcpSocket?: { port: number | string };
  initialDelaySeconds?: number;
  periodSeconds?: number;
  timeoutSeconds?: number;
  failureThreshold?: number;
  successThreshold?: number;
}

export interface Container {
  name: string;
  image?: string;
  imagePullPolicy?: string;
  command?: string[];
  args?: string[];
  workingDir?: string;
  env?: EnvVar[];
  envFrom?: unknown[];
  ports?: { name?: string; containerPort: number; protocol?: string }[];
  resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
  volumeMounts?: VolumeMount[];
  volumeDevices?: { name: string; devicePath: string }[];
  livenessProbe?: Probe;
  readinessProbe?: Probe;
  startupProbe?: Probe;
  securityContext?: Record<string, unknown>;
  terminationMessagePath?: string;
  terminationMessagePolicy?: string;
}

export interface Volume {
  name: string;
  persistentVolumeClaim?: { claimName: string; readOnly?: boolean };
  emptyDir?: { medium?: string; sizeLimit?: string };
  hostPath?: { path: string; type?: string };
  secret?: { secretName?: string; items?: { key: string; path: string; mode?: number }[]; defaultMode?: number; optional?: boolean };
  configMap?: { name?: string; items?: { key: string; path: string; mode?: number }[]; defaultMode?: number; optional?: boolean };
  projected?: { sources?: unknown[]; defaultMode?: number };
  downwardAPI?: { items?: unknown[] };
}

export interface PodSpec {
  containers: Container[];
  initContainers?: Container[];
  volumes?: Volume[];
  nodeName?: string;
  nodeSelector?: Record<string, string>;
  affinity?: Record<string, unknown>;
  tolerations?: Record<string, unknown>[];
  topologySpreadConstraints?: Record<string, unknown>[];
  restartPolicy?: "Always" | "OnFailure" | "Never";
  terminationGracePeriodSeconds?: number;
  activeDeadlineSeconds?: number;
  serviceAccountName?: string;
  automountServiceAccountToken?: boolean;
  securityContext?: Record<string, unknown>;
  imagePullSecrets?: { name: string }[];
  priorityClassName?: string;
  hostNetwork?: boolean;
  hostPID?: boolean;
  dnsPolicy?: string;
  dnsConfig?: Record<string, unknown>;
  os?: { name: string };
}

export interface ContainerStatus {
  name: string;
  ready: boolean;
  restartCount: number;
  image?: string;
  imageID?: string;
  containerID?: string;
  started?: boolean;
  state?: {
    waiting?: { reason?: string; message?: string };
    running?: { startedAt?: string };
    terminated?: { exitCode: number; signal?: number; reason?: string; message?: string; startedAt?: string; finishedAt?: string };
  };
  lastState?: ContainerStatus["state"];
}

export interface Pod extends KubeObject {
  spec: PodSpec;
  status?: {
    phase?: "Pending" | "Running" | "Succeeded" | "Failed" | "Unknown";
    conditions?: Condition[];
    containerStatuses?: ContainerStatus[];
    initContainerStatuses?: ContainerStatus[];
    hostIP?: string;
    podIP?: string;
    podIPs?: { ip: string }[];
    startTime?: string;
    message?: string;
    reason?: string;
    qosClass?: string;
  };
}

export interface PodTemplate {
  metadata?: { labels?: Record<string, string>; annotations?: Record<string, string> };
  spec: PodSpec;
}

export interface Deployment extends KubeObject {
  spec: { replicas?: number; selector: LabelSelector; template: PodTemplate; strategy?: Record<string, unknown>; paused?: boolean };
  status?: Record<string, unknown>;
}

export interface ReplicaSet extends KubeObject {
  spec: { replicas?: number; selector: LabelSelector; template: PodTemplate };
  status?: Record<string, unknown>;
}

export interface StatefulSet extends KubeObject {
  spec: { replicas?: number; serviceName?: string; selector: LabelSelector; template: PodTemplate; volumeClaimTemplates?: PersistentVolumeClaim[] };
  status?: Record<string, unknown>;
}

export interface DaemonSet extends KubeObject {
  spec: { selector: LabelSelector; template: PodTemplate };
  status?: Record<string, unknown>;
}

export interface Job extends KubeObject {
  spec: {
    template: PodTemplate;
    backoffLimit?: number;
    completions?: number;
    parallelism?: number;
    ttlSecondsAfterFinished?: number;
    selector?: LabelSelector;
  };
  status?: { active?: number; succeeded?: number; failed?: number; startTime?: string; completionTime?: string; conditions?: Condition[] };
}

export interface TypedLocalObjectReference {
  apiGroup?: string;
  kind: string;
  name: string;
  namespace?: string;
}

export interface PersistentVolumeClaim extends KubeObject {
  spec: {
    accessModes?: string[];
    resources?: { requests?: Record<string, string>; limits?: Record<string, string> };
    storageClassName?: string;
    volumeMode?: "Filesystem" | "Block";
    volumeName?: string;
    selector?: LabelSelector;
    dataSource?: TypedLocalObjectReference;
    dataSourceRef?: TypedLocalObjectReference;
  };
  status?: { phase?: "Pending" | "Bound" | "Lost"; accessModes?: string[]; capacity?: Record<string, string>; conditions?: Condition[] };
}

export interface PersistentVolume extends KubeObject {
  spec: {
    capacity?: Record<string, string>;
    accessModes?: string[];
    persistentVolumeReclaimPolicy?: "Retain" | "Delete" | "Recycle";
    storageClassName?: string;
    volumeMode?: "Filesystem" | "Block";
    claimRef?: { apiVersion?: string; kind?: string; namespace?: string; name?: string; uid?: string; resourceVersion?: string };
    csi?: {
      driver: string;
      volumeHandle: string;
      fsType?: string;
      readOnly?: boolean;
      volumeAttributes?: Record<string, string>;
      nodeStageSecretRef?: { name: string; namespace: string };
      nodePublishSecretRef?: { name: string; namespace: string };
    };
    hostPath?: { path: string };
    nfs?: { server: string; path: string };
    local?: { path: string };
    mountOptions?: string[];
    nodeAffinity?: { required?: { nodeSelectorTerms?: { matchExpressions?: { key: string; operator: string; values?: string[] }[] }[] } };
  };
  status?: { phase?: "Available" | "Bound" | "Released" | "Failed" | "Pending"; message?: string; reason?: string };
}

export interface StorageClass extends KubeObject {
  provisioner: string;
  parameters?: Record<string, string>;
  reclaimPolicy?: "Retain" | "Delete";
  volumeBindingMode?: "Immediate" | "WaitForFirstConsumer";
  allowVolumeExpansion?: boolean;
  mountOptions?: string[];
  allowedTopologies?: unknown[];
}

/** Only which volume it is of is of interest. */
export interface VolumeAttachment extends KubeObject {
  spec: { attacher: string; nodeName: string; source: { persistentVolumeName?: string } };
}

export interface Node extends KubeObject {
  spec?: { unschedulable?: boolean; taints?: { key: string; value?: string; effect: string }[]; podCIDR?: string };
  status?: {
    conditions?: Condition[];
    addresses?: { type: string; address: string }[];
    capacity?: Record<string, string>;
    allocatable?: Record<string, string>;
    nodeInfo?: Record<string, string>;
    volumesAttached?: unknown[];
  };
}

export interface Secret extends KubeObject {
  type?: string;
  data?: Record<string, string>;
  stringData?: Record<string, string>;
  immutable?: boolean;
}

export interface ConfigMap extends KubeObject {
  data?: Record<string, string>;
  binaryData?: Record<string, string>;
  immutable?: boolean;
}

export interface ServiceAccount extends KubeObject {
  secrets?: { name: string }[];
  imagePullSecrets?: { name: string }[];
}

export interface Service extends KubeObject {
  spec?: Record<string, unknown>;
  status?: Record<string, unknown>;
}

export interface Lease extends KubeObject {
  spec?: { holderIdentity?: string; leaseDurationSeconds?: number; acquireTime?: string; renewTime?: string; leaseTransitions?: number };
}

export interface PolicyRule {
  apiGroups?: string[];
  resources?: string[];
  verbs: string[];
  resourceNames?: string[];
  nonResourceURLs?: string[];
}

export interface Role extends KubeObject {
  rules?: PolicyRule[];
}

export interface RoleBinding extends KubeObject {
  subjects?: { kind: string; name: string; namespace?: string; apiGroup?: string }[];
  roleRef: { apiGroup: string; kind: string; name: string };
}

/** The core/v1 Event, which kubectl describe shows and Velero's watchers read. */
export interface CoreEvent extends KubeObject {
  involvedObject: { apiVersion?: string; kind?: string; namespace?: string; name?: string; uid?: string; resourceVersion?: string; fieldPath?: string };
  /** What else has a part in it. */
  related?: { apiVersion?: string; kind?: string; namespace?: string; name?: string; uid?: string };
  reason?: string;
  message?: string;
  type?: string;
  count?: number;
  firstTimestamp?: string | null;
  lastTimestamp?: string | null;
  eventTime?: string | null;
  reportingComponent?: string;
  reportingInstance?: string;
  source?: { component?: string; host?: string };
  action?: string;
}

export interface CustomResourceDefinition extends KubeObject {
  spec: {
    group: string;
    scope: "Namespaced" | "Cluster";
    names: { plural: string; singular?: string; kind: string; listKind?: string; shortNames?: string[]; categories?: string[] };
    versions: {
      name: string;
      served: boolean;
      storage: boolean;
      deprecated?: boolean;
      schema?: { openAPIV3Schema?: Record<string, unknown> };
      subresources?: { status?: Record<string, unknown>; scale?: Record<string, unknown> };
      additionalPrinterColumns?: { name: string; type: string; jsonPath: string; description?: string; format?: string; priority?: number }[];
      selectableFields?: { jsonPath: string }[];
    }[];
    conversion?: Record<string, unknown>;
    preserveUnknownFields?: boolean;
  };
  status?: { conditions?: Condition[]; acceptedNames?: Record<string, unknown>; storedVersions?: string[] };
}

export interface ValidatingWebhook {
  name: string;
  clientConfig: { url?: string; service?: { namespace: string; name: string; port?: number; path?: string }; caBundle?: string };
  rules?: { operations: string[]; apiGroups: string[]; apiVersions: string[]; resources: string[]; scope?: string }[];
  failurePolicy?: "Ignore" | "Fail";
  matchConditions?: { name: string; expression: string }[];
  namespaceSelector?: LabelSelector;
  objectSelector?: LabelSelector;
  sideEffects: "None" | "NoneOnDryRun";
  timeoutSeconds?: number;
  admissionReviewVersions: string[];
}

export interface ValidatingWebhookConfiguration extends KubeObject {
  webhooks?: ValidatingWebhook[];
}

const builtIn = <T extends KubeObject>(group: string, version: string, plural: string, kind: string, namespaced = true): ResourceType<T> => ({
  group,
  version,
  plural,
  kind,
  namespaced,
});

export const namespaces = builtIn<Namespace>("", "v1", "namespaces", "Namespace", false);
export const nodes = builtIn<Node>("", "v1", "nodes", "Node", false);
export const persistentVolumes = builtIn<PersistentVolume>("", "v1", "persistentvolumes", "PersistentVolume", false);
export const persistentVolumeClaims = builtIn<PersistentVolumeClaim>("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim");
export const pods = builtIn<Pod>("", "v1", "pods", "Pod");
export const secrets = builtIn<Secret>("", "v1", "secrets", "Secret");
export const configMaps = builtIn<ConfigMap>("", "v1", "configmaps", "ConfigMap");
export const serviceAccounts = builtIn<ServiceAccount>("", "v1", "serviceaccounts", "ServiceAccount");
export const services = builtIn<Service>("", "v1", "services", "Service");
export const events = builtIn<CoreEvent>("", "v1", "events", "Event");
export const deployments = builtIn<Deployment>("apps", "v1", "deployments", "Deployment");
export const replicaSets = builtIn<ReplicaSet>("apps", "v1", "replicasets", "ReplicaSet");
export const statefulSets = builtIn<StatefulSet>("apps", "v1", "statefulsets", "StatefulSet");
export const daemonSets = builtIn<DaemonSet>("apps", "v1", "daemonsets", "DaemonSet");
export const jobs = builtIn<Job>("batch", "v1", "jobs", "Job");
export const storageClasses = builtIn<StorageClass>("storage.k8s.io", "v1", "storageclasses", "StorageClass", false);
export const volumeAttachments = builtIn<VolumeAttachment>("storage.k8s.io", "v1", "volumeattachments", "VolumeAttachment", false);
/** Only whether one is there is of interest. */
export const priorityClasses = builtIn<KubeObject>("scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false);
export const leases = builtIn<Lease>("coordination.k8s.io", "v1", "leases", "Lease");
export const roles = builtIn<Role>("rbac.authorization.k8s.io", "v1", "roles", "Role");
export const roleBindings = builtIn<RoleBinding>("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding");
export const clusterRoles = builtIn<Role>("rbac.authorization.k8s.io", "v1", "clusterroles", "ClusterRole", false);
export const clusterRoleBindings = builtIn<RoleBinding>("rbac.authorization.k8s.io", "v1", "clusterrolebindings", "ClusterRoleBinding", false);
export const customResourceDefinitions = builtIn<CustomResourceDefinition>(
  "apiextensions.k8s.io",
  "v1",
  "customresourcedefinitions",
  "CustomResourceDefinition",
  false,
);
export const validatingWebhookConfigurations = builtIn<ValidatingWebhookConfiguration>(
  "admissionregistration.k8s.io",
  "v1",
  "validatingwebhookconfigurations",
  "ValidatingWebhookConfiguration",
  false,
);
