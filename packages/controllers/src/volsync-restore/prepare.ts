/**
 * What a VolumeSnapshotRestore needs of VolSync, and what becomes of the snapshot that VolSync leaves:
 *
 *   Secret <vsr>-secret ─► ReplicationDestination <vsr>-rep-dest ─► VolumeSnapshot (VolSync's) ─► its content ─► handle, in the status
 *
 * Names are OADP's. The content is told to keep its snapshot before anything of VolSync's is deleted, and its handle is written down after that. It stays until the snapshot is in
 * other hands (`hand-over`).
 */
import {
  locationResticSecret,
  OPTION_KEYS,
  parseResticRepository,
  RESTIC_SECRET_KEYS,
  type ReplicationDestination,
  replicationDestinations,
  storageClassOptions,
  type VolumeSnapshotContent,
  type VolumeSnapshotRestore,
  VSM_LABELS,
  VSM_OWNER_ANNOTATIONS,
  VSR_ANNOTATIONS,
  volumeSnapshotClasses,
  volumeSnapshotContents,
  volumeSnapshots,
} from "@drayage/api";
import { secrets, storageClasses } from "@drayage/kube";
import { act, done, failed, type Work } from "../data-movement/work.ts";
import { removal } from "../exposers/intermediate-objects.ts";
import { type ChildDeps, childMetadata, ensured, type Parent, removed } from "../volsync-era/children.ts";
import { type ClassOptions, cacheOptions, moverAccount, readClassOptions } from "../volsync-era/class-options.ts";
import { ensureLocationSecret, type LocationSecretDeps, volumeSecretData } from "../volsync-era/location-secret.ts";
import type { Image } from "./volsync-restore.ts";

export type PrepareDeps = ChildDeps & LocationSecretDeps;

export function childNames({ metadata }: VolumeSnapshotRestore): { readonly secret: string; readonly destination: string } {
  return { secret: `${metadata.name}-secret`, destination: `${metadata.name}-rep-dest` };
}

export function parentOf(owner: VolumeSnapshotRestore): Parent {
  return { owner, annotation: VSM_OWNER_ANNOTATIONS.volumeSnapshotRestore, label: VSM_LABELS.volumeSnapshotRestore };
}

export function locationOf({ metadata, spec }: VolumeSnapshotRestore): string {
  const ending = locationResticSecret("");
  const secret = spec.resticSecretRef?.name ?? "";
  return metadata.annotations?.[VSR_ANNOTATIONS.location] ?? (secret.endsWith(ending) ? secret.slice(0, -ending.length) : "");
}

/** Throws where the location's Secret cannot be made whole (`ensureLocationSecret`). */
export async function prepare(deps: PrepareDeps, restore: VolumeSnapshotRestore): Promise<Work> {
  const { client, namespace } = deps;
  const { resticrepository = "", sourcePVCData, volumeSnapshotClassName = "" } = restore.spec.volumeSnapshotMoverBackupRef ?? {};
  const path = "spec.volumeSnapshotMoverBackupRef";
  if (resticrepository === "") return failed(`${path}.resticrepository is missing`);
  if ((sourcePVCData?.name ?? "") === "") return failed(`${path}.sourcePVCData.name is missing`);
  if ((sourcePVCData?.size ?? "") === "") return failed(`${path}.sourcePVCData.size is missing`);
  const ofClaim = sourcePVCData?.storageClassName ?? "";
  const options = await readClassOptions(client, namespace, ofClaim, "Destination");
  const fault = await missingClass(deps, ofClaim, options, volumeSnapshotClassName);
  if (fault !== undefined) return failed(fault);
  const names = childNames(restore);
  const parent = parentOf(restore);
  const at = (name: string) => ({ namespace, name });
  const location = await ensureLocationSecret(deps, locationOf(restore));
  const secretWork = await ensured(deps, parent, {
    type: secrets,
    key: at(names.secret),
    found: await client.find(secrets, at(names.secret)),
    build: () => ({
      apiVersion: "v1",
      kind: "Secret",
      metadata: childMetadata(parent, at(names.secret)),
      type: "Opaque",
      data: volumeSecretData(location, inBucketOf(location[RESTIC_SECRET_KEYS.repository] ?? "", resticrepository)),
    }),
  });
  if (secretWork !== undefined) return secretWork;
  return (
    (await ensured(deps, parent, {
      type: replicationDestinations,
      key: at(names.destination),
      found: await client.find<ReplicationDestination>(replicationDestinations, at(names.destination)),
      build: async (): Promise<ReplicationDestination> => {
        const account = await moverAccount(client, namespace, options);
        const className = options.storageClassName ?? ofClaim;
        const hasCustomCa = (location[RESTIC_SECRET_KEYS.customCa] ?? "") !== "";
        return {
          apiVersion: "volsync.backube/v1alpha1",
          kind: "ReplicationDestination",
          metadata: childMetadata(parent, at(names.destination)),
          spec: {
            trigger: { manual: `${restore.metadata.name}-trigger` },
            restic: {
              repository: names.secret,
              copyMethod: "Snapshot",
              capacity: sourcePVCData?.size ?? "",
              accessModes: [options.accessMode ?? "ReadWriteOnce"],
              ...(className === "" ? {} : { storageClassName: className }),
              ...(volumeSnapshotClassName === "" ? {} : { volumeSnapshotClassName }),
              ...cacheOptions(options),
              ...(account === undefined ? {} : { moverServiceAccount: account }),
              ...(hasCustomCa ? { customCA: { secretName: names.secret, key: RESTIC_SECRET_KEYS.customCa } } : {}),
            },
          },
        };
      },
    })) ?? done
  );
}

