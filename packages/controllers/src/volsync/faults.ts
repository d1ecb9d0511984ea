/** What makes a synchronization impossible until somebody changes something: looked for before it begins and at each pass until its mover runs. Reads only. */
import { RESTIC_KEYS } from "@drayage/api";
import { configMaps, type KubeClient, persistentVolumeClaims, secrets } from "@drayage/kube";
import { copyMethodOf, formatOf, isSource, type Replication } from "./replication-kinds.ts";

/** Methods of replication, `restic` apart. */
const OTHERS = ["rsync", "rsyncTLS", "rclone", "syncthing"] as const;

/** Whether the object is of another controller by its own words: VolSync leaves these alone too. */
export function isExternal({ spec }: Replication): boolean {
  return spec.external !== undefined && spec.restic === undefined;
}

export async function faultOf(client: KubeClient, object: Replication): Promise<string | undefined> {
  return specFault(object) ?? (await secretFault(client, object)) ?? (await caFault(client, object)) ?? (await claimFault(client, object));
}

/** What the object says by itself. Pure. */
export function specFault(object: Replication): string | undefined {
  const { spec, metadata } = object;
  const methods = OTHERS.filter((name) => (spec as Record<string, unknown>)[name] !== undefined);
  if (methods.length + (spec.restic === undefined ? 0 : 1) > 1) return "only one replication method can be supplied";
  if (methods.length > 0) return `the method "${methods[0]}" is served by VolSync, which does not run in this cluster: restic is served without it`;
  if (spec.restic === undefined) return "a replication method must be specified";
  const format = formatOf(object);
  if (format === undefined)
    return `annotation "drayage.io/repository-format" is "${metadata.annotations?.["drayage.io/repository-format"]}": restic or kopia is wanted`;
  if ((spec.restic.repository ?? "") === "") return "spec.restic.repository is missing: it names the Secret of the repository";
  if (isSource(object)) {
    const { retain } = object.spec.restic ?? {};
    if (format === "kopia" && (retain?.within ?? "") !== "")
      return "spec.restic.retain.within is not kept by repositories of Kopia's format: a number of snapshots is wanted";
    if (retain?.last !== undefined && !/^\d{1,9}$/.test(retain.last)) return `spec.restic.retain.last is "${retain.last}": a number is wanted`;
    if (retain?.within !== undefined && !/^(?:\d+[ymdh])*$/.test(retain.within))
      return `spec.restic.retain.within is "${retain.within}": a time such as 3d12h is wanted`;
    return (object.spec.sourcePVC ?? "") === "" ? "spec.sourcePVC is missing" : undefined;
  }
  const { destinationPVC = "", capacity, accessModes } = object.spec.restic ?? {};
  if (copyMethodOf(object) === "Clone") return "spec.restic.copyMethod is Clone: Direct or Snapshot is wanted for a destination";
  if (destinationPVC === "" && (capacity === undefined || (accessModes ?? []).length === 0))
    return "spec.restic.capacity and spec.restic.accessModes are wanted where no destinationPVC is named";
  return undefined;
}

async function secretFault(client: KubeClient, { metadata, spec }: Replication): Promise<string | undefined> {
  const { namespace = "" } = metadata;
  const name = spec.restic?.repository ?? "";
  const secret = await client.find(secrets, { namespace, name });
  if (secret === undefined) return `secret "${namespace}/${name}" of the repository does not exist`;
  for (const key of [RESTIC_KEYS.repository, RESTIC_KEYS.password]) {
    if ((secret.data?.[key] ?? "") === "") return `secret "${namespace}/${name}" of the repository has no key "${key}"`;
  }
  return undefined;
}

async function caFault(client: KubeClient, { metadata, spec }: Replication): Promise<string | undefined> {
  const { namespace = "" } = metadata;
  const { secretName = "", configMapName = "", key = "" } = spec.restic?.customCA ?? {};
  if (secretName === "" && configMapName === "") return undefined;
  const what = secretName === "" ? `config map "${namespace}/${configMapName}"` : `secret "${namespace}/${secretName}"`;
  const found = await (secretName === "" ? client.find(configMaps, { namespace, name: configMapName }) : client.find(secrets, { namespace, name: secretName }));
  if (found === undefined) return `${what} of spec.restic.customCA does not exist`;
  return found.data?.[key] === undefined ? `${what} of spec.restic.customCA has no key "${key}"` : undefined;
}

async function claimFault(client: KubeClient, object: Replication): Promise<string | undefined> {
  const { namespace = "" } = object.metadata;
  const name = isSource(object) ? (object.spec.sourcePVC ?? "") : (object.spec.restic?.destinationPVC ?? "");
  if (name === "") return undefined;
  const claim = await client.find(persistentVolumeClaims, { namespace, name });
  if (claim === undefined) return `persistent volume claim "${namespace}/${name}" does not exist`;
  return claim.spec.volumeMode === "Block" ? `persistent volume claim "${namespace}/${name}" is of mode Block, and restic moves files` : undefined;
}
