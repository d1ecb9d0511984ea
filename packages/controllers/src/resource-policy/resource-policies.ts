/**
 * The ConfigMap that `spec.resourcePolicy` of a Backup names: what happens to which volume, and resources to include or to exclude beside those of the spec. The format is Velero's (1.18):
 *
 *   version: v1
 *   volumePolicies:                                        the first whose conditions all hold decides
 *     - conditions: {capacity: "1Gi,10Gi", storageClass: [fast], nfs: {server, path}, csi: {driver, volumeAttributes}, volumeTypes: [nfs], pvcLabels: {a: b}, pvcPhase: [Pending]}
 *       action: {type: skip | snapshot | fs-backup | custom, parameters: {}}
 *   includeExcludePolicy: {includedClusterScopedResources, excludedClusterScopedResources, includedNamespaceScopedResources, excludedNamespaceScopedResources}
 *
 * Everything in it is checked, with the path of what is wrong, before a backup starts: a condition that was misspelled would otherwise let a volume through.
 */
import { DrayError } from "@drayage/base";
import { type ConfigMap, parseQuantity } from "@drayage/kube";
import { parse } from "yaml";

export type VolumeActionType = "skip" | "snapshot" | "fs-backup" | "custom";

export interface VolumeConditions {
  /** Bytes, in billionths; an end that is not set is open. */
  readonly capacity?: { readonly least: bigint | undefined; readonly most: bigint | undefined };
  readonly storageClass?: readonly string[];
  /** An empty text fits everything. */
  readonly nfs?: { readonly server: string; readonly path: string };
  readonly csi?: { readonly driver: string; readonly volumeAttributes: Readonly<Record<string, string>> };
  readonly volumeTypes?: readonly string[];
  readonly pvcLabels?: Readonly<Record<string, string>>;
  readonly pvcPhase?: readonly string[];
}

export interface VolumePolicy {
  readonly conditions: VolumeConditions;
  readonly action: { readonly type: VolumeActionType; readonly parameters: Readonly<Record<string, unknown>> };
}

export interface IncludeExcludePolicy {
  readonly includedClusterScopedResources: readonly string[];
  readonly excludedClusterScopedResources: readonly string[];
  readonly includedNamespaceScopedResources: readonly string[];
  readonly excludedNamespaceScopedResources: readonly string[];
}

export interface ResourcePolicies {
  readonly volumePolicies: readonly VolumePolicy[];
  readonly includeExclude: IncludeExcludePolicy | undefined;
}

const VERSION = "v1";
const ACTIONS: readonly VolumeActionType[] = ["skip", "snapshot", "fs-backup", "custom"];

/** Volume sources that a policy can name: those of pods and of PersistentVolumes. */
export const VOLUME_TYPES: readonly string[] = [
  "awsElasticBlockStore",
  "azureDisk",
  "azureFile",
  "cephfs",
  "cinder",
  "configMap",
  "csi",
  "downwardAPI",
  "emptyDir",
  "ephemeral",
  "fc",
  "flexVolume",
  "flocker",
  "gcePersistentDisk",
  "gitRepo",
  "glusterfs",
  "hostPath",
  "iscsi",
  "local",
  "nfs",
  "photonPersistentDisk",
  "portworxVolume",
  "projected",
  "quobyte",
  "rbd",
  "scaleIO",
  "secret",
  "storageos",
  "vsphereVolume",
];

/** Reads the policies. Throws VALIDATION_FAILED that names the place and what is wrong there. */
export function readResourcePolicies({ metadata, data }: ConfigMap): ResourcePolicies {
  const entries = Object.entries(data ?? {});
  const [entry] = entries;
  if (entry === undefined || entries.length > 1)
    throw invalid(metadata.name ?? "", "", `it has ${entries.length} entries, where one with the policies is wanted`);
  return new PolicyReader(metadata.name ?? "").read(entry[1]);
}

function invalid(configMap: string, path: string, what: string): DrayError {
  return new DrayError("VALIDATION_FAILED", `Cannot use resource policies of ConfigMap "${configMap}": ${path === "" ? "" : `${path} `}${what}`);
}

