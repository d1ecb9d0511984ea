/**
 * Volumes of Windows. Velero takes the operating system of a mover from the node of its volume, or from the file system that its class makes (velero.md 4.1, step 9), and runs an image of its
 * own there. Ours is one of Linux: what only Windows can mount is refused, with the reason, instead of waiting for half an hour for a mount that fails. Devices are read on any system.
 */
import { type Informer, type Node, type PersistentVolumeClaim, storageClasses } from "@drayage/kube";
import { failed, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";

export const SELECTED_NODE = "volume.kubernetes.io/selected-node";
const FILE_SYSTEM = "csi.storage.k8s.io/fstype";

/** What runs on a node, as its kubelet has labeled it. */
export function systemsOf(nodes: Pick<Informer<Node>, "get">): (nodeName: string) => string | undefined {
  return (name) => nodes.get({ name })?.metadata.labels?.["kubernetes.io/os"];
}

/** The refusal of a volume that is used on Windows; undefined for any other, and where nothing says so. */
export async function windowsRefusal(
  deps: ExposerDeps,
  purpose: string,
  claim: PersistentVolumeClaim | undefined,
  className: string,
): Promise<Work | undefined> {
  const why = await windowsReason(deps, claim, className);
  if (why === undefined) return undefined;
  return failed(
    `${purpose} is that of a volume of Windows: ${why}, and Drayage's movers run on Linux only. Leave the volume out by a resource policy (action "skip"), or have it moved by another data mover`,
  );
}

async function windowsReason(deps: ExposerDeps, claim: PersistentVolumeClaim | undefined, className: string): Promise<string | undefined> {
  if (claim?.spec.volumeMode === "Block") return undefined;
  const node = claim?.metadata.annotations?.[SELECTED_NODE] ?? "";
  const system = node === "" ? undefined : deps.systemOf?.(node);
  if (system !== undefined) return system === "windows" ? `node "${node}", which it was made for, runs it` : undefined;
  if (className === "") return undefined;
  const storageClass = await deps.client.find(storageClasses, { name: className });
  return storageClass?.parameters?.[FILE_SYSTEM]?.toLowerCase() === "ntfs" ? `storage class "${className}" makes file systems of type ntfs` : undefined;
}
