/** Where the kubelet keeps a pod's volume on its node: `<kubelet>/pods/<pod uid>/volumes/<plug-in>/<volume>`. Source of the names: the kubelet's volume plug-ins. */
import { DrayError } from "@drayage/base";
import { type KubeClient, type PersistentVolume, type Pod, type Volume as PodVolume, persistentVolumeClaims, persistentVolumes } from "@drayage/kube";

export const KUBELET_ROOT = "/var/lib/kubelet";

/** Plug-ins of volume sources, as far as their volumes lie below the pod's folder. */
const PLUGINS: Readonly<Record<string, string>> = {
  emptyDir: "kubernetes.io~empty-dir",
  nfs: "kubernetes.io~nfs",
  cephfs: "kubernetes.io~cephfs",
  fc: "kubernetes.io~fc",
  iscsi: "kubernetes.io~iscsi",
  local: "kubernetes.io~local-volume",
  portworxVolume: "kubernetes.io~portworx-volume",
  rbd: "kubernetes.io~rbd",
};
const CSI = "kubernetes.io~csi";
/** Sources of old releases whose volumes a CSI driver serves today, by the same folder as its own. */
const MIGRATED = ["awsElasticBlockStore", "azureDisk", "azureFile", "cinder", "gcePersistentDisk", "vsphereVolume"];

/** Throws NOT_SUPPORTED for a volume that has no folder to be read, KUBE_NOT_FOUND when its claim or its volume is gone. */
export async function podVolumePath(client: KubeClient, kubeletRoot: string, pod: Pod, volumeName: string): Promise<string> {
  const name = `${pod.metadata.namespace}/${pod.metadata.name}`;
  const volume = pod.spec.volumes?.find((candidate) => candidate.name === volumeName);
  if (volume === undefined) throw new DrayError("KUBE_NOT_FOUND", `Cannot find volume "${volumeName}" of pod "${name}"`);
  const claimName = claimNameOf(pod, volume);
  const bound = claimName === undefined ? undefined : await boundVolume(client, pod.metadata.namespace ?? "", claimName);
  const folder =
    bound === undefined
      ? folderOf(volume as unknown as Record<string, unknown>, volume.name)
      : folderOf(bound.spec as unknown as Record<string, unknown>, bound.metadata.name ?? "");
  if (folder === undefined) {
    throw new DrayError(
      "NOT_SUPPORTED",
      `Cannot read volume "${volumeName}" of pod "${name}" through the file system of its node: volumes of its type have no folder there`,
    );
  }
  return `${kubeletRoot}/pods/${pod.metadata.uid}/volumes/${folder}`;
}

/** The claim behind a pod's volume, also that of a generic ephemeral one. */
export function claimNameOf(pod: Pod, volume: PodVolume): string | undefined {
  if (volume.persistentVolumeClaim !== undefined) return volume.persistentVolumeClaim.claimName;
  return (volume as { readonly ephemeral?: object }).ephemeral === undefined ? undefined : `${pod.metadata.name}-${volume.name}`;
}

async function boundVolume(client: KubeClient, namespace: string, claimName: string): Promise<PersistentVolume> {
  const claim = await client.get(persistentVolumeClaims, { namespace, name: claimName });
  const name = claim.spec.volumeName ?? "";
  if (name === "") throw new DrayError("KUBE_NOT_FOUND", `Cannot read claim "${namespace}/${claimName}": it is not bound to a volume`);
  if (claim.spec.volumeMode === "Block") {
    throw new DrayError("NOT_SUPPORTED", `Cannot read claim "${namespace}/${claimName}" through the file system of its node: it is a block volume`, {
      hint: "Back it up from a snapshot.",
    });
  }
  return client.get(persistentVolumes, { name });
}

function folderOf(source: Readonly<Record<string, unknown>>, name: string): string | undefined {
  if (source["csi"] !== undefined || MIGRATED.some((key) => source[key] !== undefined)) return `${CSI}/${name}/mount`;
  const plugin = Object.keys(PLUGINS).find((key) => source[key] !== undefined);
  return plugin === undefined ? undefined : `${PLUGINS[plugin]}/${name}`;
}