type Mapping = Readonly<Record<string, unknown>>;

/** Decodes one document; every step knows its path. */
class PolicyReader {
  readonly #configMap: string;

  constructor(configMap: string) {
    this.#configMap = configMap;
  }

  read(text: string): ResourcePolicies {
    let document: unknown;
    try {
      // No aliases: a few lines of them can stand for gigabytes.
      document = parse(text, { maxAliasCount: 0, logLevel: "error" });
    } catch (error) {
      throw this.#wrong("", `it is not YAML: ${error instanceof Error ? (error.message.split("\n")[0] ?? "") : String(error)}`);
    }
    const root = this.#mapping(document, "", ["version", "volumePolicies", "includeExcludePolicy"]);
    if (root["version"] !== VERSION) throw this.#wrong("version", `is ${JSON.stringify(root["version"] ?? null)}, only "${VERSION}" is known`);
    return {
      volumePolicies: this.#list(root["volumePolicies"], "volumePolicies").map((policy, index) => this.#volumePolicy(policy, `volumePolicies[${index}]`)),
      includeExclude: isNothing(root["includeExcludePolicy"]) ? undefined : this.#includeExclude(root["includeExcludePolicy"]),
    };
  }

  #wrong(path: string, what: string): DrayError {
    return invalid(this.#configMap, path, what);
  }

  #volumePolicy(value: unknown, path: string): VolumePolicy {
    const policy = this.#mapping(value, path, ["conditions", "action"]);
    const action = this.#mapping(policy["action"], `${path}.action`, ["type", "parameters"]);
    const type = ACTIONS.find((known) => known === action["type"]);
    if (type === undefined) throw this.#wrong(`${path}.action.type`, `is ${JSON.stringify(action["type"] ?? null)}, one of ${ACTIONS.join(", ")} is wanted`);
    const parameters = isNothing(action["parameters"]) ? {} : this.#mapping(action["parameters"], `${path}.action.parameters`);
    return { conditions: this.#conditions(policy["conditions"], `${path}.conditions`), action: { type, parameters } };
  }

