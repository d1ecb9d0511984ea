/**
 * What a VolumeSnapshotBackup needs before VolSync can move its data, looked at in this order; each thing is made when the one before it is fit for use.
 *
 *   source VSC ─ handle ─► VSC <vsc>-clone ─► VS <vsc>-clone-volumesnapshot ─► PVC <vsc>-pvc ─► pod <vsb>-pod
 *   (the application's)    Secret <vsb>-secret ──────────────────────────────────────────┴────► ReplicationSource <vsb>-rep-src
 *
 * Names are OADP's. The copy of the content keeps the snapshot when it goes: it belongs to the application's VolumeSnapshot, and so to the backup.
 */
import {
  type ReplicationSource,
  replicationSources,
  type VolumeSnapshot,
  type VolumeSnapshotBackup,
  type VolumeSnapshotContent,
  VSM_LABELS,
  VSM_OWNER_ANNOTATIONS,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { bytesQuantity, compareQuantities, type PersistentVolumeClaim, type Pod, persistentVolumeClaims, pods, secrets, storageClasses } from "@drayage/kube";
import { claimsOfPod } from "../actions/pod-backup-action.ts";
import { done, failed, type Work, wait } from "../data-movement/work.ts";
import { unrecoverableReason } from "../exposers/hosting-pod.ts";
import { type ChildDeps, claimRemoved, ensured, type Parent, removed } from "../volsync-era/children.ts";
import { type ClassOptions, moverAccount, readClassOptions } from "../volsync-era/class-options.ts";
import { ensureLocationSecret, volumeSecretData } from "../volsync-era/location-secret.ts";
import type { ResticEnvironment } from "../volsync-era/settings.ts";
import { buildClaim, buildContent, buildPod, buildSecret, buildSnapshot, buildSource } from "./build-children.ts";
import { factsOf, locationOf } from "./volume-facts.ts";

export interface PrepareDeps extends ChildDeps {
  readonly environment: ResticEnvironment;
  /** The pod that has the volume bound. */
  readonly holder: { readonly image: string; readonly command: readonly string[] };
}

/** Names of all that is made for one; those in the namespace are in the protected one. */
export function childNames({ metadata, spec }: VolumeSnapshotBackup): Readonly<Record<"content" | "snapshot" | "claim" | "pod" | "secret" | "source", string>> {
  const content = spec.volumeSnapshotContent?.name ?? "";
  const name = metadata.name ?? "";
  return {
    content: `${content}-clone`,
    snapshot: `${content}-clone-volumesnapshot`,
    claim: `${content}-pvc`,
    pod: `${name}-pod`,
    secret: `${name}-secret`,
    source: `${name}-rep-src`,
  };
}

export function parentOf(owner: VolumeSnapshotBackup): Parent {
  return { owner, annotation: VSM_OWNER_ANNOTATIONS.volumeSnapshotBackup, label: VSM_LABELS.volumeSnapshotBackup };
}

/** Throws where the location's Secret cannot be made whole (`ensureLocationSecret`). */
export async function prepare(deps: PrepareDeps, backup: VolumeSnapshotBackup): Promise<Work> {
  const { client, namespace } = deps;
  const facts = factsOf(backup);
  if (facts === undefined) return wait("what it is of to be written down");
  const names = childNames(backup);
  const parent = parentOf(backup);
  const at = (name: string) => ({ namespace, name });
  const options = await readClassOptions(client, namespace, facts.storageClass, "Source");
  const classFault = await missingClass(deps, facts.storageClass, options);
  if (classFault !== undefined) return failed(classFault);

  const original = await client.find(volumeSnapshotContents, { name: backup.spec.volumeSnapshotContent?.name ?? "" });
  const content = await client.find<VolumeSnapshotContent>(volumeSnapshotContents, { name: names.content });
  if (content === undefined && original?.status?.readyToUse !== true) {
    if (original === undefined) return failed(`volume snapshot content "${backup.spec.volumeSnapshotContent?.name}" is not there`);
    return wait(`volume snapshot content "${original.metadata.name}" to be ready${complaintOf(original)}`);
  }
  const contentWork = await ensured(deps, parent, {
    type: volumeSnapshotContents,
    key: { name: names.content },
    found: content,
    build: () => buildContent(parent, names, namespace, original as VolumeSnapshotContent),
  });
  if (contentWork !== undefined) return contentWork;
  if (content?.status?.readyToUse !== true) return wait(`volume snapshot content "${names.content}" to be ready${complaintOf(content)}`);

  const snapshot = await client.find<VolumeSnapshot>(volumeSnapshots, at(names.snapshot));
  const snapshotWork = await ensured(deps, parent, {
    type: volumeSnapshots,
    key: at(names.snapshot),
    found: snapshot,
    build: () => buildSnapshot(parent, names, namespace, facts.snapshotClass),
  });
  if (snapshotWork !== undefined) return snapshotWork;
  if (snapshot?.status?.readyToUse !== true) return wait(`volume snapshot "${namespace}/${names.snapshot}" to be ready`);

  const claim = await client.find<PersistentVolumeClaim>(persistentVolumeClaims, at(names.claim));
  const claimWork = await ensured(deps, parent, {
    type: persistentVolumeClaims,
    key: at(names.claim),
    found: claim,
    build: async () =>
      buildClaim(parent, names, namespace, { facts, options, accessModes: await accessModes(deps, backup), size: largest(facts.claimSize, content) }),
  });
  if (claimWork !== undefined) return claimWork;

  const pod = await client.find(pods, at(names.pod));
  const podWork = await ensured(deps, parent, { type: pods, key: at(names.pod), found: pod, build: () => buildPod(parent, names, namespace, deps.holder) });
  if (podWork !== undefined) return podWork;
  const hindrance = pod === undefined ? undefined : unrecoverableReason(pod);
  if (hindrance !== undefined) return failed(hindrance);

  const secret = await client.find(secrets, at(names.secret));
  const secretWork = await ensured(deps, parent, {
    type: secrets,
    key: at(names.secret),
    found: secret,
    build: async () => buildSecret(parent, names, namespace, volumeSecretData(await ensureLocationSecret(deps, locationOf(backup)), facts.repository)),
  });
  if (secretWork !== undefined) return secretWork;
  if (claim?.status?.phase !== "Bound") return wait(`claim "${namespace}/${names.claim}" to be bound`);

  const source = await client.find<ReplicationSource>(replicationSources, at(names.source));
  return (
    (await ensured(deps, parent, {
      type: replicationSources,
      key: at(names.source),
      found: source,
      build: async () =>
        buildSource(parent, names, namespace, {
          facts,
          options,
          claim,
          location: await ensureLocationSecret(deps, locationOf(backup)),
          account: await moverAccount(client, namespace, options),
          securityContext: options.moverSecurityContext === "true" ? await securityContextOf(deps, backup, facts.claimName) : undefined,
        }),
    })) ?? done
  );
}

/** From the ReplicationSource back to the copy of the content: a volume stays while its mover's pod has it, a snapshot while a volume is made from it. */
export async function cleanUp(deps: ChildDeps, backup: VolumeSnapshotBackup): Promise<Work> {
  const { namespace } = deps;
  const names = childNames(backup);
  const parent = parentOf(backup);
  const at = (name: string) => ({ namespace, name });
  return (
    (await removed(deps, parent, replicationSources, at(names.source))) ??
    (await removed(deps, parent, pods, at(names.pod), true)) ??
    (await removed(deps, parent, secrets, at(names.secret))) ??
    (await claimRemoved(deps, parent, at(names.claim))) ??
    (await removed(deps, parent, volumeSnapshots, at(names.snapshot))) ??
    (await removed(deps, parent, volumeSnapshotContents, { name: names.content })) ??
    done
  );
}

/** The class of the claim need not exist where the options name another one. */
async function missingClass({ client, namespace }: PrepareDeps, ofClaim: string, { storageClassName }: ClassOptions): Promise<string | undefined> {
  const name = storageClassName ?? ofClaim;
  if (name === "" || (await client.find(storageClasses, { name })) !== undefined) return undefined;
  return storageClassName === undefined
    ? `storage class "${name}" does not exist: create it, or name another one under SourceStorageClassName in ConfigMap "${namespace}/${name}-config"`
    : `storage class "${name}" does not exist: ConfigMap "${namespace}/${ofClaim}-config" names it`;
}

function complaintOf(content: VolumeSnapshotContent | undefined): string {
  const complaint = content?.status?.error?.message;
  return complaint === undefined ? "" : `: ${complaint}`;
}

/** The application's claim may be gone since. */
async function accessModes({ client }: PrepareDeps, backup: VolumeSnapshotBackup): Promise<string[]> {
  const key = { namespace: backup.metadata.namespace, name: backup.status?.sourcePVCData?.name ?? "" };
  const claim = await client.find<PersistentVolumeClaim>(persistentVolumeClaims, key);
  return claim?.spec.accessModes ?? ["ReadWriteOnce"];
}

/** Of a pod that has the claim mounted: its files may be open to nobody else. */
async function securityContextOf(
  { client }: PrepareDeps,
  { metadata }: VolumeSnapshotBackup,
  claim: string,
): Promise<Readonly<Record<string, unknown>> | undefined> {
  for await (const pod of client.listAll<Pod>(pods, { namespace: metadata.namespace }))
    if (claimsOfPod(pod).some(({ name }) => name === claim)) return pod.spec.securityContext;
  return undefined;
}

/** A volume that is smaller than its snapshot would be refused. */
function largest(size: string, { status }: VolumeSnapshotContent): string {
  const restoreSize = bytesQuantity(BigInt(status?.restoreSize ?? 0));
  return compareQuantities(restoreSize, size) > 0 ? restoreSize : size;
}
