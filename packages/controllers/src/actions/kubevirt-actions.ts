/**
 * Virtual machines of KubeVirt, as its own plug-in for Velero treats them: a machine brings along everything that it needs to start again, disks that are filled already are not
 * filled once more, and what the machine makes by itself is left out. The file systems of a running machine are frozen by the hooks that KubeVirt notes on its launcher pod.
 * Names, annotations and labels: kubevirt-velero-plugin.
 */
import { type GenericObject, type KubeClient, pods } from "@drayage/kube";
import type { BackupAction } from "./backup-action.ts";
import { type ItemId, PERSISTENT_VOLUME_CLAIMS, PODS, SECRETS, SERVICE_ACCOUNTS } from "./item-id.ts";
import type { RestoreAction } from "./restore-action.ts";

const VIRTUAL_MACHINES = "virtualmachines.kubevirt.io";
const INSTANCES = "virtualmachineinstances.kubevirt.io";
const DATA_VOLUMES = "datavolumes.cdi.kubevirt.io";
const DATA_SOURCES = "datasources.cdi.kubevirt.io";
const NETWORK_ATTACHMENTS = "network-attachment-definitions.k8s.cni.cncf.io";
const VOLUME_SNAPSHOTS = "volumesnapshots.snapshot.storage.k8s.io";
const CONTROLLER_REVISIONS = "controllerrevisions.apps";
/** On a DataVolume: its claim holds the data already. On the claim: for which DataVolume. */
const PRE_POPULATED = "cdi.kubevirt.io/storage.prePopulated";
const POPULATED_FOR = "cdi.kubevirt.io/storage.populatedFor";
/** On a claim inside a backup whose DataVolume was not filled yet: it is filled anew. */
const IN_PROGRESS = "kvp.kubevirt.io/storage.inprogress";
/** On a Restore: what a machine is to do when it is back. */
const RESTORE_LABELS = {
  runStrategy: "velero.kubevirt.io/restore-run-strategy",
  clearMac: "velero.kubevirt.io/clear-mac-address",
  newFirmware: "velero.kubevirt.io/generate-new-firmware-uuid",
} as const;
/** On an instance: which node and pod it ran on. */
const RESTRICTED_LABELS = [
  "kubevirt.io/nodeName",
  "kubevirt.io/created-by",
  "kubevirt.io/migrationJobUID",
  "kubevirt.io/migrationTargetNodeName",
  "kubevirt.io/nodeRole",
];

interface VolumeOfMachine {
  dataVolume?: { name?: string };
  persistentVolumeClaim?: { claimName?: string };
  memoryDump?: { claimName?: string };
  configMap?: { name?: string };
  secret?: { secretName?: string };
  serviceAccount?: { serviceAccountName?: string };
  cloudInitNoCloud?: CloudInit;
  cloudInitConfigDrive?: CloudInit;
  sysprep?: { configMap?: { name?: string }; secret?: { name?: string } };
}

interface CloudInit {
  secretRef?: { name?: string };
  networkDataSecretRef?: { name?: string };
}

interface InstanceSpec {
  networks?: { multus?: { networkName?: string } }[];
  volumes?: VolumeOfMachine[];
  accessCredentials?: { sshPublicKey?: Credential; userPassword?: Credential }[];
  domain?: { devices?: { interfaces?: { macAddress?: string }[] }; firmware?: { uuid?: string; serial?: string } };
}

interface Credential {
  source?: { secret?: { secretName?: string } };
}

interface Revisioned {
  kind?: string;
  name?: string;
  revisionName?: string;
}

interface VirtualMachine extends GenericObject {
  spec?: {
    dataVolumeTemplates?: { metadata?: { name?: string } }[];
    template?: { spec?: InstanceSpec };
    instancetype?: Revisioned;
    preference?: Revisioned;
    running?: boolean;
    runStrategy?: string;
  };
  status?: { created?: boolean };
}

interface Instance extends GenericObject {
  spec?: InstanceSpec;
}