  #conditions(value: unknown, path: string): VolumeConditions {
    const found = isNothing(value) ? {} : this.#mapping(value, path, ["capacity", "storageClass", "nfs", "csi", "volumeTypes", "pvcLabels", "pvcPhase"]);
    const given = <K extends keyof VolumeConditions>(key: K, read: (value: unknown, path: string) => VolumeConditions[K]): Partial<VolumeConditions> =>
      isNothing(found[key]) ? {} : { [key]: read(found[key], `${path}.${key}`) };
    return {
      ...given("capacity", (text, at) => this.#capacity(text, at)),
      ...given("storageClass", (list, at) => this.#texts(list, at)),
      ...given("nfs", (nfs, at) => this.#nfs(nfs, at)),
      ...given("csi", (csi, at) => this.#csi(csi, at)),
      ...given("volumeTypes", (list, at) => this.#volumeTypes(list, at)),
      ...given("pvcLabels", (map, at) => this.#textMap(map, at)),
      ...given("pvcPhase", (list, at) => this.#texts(list, at)),
    };
  }

  /** `least,most`; either may be left out, and 0 stands for open. */
  #capacity(value: unknown, path: string): NonNullable<VolumeConditions["capacity"]> {
    const text = this.#text(value, path);
    const parts = text.split(",").map((part) => part.trim());
    if (parts.length !== 2) throw this.#wrong(path, `is "${text}", where "least,most" is wanted, as "1Gi,10Gi" or ",10Gi"`);
    const [least, most] = parts.map((part) => {
      if (part === "") return undefined;
      const quantity = parseQuantity(part);
      if (quantity === undefined || quantity.nanos < 0n) throw this.#wrong(path, `has "${part}", where an amount such as 10Gi is wanted`);
      return quantity.nanos === 0n ? undefined : quantity.nanos;
    });
    if (least !== undefined && most !== undefined && least > most) throw this.#wrong(path, `is "${text}": its least is more than its most`);
    return { least, most };
  }

  #nfs(value: unknown, path: string): NonNullable<VolumeConditions["nfs"]> {
    const nfs = this.#mapping(value, path, ["server", "path"]);
    const text = (key: string): string => (isNothing(nfs[key]) ? "" : this.#text(nfs[key], `${path}.${key}`));
    return { server: text("server"), path: text("path") };
  }

  #csi(value: unknown, path: string): NonNullable<VolumeConditions["csi"]> {
    const csi = this.#mapping(value, path, ["driver", "volumeAttributes"]);
    const driver = isNothing(csi["driver"]) ? "" : this.#text(csi["driver"], `${path}.driver`);
    const volumeAttributes = isNothing(csi["volumeAttributes"]) ? {} : this.#textMap(csi["volumeAttributes"], `${path}.volumeAttributes`);
    if (driver === "" && Object.keys(volumeAttributes).length > 0) throw this.#wrong(path, "has volumeAttributes and no driver, which must be named with them");
    return { driver, volumeAttributes };
  }

  #volumeTypes(value: unknown, path: string): readonly string[] {
    const types = this.#texts(value, path);
    for (const type of types) if (!VOLUME_TYPES.includes(type)) throw this.#wrong(path, `has "${type}", one of ${VOLUME_TYPES.join(", ")} is wanted`);
    return types;
  }

  #includeExclude(value: unknown): IncludeExcludePolicy {
    const keys = [
      "includedClusterScopedResources",
      "excludedClusterScopedResources",
      "includedNamespaceScopedResources",
      "excludedNamespaceScopedResources",
    ] as const;
    const path = "includeExcludePolicy";
    const found = this.#mapping(value, path, keys);
    const texts = (key: (typeof keys)[number]): readonly string[] => (isNothing(found[key]) ? [] : this.#texts(found[key], `${path}.${key}`));
    for (const key of keys) if (texts(key).includes("*")) throw this.#wrong(`${path}.${key}`, 'has "*", which a policy cannot have');
    const policy = {
      [keys[0]]: texts(keys[0]),
      [keys[1]]: texts(keys[1]),
      [keys[2]]: texts(keys[2]),
      [keys[3]]: texts(keys[3]),
    } as unknown as IncludeExcludePolicy;
    for (const [included, excluded] of [
      [policy.includedClusterScopedResources, policy.excludedClusterScopedResources],
      [policy.includedNamespaceScopedResources, policy.excludedNamespaceScopedResources],
    ] as const)
      for (const name of excluded) if (included.includes(name)) throw this.#wrong(path, `includes and excludes "${name}"`);
    return policy;
  }

  #mapping(value: unknown, path: string, keys?: readonly string[]): Mapping {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.#wrong(path, `${path === "" ? "it " : ""}is no mapping`);
    for (const key of Object.keys(value))
      if (keys !== undefined && !keys.includes(key)) throw this.#wrong(path === "" ? key : `${path}.${key}`, `is not known; there is ${keys.join(", ")}`);
    return value as Mapping;
  }

  #list(value: unknown, path: string): readonly unknown[] {
    if (isNothing(value)) return [];
    if (!Array.isArray(value)) throw this.#wrong(path, "is no list");
    return value as readonly unknown[];
  }

  #text(value: unknown, path: string): string {
    if (typeof value !== "string") throw this.#wrong(path, `is ${JSON.stringify(value)}, where a text is wanted`);
    return value;
  }

  #texts(value: unknown, path: string): readonly string[] {
    return this.#list(value, path).map((item, index) => this.#text(item, `${path}[${index}]`));
  }

  #textMap(value: unknown, path: string): Readonly<Record<string, string>> {
    return Object.fromEntries(Object.entries(this.#mapping(value, path)).map(([key, item]) => [key, this.#text(item, `${path}.${key}`)]));
  }
}

function isNothing(value: unknown): boolean {
  return value === undefined || value === null;
}
