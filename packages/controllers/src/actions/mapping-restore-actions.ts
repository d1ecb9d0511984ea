/** Storage classes, nodes and images that are called otherwise in the new cluster: mappings that users keep in ConfigMaps, as Velero's actions of these names read them. */
import { DrayError } from "@drayage/base";
import { type GenericObject, type KubeClient, nodes, type PersistentVolumeClaim, storageClasses } from "@drayage/kube";
import { PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS } from "./item-id.ts";
import { PluginConfig } from "./plugin-config.ts";
import type { RestoreAction } from "./restore-action.ts";

const STATEFUL_SETS = "statefulsets.apps";
const SELECTED_NODE = "volume.kubernetes.io/selected-node";
/** Kinds that are pods or have a template of them. */
const WITH_IMAGES = [PODS, "replicationcontrollers", "deployments.apps", STATEFUL_SETS, "daemonsets.apps", "replicasets.apps", "jobs.batch", "cronjobs.batch"];

export interface MappingActionOptions {
  readonly client: KubeClient;
  /** Of the installation, where the ConfigMaps are. */
  readonly namespace: string;
}

/** Old class → new class, which must be there. */
export function createStorageClassActions({ client, namespace }: MappingActionOptions): readonly RestoreAction[] {
  const name = "velero.io/change-storage-class";
  const config = new PluginConfig(client, namespace, name);
  const mapped = async (from: string | undefined, signal: AbortSignal): Promise<string | undefined> => {
    const to = (await config.entries(signal)).get(from ?? "");
    if (from === undefined || from === "" || to === undefined || to === from) return undefined;
    if ((await client.find(storageClasses, { name: to }, signal)) === undefined) {
      throw new DrayError("KUBE_NOT_FOUND", `storage class "${from}" is mapped to "${to}", which is not there`, {
        hint: `Create it, or change the ConfigMap of ${name} in namespace "${namespace}".`,
      });
    }
    return to;
  };
  type Classed = { storageClassName?: string };
  const change = async (spec: Classed | undefined, signal: AbortSignal): Promise<void> => {
    const to = await mapped(spec?.storageClassName, signal);
    if (spec !== undefined && to !== undefined) spec.storageClassName = to;
  };
  return [PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STATEFUL_SETS].map((groupResource) => ({
    name,
    groupResource,
    async execute(item, { signal }) {
      const object = structuredClone(item) as GenericObject & { spec?: Classed & { volumeClaimTemplates?: { spec?: Classed }[] } };
      if (groupResource === STATEFUL_SETS) for (const template of object.spec?.volumeClaimTemplates ?? []) await change(template.spec, signal);
      else await change(object.spec, signal);
      return { item: object };
    },
  }));
}

/** Old node → new node, for volumes that were made on the node of their first pod. */
export function createNodeSelectionAction({ client, namespace }: MappingActionOptions): RestoreAction {
  const config = new PluginConfig(client, namespace, "velero.io/change-pvc-node-selector");
  return {
    name: "velero.io/change-pvc-node-selector",
    groupResource: PERSISTENT_VOLUME_CLAIMS,
    async execute(item, { itemFromBackup, log, signal }) {
      const node = itemFromBackup.metadata.annotations?.[SELECTED_NODE];
      const to = node === undefined ? undefined : (await config.entries(signal)).get(node);
      if (to === undefined || to === "") return { item };
      if ((await client.find(nodes, { name: to }, signal)) === undefined) {
        log.warn(`Node "${node}" is mapped to "${to}", which is not there: the node of the claim is left open`);
        return { item };
      }
      const claim = structuredClone(item) as unknown as PersistentVolumeClaim;
      claim.metadata.annotations = { ...claim.metadata.annotations, [SELECTED_NODE]: to };
      return { item: claim as unknown as GenericObject };
    },
  };
}

interface WithContainers {
  containers?: { image?: string }[];
  initContainers?: { image?: string }[];
}

/** `old part,new part` of image names; the first that fits is taken, in the order of the keys. */
export function createImageActions({ client, namespace }: MappingActionOptions): readonly RestoreAction[] {
  const name = "velero.io/change-image-name";
  const config = new PluginConfig(client, namespace, name);
  return WITH_IMAGES.map((groupResource) => ({
    name,
    groupResource,
    async execute(item, { log, signal }) {
      const entries = [...(await config.entries(signal))].sort(([a], [b]) => (a < b ? -1 : 1));
      if (entries.length === 0) return { item };
      const rules = entries.map(([key, text]) => imageRule(key, text));
      const object = structuredClone(item) as GenericObject & {
        spec?: WithContainers & { template?: { spec?: WithContainers }; jobTemplate?: { spec?: { template?: { spec?: WithContainers } } } };
      };
      const pod = groupResource === PODS ? object.spec : (object.spec?.jobTemplate?.spec?.template?.spec ?? object.spec?.template?.spec);
      for (const container of [...(pod?.initContainers ?? []), ...(pod?.containers ?? [])]) {
        const { image } = container;
        const rule = image === undefined ? undefined : rules.find(({ from }) => image.includes(from));
        if (image === undefined || rule === undefined) continue;
        container.image = image.replaceAll(rule.from, () => rule.to);
        log.info(`Image "${image}" becomes "${container.image}"`);
      }
      return { item: object };
    },
  }));
}

function imageRule(key: string, text: string): { readonly from: string; readonly to: string } {
  const parts = text.split(",").map((part) => part.trim());
  const [from = "", to = ""] = parts;
  if (parts.length !== 2 || from === "" || to === "") {
    throw new DrayError("VALIDATION_FAILED", `Cannot map images: entry "${key}" of the ConfigMap is "${text}", where "old,new" is wanted`);
  }
  return { from, to };
}