/** Everything in the machine's namespace that its volumes and credentials name; a disk by its DataVolume and its claim, of which either may be gone. */
export function relatedItems(namespace: string, spec: InstanceSpec | undefined): ItemId[] {
  const found = new Map<string, ItemId>();
  const add = (groupResource: string, name: string | undefined): void => {
    if (name !== undefined && name !== "") found.set(`${groupResource} ${name}`, { groupResource, namespace, name });
  };
  for (const volume of spec?.volumes ?? []) {
    add(DATA_VOLUMES, volume.dataVolume?.name);
    add(PERSISTENT_VOLUME_CLAIMS, volume.dataVolume?.name);
    add(PERSISTENT_VOLUME_CLAIMS, volume.persistentVolumeClaim?.claimName);
    add(PERSISTENT_VOLUME_CLAIMS, volume.memoryDump?.claimName);
    add("configmaps", volume.configMap?.name);
    add("configmaps", volume.sysprep?.configMap?.name);
    add(SECRETS, volume.secret?.secretName);
    add(SECRETS, volume.sysprep?.secret?.name);
    add(SERVICE_ACCOUNTS, volume.serviceAccount?.serviceAccountName);
    for (const cloudInit of [volume.cloudInitNoCloud, volume.cloudInitConfigDrive]) {
      add(SECRETS, cloudInit?.secretRef?.name);
      add(SECRETS, cloudInit?.networkDataSecretRef?.name);
    }
  }
  for (const { sshPublicKey, userPassword } of spec?.accessCredentials ?? [])
    for (const credential of [sshPublicKey, userPassword]) add(SECRETS, credential?.source?.secret?.secretName);
  return [...found.values()];
}

function itemsOfMachine(machine: VirtualMachine): ItemId[] {
  const { namespace = "" } = machine.metadata;
  const { spec } = machine;
  const typed = ({ kind = "", name = "" }: Revisioned, word: string): ItemId[] =>
    name === "" || kind.toLowerCase().startsWith("virtualmachinecluster")
      ? []
      : [{ groupResource: `virtualmachine${word}s.instancetype.kubevirt.io`, namespace, name }];
  const revisions = [spec?.instancetype, spec?.preference].flatMap((entry): ItemId[] =>
    (entry?.revisionName ?? "") === "" ? [] : [{ groupResource: CONTROLLER_REVISIONS, namespace, name: entry?.revisionName ?? "" }],
  );
  const templates = (spec?.dataVolumeTemplates ?? []).flatMap(({ metadata }): ItemId[] =>
    metadata?.name === undefined
      ? []
      : [DATA_VOLUMES, PERSISTENT_VOLUME_CLAIMS].map((groupResource) => ({ groupResource, namespace, name: metadata.name ?? "" })),
  );
  return [
    ...typed(spec?.instancetype ?? {}, "instancetype"),
    ...typed(spec?.preference ?? {}, "preference"),
    ...revisions,
    ...templates,
    ...relatedItems(namespace, spec?.template?.spec),
  ];
}

