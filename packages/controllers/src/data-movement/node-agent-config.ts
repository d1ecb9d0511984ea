/** Velero's node-agent ConfigMap: exactly one key, whose value is JSON (velero.md 3.2). What of it this cluster can use is usable-config.ts. */
import { DrayError } from "@drayage/base";
import { type ConfigMap, type LabelSelector, matchesLabels, parseQuantity } from "@drayage/kube";
import { anyNumber, flag, labelSelector, listOf, mapOf, readJsonConfig, record, type Shape, text, wholeNumber } from "../json-config.ts";

export interface NodeAgentConfig {
  readonly loadConcurrency?: {
    readonly globalConfig?: number;
    /** A rule without a selector is for every node. */
    readonly perNodeConfig?: readonly { readonly nodeSelector?: LabelSelector; readonly number?: number }[];
    readonly prepareQueueLength?: number;
  };
  readonly loadAffinity?: readonly LoadAffinity[];
  /** By storage class of the source volume. */
  readonly backupPVC?: Readonly<Record<string, BackupPvcConfig>>;
  readonly restorePVC?: TenantObjectNames & { readonly ignoreDelayBinding?: boolean };
  /** A volume for what a restore keeps of its repository; without one it lies in the node's own ephemeral storage. */
  readonly cachePVC?: CachePvcConfig;
  readonly podResources?: {
    readonly cpuRequest?: string;
    readonly cpuLimit?: string;
    readonly memoryRequest?: string;
    readonly memoryLimit?: string;
    readonly ephemeralStorageRequest?: string;
    readonly ephemeralStorageLimit?: string;
  };
  readonly priorityClassName?: string;
  /** Whether pods of file-system backup are privileged: some hosts do not let others read the volumes of pods. */
  readonly privilegedFsBackup?: boolean;
  readonly podAnnotations?: Readonly<Record<string, string>>;
  readonly podLabels?: Readonly<Record<string, string>>;
}

export interface CachePvcConfig {
  /** Its reclaim policy has to be Delete. */
  readonly storageClass?: string;
  /** In MiB, of the snapshot: smaller ones do without. 0, and snapshots of a size that nobody knows, get a volume. */
  readonly residentThresholdInMB?: number;
}

/** Objects of the application's namespace that its storage looks for where a claim is: they are copied for as long as a movement needs them. */
export interface TenantObjectNames {
  readonly secretNames?: readonly string[];
  readonly configMapNames?: readonly string[];
}

/** How the claim of a backup's mover differs from that of the application. */
export interface BackupPvcConfig extends TenantObjectNames {
  /** The class that a snapshot becomes a volume by; that of the source when left out. */
  readonly storageClass?: string;
  /** Asks for `ReadOnlyMany`: storage that can show a snapshot in place then copies nothing. */
  readonly readOnly?: boolean;
  /** With `readOnly`, on SELinux hosts: the mover's pod runs as `spc_t`, since what is read only cannot be relabeled. */
  readonly spcNoRelabeling?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface LoadAffinity {
  readonly nodeSelector?: LabelSelector;
  readonly storageClass?: string;
}

const TENANT_OBJECTS = { secretNames: listOf(text), configMapNames: listOf(text) };
export const POD_RESOURCES: Shape = record({
  cpuRequest: text,
  cpuLimit: text,
  memoryRequest: text,
  memoryLimit: text,
  ephemeralStorageRequest: text,
  ephemeralStorageLimit: text,
});
const FIELDS = {
  loadConcurrency: record({
    globalConfig: wholeNumber,
    perNodeConfig: listOf(record({ nodeSelector: labelSelector, number: wholeNumber })),
    prepareQueueLength: wholeNumber,
  }),
  loadAffinity: listOf(record({ nodeSelector: labelSelector, storageClass: text })),
  backupPVC: mapOf(record({ storageClass: text, readOnly: flag, spcNoRelabeling: flag, annotations: mapOf(text), ...TENANT_OBJECTS })),
  restorePVC: record({ ignoreDelayBinding: flag, ...TENANT_OBJECTS }),
  cachePVC: record({ storageClass: text, residentThresholdInMB: anyNumber }),
  podResources: POD_RESOURCES,
  priorityClassName: text,
  privilegedFsBackup: flag,
  podAnnotations: mapOf(text),
  podLabels: mapOf(text),
} satisfies Record<keyof NodeAgentConfig, Shape>;
const SHAPE = record(FIELDS);

/** What stands in a configuration that nothing here reads: Velero's of a later version, or a name with an error in it. */
export function unknownFields(config: NodeAgentConfig): readonly string[] {
  return Object.keys(config).filter((name) => !Object.hasOwn(FIELDS, name));
}

/** Reads the ConfigMap. Throws VALIDATION_FAILED naming what is wrong. */
export function parseNodeAgentConfig(configMap: ConfigMap): NodeAgentConfig {
  const name = configMap.metadata.name ?? "";
  const values = Object.values(configMap.data ?? {});
  const [value] = values;
  if (value === undefined || values.length !== 1) {
    throw new DrayError("VALIDATION_FAILED", `Cannot use node-agent ConfigMap "${name}": it has ${values.length} keys, exactly one is wanted`);
  }
  return readJsonConfig<NodeAgentConfig>(value, SHAPE, `node-agent ConfigMap "${name}"`);
}

/** How many data paths may run on a node: the smallest number of the rules that match its labels, else the global one, else 1. */
export function concurrencyFor(config: NodeAgentConfig, nodeLabels: Readonly<Record<string, string>> | undefined): number {
  const positive = (number: number | undefined): number => (number !== undefined && number > 0 ? number : 1);
  const matching = (config.loadConcurrency?.perNodeConfig ?? []).flatMap(({ nodeSelector = {}, number = 0 }) =>
    number > 0 && matchesLabels(nodeSelector, nodeLabels) ? [number] : [],
  );
  return matching.length > 0 ? Math.min(...matching) : positive(config.loadConcurrency?.globalConfig);
}

/** The affinity of a storage class: the first rule that names it, else the first that names none. */
export function affinityFor(config: NodeAgentConfig, storageClass: string | undefined): LoadAffinity | undefined {
  const rules = config.loadAffinity ?? [];
  return rules.find((rule) => isNamed(rule) && rule.storageClass === storageClass) ?? rules.find((rule) => !isNamed(rule));
}

const isNamed = ({ storageClass }: LoadAffinity): boolean => storageClass !== undefined && storageClass !== "";

/** Requests and limits of a mover container. As in Velero, one value that is not a quantity voids them all. */
export function moverResources(config: NodeAgentConfig): { requests?: Record<string, string>; limits?: Record<string, string> } {
  const { cpuRequest, cpuLimit, memoryRequest, memoryLimit, ephemeralStorageRequest, ephemeralStorageLimit } = config.podResources ?? {};
  const given = [cpuRequest, cpuLimit, memoryRequest, memoryLimit, ephemeralStorageRequest, ephemeralStorageLimit];
  if (given.some((text) => text !== undefined && text !== "" && parseQuantity(text) === undefined)) return {};
  const pick = (entries: Record<string, string | undefined>): Record<string, string> =>
    Object.fromEntries(Object.entries(entries).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== "" && entry[1] !== "0"));
  const requests = pick({ cpu: cpuRequest, memory: memoryRequest, "ephemeral-storage": ephemeralStorageRequest });
  const limits = pick({ cpu: cpuLimit, memory: memoryLimit, "ephemeral-storage": ephemeralStorageLimit });
  return { ...(Object.keys(requests).length > 0 ? { requests } : {}), ...(Object.keys(limits).length > 0 ? { limits } : {}) };
}
