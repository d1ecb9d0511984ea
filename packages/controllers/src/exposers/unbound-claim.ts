/**
 * Why the claim of a mover gets no volume, in the words of its storage, and what to do about it: the pod says only that its claim is unbound, for as long as a volume may take
 * to be prepared. What the storage refuses for good is not waited for.
 */
import type { DataDownload, DataUpload } from "@drayage/api";
import { parseTime } from "@drayage/base";
import {
  type CoreEvent,
  events,
  type KubeObject,
  type PersistentVolumeClaim,
  type Pod,
  persistentVolumeClaims,
  type StorageClass,
  storageClasses,
} from "@drayage/kube";
import { failed, type Work, wait } from "../data-movement/work.ts";
import { steadyAgeMs } from "../steady-age.ts";
import type { ExposerDeps } from "./exposer-deps.ts";

/** As the provisioner writes what a driver answered. */
const REFUSAL = /rpc error: code = (\w+) desc = (.*)$/s;
/** The request itself is wrong: the same one is answered the same again. */
const FINAL: ReadonlySet<string> = new Set(["InvalidArgument", "OutOfRange", "Unimplemented"]);
/** One answer may be that of a moment: of a provisioner that saw the claim before what it refers to. */
const ANSWERS_MIN = 2;
/** Most claims have their volume by then, and nobody needs to be asked. */
const LOOK_AFTER_MS = 5_000;

/** A movement whose claim waits, for messages. */
export interface Waiting {
  /** Of the claim. */
  readonly name: string;
  /** `the backup of "shop/files"`. */
  readonly purpose: string;
  readonly remedy: (claim: PersistentVolumeClaim, storageClass: StorageClass | undefined) => string | undefined;
}

/** What is known of the claim of a mover's pod that has no volume; undefined when it has one, is young, or nobody has complained. */
export async function unboundReason(deps: ExposerDeps, pod: Pod, { name, purpose, remedy }: Waiting): Promise<Work | undefined> {
  const { client, clock, namespace } = deps;
  const isYoung = ({ metadata }: KubeObject): boolean => steadyAgeMs(clock, `claim for ${metadata.uid}`) < LOOK_AFTER_MS;
  // A scheduler gives no node to a pod whose claim has no volume.
  if (pod.spec.nodeName !== undefined || isYoung(pod)) return undefined;
  const claim = await client.find(persistentVolumeClaims, { namespace, name });
  if (claim === undefined || (claim.spec.volumeName ?? "") !== "") return undefined;
  if (isYoung(claim)) return undefined;
  const complaint = await lastComplaint(deps, claim);
  if (complaint === undefined) return undefined;
  const className = claim.spec.storageClassName ?? "";
  const [, code = "", answer] = REFUSAL.exec(complaint.message ?? "") ?? [];
  const told = `storage class "${className}" gives no volume for ${purpose}: ${(answer ?? complaint.message ?? "").replace(/\.$/, "")}`;
  const hint = remedy(claim, await client.find(storageClasses, { name: className }));
  const text = hint === undefined ? told : `${told}. ${hint}`;
  return FINAL.has(code) && (complaint.count ?? 1) >= ANSWERS_MIN ? failed(text) : wait(`a volume: ${text}`);
}

/** That of a backup. */
export function waitingUpload(upload: DataUpload, { config }: ExposerDeps): Waiting {
  const { sourceNamespace, sourcePVC, csiSnapshot } = upload.spec;
  const sourceClass = csiSnapshot?.storageClass ?? "";
  const entry = `backupPVC["${sourceClass}"] of the node-agent's ConfigMap`;
  return {
    name: upload.metadata.name ?? "",
    purpose: `the backup of "${sourceNamespace}/${sourcePVC}"`,
    // From what the claim and its class are; the answers of drivers differ from storage to storage.
    remedy: (claim, storageClass) => {
      if (storageClass === undefined) return `Name a storage class that is there in ${entry}.`;
      const { parameters = {}, provisioner } = storageClass;
      const isReadOnly = claim.spec.accessModes?.includes("ReadOnlyMany") === true;
      if (parameters["encrypted"] === "true" && config.backupPVC?.[sourceClass]?.secretNames === undefined)
        return `Its volumes are encrypted: name what it looks for where the claim is in secretNames and configMapNames of ${entry}.`;
      if (parameters["backingSnapshot"] === "true" && !isReadOnly) return `The class shows snapshots, which are only read: set readOnly in ${entry}.`;
      if (provisioner.endsWith("cephfs.csi.ceph.com") && !isReadOnly)
        return `CephFS copies a snapshot in full unless it is only read: set readOnly in ${entry} to have it shown in place.`;
      if (isReadOnly) return `Not every storage has volumes that are only read, and Ceph RBD has none with a file system: take readOnly out of ${entry}.`;
      return undefined;
    },
  };
}

/** That of a restore. */
export function waitingDownload(download: DataDownload, { config }: ExposerDeps): Waiting {
  const { namespace, pvc } = download.spec.targetVolume;
  return {
    name: download.metadata.name ?? "",
    purpose: `the restore of "${namespace}/${pvc}"`,
    remedy: (_claim, storageClass) => {
      if (storageClass === undefined) return "Create it, or restore to another one, by a mapping of storage classes.";
      if (storageClass.parameters?.["encrypted"] === "true" && config.restorePVC?.secretNames === undefined)
        return "Its volumes are encrypted: name what it looks for where the claim is in secretNames and configMapNames of restorePVC of the node-agent's ConfigMap.";
      if (storageClass.parameters?.["backingSnapshot"] === "true")
        return "The class is for backups alone: restore to another one, by a mapping of storage classes.";
      return undefined;
    },
  };
}

async function lastComplaint({ client, namespace }: ExposerDeps, claim: PersistentVolumeClaim): Promise<CoreEvent | undefined> {
  const about: CoreEvent[] = [];
  const fieldSelector = `involvedObject.kind=PersistentVolumeClaim,involvedObject.name=${claim.metadata.name}`;
  for await (const event of client.listAll(events, { namespace, fieldSelector })) {
    if (event.type === "Warning" && event.reason === "ProvisioningFailed" && event.involvedObject.uid === claim.metadata.uid) about.push(event);
  }
  const timeOf = ({ lastTimestamp, metadata }: CoreEvent): number => parseTime(lastTimestamp ?? metadata.creationTimestamp) ?? 0;
  return about.toSorted((a, b) => timeOf(b) - timeOf(a))[0];
}