export function createKubeVirtBackupActions(client: KubeClient): BackupAction[] {
  /** The pods in which an instance runs: KubeVirt labels them with its UID. */
  const launchers = async (instance: GenericObject, signal: AbortSignal): Promise<ItemId[]> => {
    const { namespace = "", uid = "" } = instance.metadata;
    const labelSelector = `kubevirt.io=virt-launcher,kubevirt.io/created-by=${uid}`;
    const { items } = await client.list(pods, { namespace, labelSelector, signal });
    return items.map(({ metadata }) => ({ groupResource: PODS, namespace, name: metadata.name ?? "" }));
  };
  return [
    {
      name: "kubevirt-velero-plugin/backup-virtualmachine-action",
      groupResource: VIRTUAL_MACHINES,
      async execute(item) {
        const machine = item as VirtualMachine;
        const { namespace, name = "" } = machine.metadata;
        const instance: ItemId[] = machine.status?.created === true ? [{ groupResource: INSTANCES, namespace, name }] : [];
        return { item, additionalItems: [...instance, ...itemsOfMachine(machine)] };
      },
    },
    {
      name: "kubevirt-velero-plugin/backup-virtualmachineinstance-action",
      groupResource: INSTANCES,
      async execute(item, { signal }) {
        const instance = item as Instance;
        const pods = await launchers(instance, signal);
        return { item, additionalItems: [...pods, ...relatedItems(instance.metadata.namespace ?? "", instance.spec)] };
      },
    },
    {
      name: "kubevirt-velero-plugin/backup-datavolume-action",
      groupResource: DATA_VOLUMES,
      async execute(item) {
        const { namespace, name = "" } = item.metadata;
        const isFilled = (item["status"] as { phase?: string } | undefined)?.phase === "Succeeded";
        const claim: ItemId = { groupResource: PERSISTENT_VOLUME_CLAIMS, namespace, name };
        return { item: isFilled ? annotated(item, PRE_POPULATED, name) : item, additionalItems: [claim] };
      },
    },
    {
      name: "kubevirt-velero-plugin/backup-datasource-action",
      groupResource: DATA_SOURCES,
      async execute(item) {
        return { item, additionalItems: itemsOfDataSource(item) };
      },
    },
    {
      name: "kubevirt-velero-plugin/backup-pvc-action",
      groupResource: "*",
      matches: ({ groupResource }, item) => groupResource === PERSISTENT_VOLUME_CLAIMS && dataVolumeOf(item) !== undefined,
      async execute(item) {
        const dataVolume = dataVolumeOf(item) ?? "";
        const phase = item.metadata.annotations?.["cdi.kubevirt.io/storage.pod.phase"];
        const isFilled = phase === undefined || phase === "Succeeded";
        return { item: annotated(item, isFilled ? POPULATED_FOR : IN_PROGRESS, isFilled ? dataVolume : "true") };
      },
    },
  ];
}

/** What a disk is cloned from: a claim, a snapshot, or another source, each of which may be in another namespace. */
function itemsOfDataSource(item: GenericObject): ItemId[] {
  const { source = {} } = (item["spec"] ?? {}) as { source?: Partial<Record<"pvc" | "snapshot" | "dataSource", { namespace?: string; name?: string }>> };
  const kinds = { pvc: PERSISTENT_VOLUME_CLAIMS, snapshot: VOLUME_SNAPSHOTS, dataSource: DATA_SOURCES } as const;
  return (Object.keys(kinds) as (keyof typeof kinds)[]).flatMap((kind): ItemId[] => {
    const named = source[kind];
    return (named?.name ?? "") === "" ? [] : [{ groupResource: kinds[kind], namespace: named?.namespace ?? item.metadata.namespace, name: named?.name ?? "" }];
  });
}

/** `namespace/name` in the namespace that the restore goes to; a bare name is of the machine's own. */
function movedNetwork(name: string, mapping: Readonly<Record<string, string>>): string {
  const [namespace = "", bare] = name.split("/");
  const target = bare === undefined ? undefined : mapping[namespace];
  return target === undefined ? name : `${target}/${bare}`;
}

function moveNetworks(spec: InstanceSpec | undefined, mapping: Readonly<Record<string, string>>): void {
  for (const { multus } of spec?.networks ?? []) if (multus?.networkName !== undefined) multus.networkName = movedNetwork(multus.networkName, mapping);
}

function dataVolumeOf({ metadata }: GenericObject): string | undefined {
  return metadata.ownerReferences?.find(({ kind }) => kind === "DataVolume")?.name;
}

