/** The objects that a provisioner writes, and the request it sends: pure functions of a claim, its class and the driver's answer. */
import { bytesQuantity, type Node, type PersistentVolume, quantityValue } from "@drayage/kube";
import type { CreateVolumeRequest, CsiVolume, Int64, Sendable, TopologyRequirement } from "@drayage/protocols/csi";
import { capabilityOf } from "../../csi-driver/index.ts";
import {
  CLASS_PARAMETER_PREFIX,
  DELETION_SECRET_NAME,
  DELETION_SECRET_NAMESPACE,
  PROVISIONED_BY,
  PROVISIONER_FINALIZER,
  PROVISIONER_IDENTITY,
} from "../names.ts";
import type { StorageDriver } from "../storage-driver.ts";
import { type ProvisionStep, volumeNameOf } from "./provision.ts";

const INT64_MAX = 2n ** 63n - 1n;

export function createVolumeRequest(step: ProvisionStep, driver: Pick<StorageDriver, "topologyKey">): Sendable<CreateVolumeRequest> {
  const { claim, storageClass, source, nodes } = step;
  const { requests, limits } = claim.spec.resources ?? {};
  const parameters = Object.entries(storageClass.parameters ?? {}).filter(([key]) => !key.startsWith(CLASS_PARAMETER_PREFIX));
  return {
    name: volumeNameOf(claim),
    capacityRange: { requiredBytes: storageBytes(requests), limitBytes: storageBytes(limits) },
    volumeCapabilities: [
      capabilityOf({
        volumeMode: claim.spec.volumeMode ?? "Filesystem",
        accessModes: claim.spec.accessModes ?? [],
        fsType: fsTypeOf(step),
        mountFlags: storageClass.mountOptions,
      }),
    ],
    // As the field's provisioner does with --extra-create-metadata: some drivers look for secrets where the claim is.
    parameters: {
      ...Object.fromEntries(parameters),
      [`${CLASS_PARAMETER_PREFIX}pvc/name`]: claim.metadata.name ?? "",
      [`${CLASS_PARAMETER_PREFIX}pvc/namespace`]: claim.metadata.namespace ?? "",
      [`${CLASS_PARAMETER_PREFIX}pv/name`]: volumeNameOf(claim),
    },
    ...(source.state === "none"
      ? {}
      : { volumeContentSource: source.kind === "snapshot" ? { snapshot: { snapshotId: source.handle } } : { volume: { volumeId: source.handle } } }),
    ...(driver.topologyKey === undefined || nodes.length === 0 ? {} : { accessibilityRequirements: topologyOf(nodes, driver.topologyKey) }),
  };
}

/** Zero when no amount is given; what does not fit into 64 bits is the most there is, as Kubernetes reads such quantities. */
function storageBytes(amounts: Readonly<Record<string, string>> | undefined): Int64 {
  const storage = amounts?.["storage"];
  const bytes = storage === undefined ? 0n : quantityValue(storage);
  return String(bytes > INT64_MAX ? INT64_MAX : bytes);
}

/** A node that has not its driver's label yet is where its name says: this driver's topology is the name of the node. */
function topologyOf(nodes: readonly Node[], topologyKey: string): Sendable<TopologyRequirement> {
  const topologies = nodes.map(({ metadata }) => ({ segments: { [topologyKey]: metadata.labels?.[topologyKey] ?? metadata.name ?? "" } }));
  return { requisite: topologies, preferred: topologies };
}

export function persistentVolumeFor(
  step: ProvisionStep,
  volume: CsiVolume,
  options: { readonly driverName: string; readonly identity: string },
): PersistentVolume {
  const { claim, storageClass } = step;
  const { namespace, name, uid, resourceVersion } = claim.metadata;
  const fsType = fsTypeOf(step);
  return {
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: {
      name: volumeNameOf(claim),
      annotations: { [PROVISIONED_BY]: options.driverName, [DELETION_SECRET_NAME]: "", [DELETION_SECRET_NAMESPACE]: "" },
      finalizers: [PROVISIONER_FINALIZER],
    },
    spec: {
      capacity: { storage: bytesQuantity(BigInt(volume.capacityBytes)) },
      accessModes: claim.spec.accessModes ?? [],
      claimRef: {
        apiVersion: "v1",
        kind: "PersistentVolumeClaim",
        ...Object.fromEntries(Object.entries({ namespace, name, uid, resourceVersion }).filter(([, value]) => value !== undefined)),
      },
      csi: {
        driver: options.driverName,
        volumeHandle: volume.volumeId,
        volumeAttributes: { ...volume.volumeContext, [PROVISIONER_IDENTITY]: options.identity },
        ...(fsType === undefined ? {} : { fsType }),
      },
      persistentVolumeReclaimPolicy: storageClass.reclaimPolicy ?? "Delete",
      storageClassName: storageClass.metadata.name ?? "",
      volumeMode: claim.spec.volumeMode ?? "Filesystem",
      ...(storageClass.mountOptions === undefined ? {} : { mountOptions: storageClass.mountOptions }),
      ...affinityOf(volume),
    },
  };
}

/** The file system that the class names; block volumes have none. */
function fsTypeOf({ claim, storageClass }: Pick<ProvisionStep, "claim" | "storageClass">): string | undefined {
  return claim.spec.volumeMode === "Block" ? undefined : storageClass.parameters?.[`${CLASS_PARAMETER_PREFIX}fstype`];
}

/** One term for each place from which the volume is reached; none when it is reached from everywhere. */
function affinityOf({ accessibleTopology }: CsiVolume): Pick<PersistentVolume["spec"], "nodeAffinity"> {
  if (accessibleTopology.length === 0) return {};
  const nodeSelectorTerms = accessibleTopology.map(({ segments }) => ({
    matchExpressions: Object.entries(segments).map(([key, value]) => ({ key, operator: "In", values: [value] })),
  }));
  return { nodeAffinity: { required: { nodeSelectorTerms } } };
}