/** The recorded path in the location's bucket of today: the data may have been copied elsewhere, and credentials are those of the location. */
function inBucketOf(base: string, recorded: string): string {
  const path = parseResticRepository(recorded).path;
  return `${base}/${path}`;
}

async function missingClass(
  { client, namespace }: PrepareDeps,
  ofClaim: string,
  { storageClassName }: ClassOptions,
  snapshotClass: string,
): Promise<string | undefined> {
  const name = storageClassName ?? ofClaim;
  if (name !== "" && (await client.find(storageClasses, { name })) === undefined) {
    const key = `Destination${OPTION_KEYS.storageClassName}`;
    return `storage class "${name}" does not exist in this cluster: create it, or name another one under ${key} in ConfigMap "${namespace}/${storageClassOptions(ofClaim)}"`;
  }
  if (snapshotClass !== "" && (await client.find(volumeSnapshotClasses, { name: snapshotClass })) === undefined) {
    return `volume snapshot class "${snapshotClass}" does not exist in this cluster: create it, or restore without VolSync, which needs no snapshots`;
  }
  return undefined;
}

/** What VolSync says that its snapshot is, looked up. */
export async function imageOf({ client, namespace }: ChildDeps, destination: ReplicationDestination | undefined): Promise<Image> {
  const { kind, name = "" } = destination?.status?.latestImage ?? {};
  if (name === "") return { state: "pending", why: "VolSync to name its snapshot" };
  if (kind !== "VolumeSnapshot") return { state: "pending", why: `VolSync to make a snapshot, and not a ${kind}` };
  const snapshot = await client.find(volumeSnapshots, { namespace, name });
  const contentName = snapshot?.status?.boundVolumeSnapshotContentName ?? "";
  const content = contentName === "" ? undefined : await client.find<VolumeSnapshotContent>(volumeSnapshotContents, { name: contentName });
  const handle = content?.status?.snapshotHandle ?? "";
  if (content === undefined || handle === "" || content.status?.readyToUse !== true) {
    const complaint = content?.status?.error?.message ?? snapshot?.status?.error?.message;
    return { state: "pending", why: `volume snapshot "${namespace}/${name}" to be ready${complaint === undefined ? "" : `: ${complaint}`}` };
  }
  const keep = content.spec.deletionPolicy === "Retain" ? done : setPolicy(client, contentName, "Retain");
  return { state: "ready", keep, handle, content: contentName };
}

/** VolSync's snapshot first: it is found by the ReplicationDestination. One whose handle was told to nobody goes with its snapshot in the storage. */
export async function cleanUp(deps: ChildDeps, restore: VolumeSnapshotRestore, destination: ReplicationDestination | undefined): Promise<Work> {
  const { client, namespace } = deps;
  const names = childNames(restore);
  const parent = parentOf(restore);
  const isKept = (restore.status?.snapshotHandle ?? "") !== "";
  const image = destination?.status?.latestImage;
  if (image?.kind === "VolumeSnapshot") {
    const key = { namespace, name: image.name };
    const contentName = (await client.find(volumeSnapshots, key))?.status?.boundVolumeSnapshotContentName ?? "";
    const content = contentName === "" ? undefined : await client.find<VolumeSnapshotContent>(volumeSnapshotContents, { name: contentName });
    const policy = isKept ? "Retain" : "Delete";
    if (content !== undefined && content.spec.deletionPolicy !== policy) return setPolicy(client, contentName, policy);
    const work = await removal(deps, volumeSnapshots, key);
    if (work !== undefined) return work;
  }
  return (
    (await removed(deps, parent, replicationDestinations, { namespace, name: names.destination })) ??
    (await removed(deps, parent, secrets, { namespace, name: names.secret })) ??
    done
  );
}

export function setPolicy(client: ChildDeps["client"], name: string, deletionPolicy: "Retain" | "Delete"): Work {
  return act(`set volume snapshot content "${name}" to ${deletionPolicy}`, () =>
    client.patch<VolumeSnapshotContent>(volumeSnapshotContents, { name }, "merge", { spec: { deletionPolicy } }),
  );
}