export const kubeVirtRestoreActions: readonly RestoreAction[] = [
  {
    name: "kubevirt-velero-plugin/restore-virtualmachine-action",
    groupResource: VIRTUAL_MACHINES,
    async execute(item, { restore }) {
      const machine = structuredClone(item) as VirtualMachine;
      const labels = restore.metadata.labels ?? {};
      const strategy = labels[RESTORE_LABELS.runStrategy];
      if (machine.spec !== undefined && strategy !== undefined) {
        delete machine.spec.running;
        machine.spec.runStrategy = strategy;
      }
      moveNetworks(machine.spec?.template?.spec, restore.spec.namespaceMapping ?? {});
      const domain = machine.spec?.template?.spec?.domain;
      if (isAsked(labels, RESTORE_LABELS.clearMac)) for (const card of domain?.devices?.interfaces ?? []) delete card.macAddress;
      if (isAsked(labels, RESTORE_LABELS.newFirmware) && domain?.firmware !== undefined) {
        delete domain.firmware.uuid;
        delete domain.firmware.serial;
      }
      return { item: machine, additionalItems: itemsOfMachine(item as VirtualMachine) };
    },
  },
  {
    name: "kubevirt-velero-plugin/restore-virtualmachineinstance-action",
    groupResource: INSTANCES,
    async execute(item, { restore, itemFromBackup, log }) {
      if (itemFromBackup.metadata.ownerReferences?.some(({ kind }) => kind === "VirtualMachine") === true) {
        log.info("Not restoring it: its VirtualMachine makes it");
        return { item, skip: true };
      }
      const instance = structuredClone(item) as Instance;
      moveNetworks(instance.spec, restore.spec.namespaceMapping ?? {});
      const labels = Object.fromEntries(Object.entries(item.metadata.labels ?? {}).filter(([key]) => !RESTRICTED_LABELS.includes(key)));
      return {
        item: { ...instance, metadata: { ...instance.metadata, labels } },
        additionalItems: relatedItems(item.metadata.namespace ?? "", (item as Instance).spec),
      };
    },
  },
  {
    name: "kubevirt-velero-plugin/restore-pod-action",
    groupResource: PODS,
    async execute(item, { itemFromBackup, log }) {
      const role = itemFromBackup.metadata.labels?.["kubevirt.io"] ?? "";
      if (role !== "virt-launcher" && role !== "hotplug-disk") return { item };
      log.info("Not restoring it: its virtual machine makes it");
      return { item, skip: true };
    },
  },
  {
    name: "kubevirt-velero-plugin/restore-network-attachment-definition-action",
    groupResource: NETWORK_ATTACHMENTS,
    async execute(item, { restore }) {
      const { config = "" } = (item["spec"] ?? {}) as { config?: string };
      const changed = withMovedAttachment(config, restore.spec.namespaceMapping ?? {});
      return { item: changed === undefined ? item : { ...item, spec: { ...(item["spec"] as object), config: changed } } };
    },
  },
  {
    name: "kubevirt-velero-plugin/restore-pvc-action",
    groupResource: PERSISTENT_VOLUME_CLAIMS,
    async execute(item, { log }) {
      if (item.metadata.annotations?.[IN_PROGRESS] === undefined) return { item };
      log.info("Not restoring it: it was not filled yet, and its DataVolume fills it anew");
      return { item, skip: true };
    },
  },
];

/** A network's configuration, which is JSON, names itself by its namespace; undefined where there is nothing to change, or what is there is not read. */
function withMovedAttachment(config: string, mapping: Readonly<Record<string, string>>): string | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(config);
  } catch {
    // The network's own program says what it cannot read.
    return undefined;
  }
  if (typeof parsed !== "object" || parsed === null || Array.isArray(parsed)) return undefined;
  const { netAttachDefName } = parsed as { netAttachDefName?: unknown };
  if (typeof netAttachDefName !== "string") return undefined;
  const moved = movedNetwork(netAttachDefName, mapping);
  return moved === netAttachDefName ? undefined : JSON.stringify({ ...parsed, netAttachDefName: moved });
}

function isAsked(labels: Readonly<Record<string, string>>, label: string): boolean {
  return labels[label] !== undefined && labels[label] !== "false";
}

function annotated(item: GenericObject, key: string, value: string): GenericObject {
  return { ...item, metadata: { ...item.metadata, annotations: { ...item.metadata.annotations, [key]: value } } };
}
