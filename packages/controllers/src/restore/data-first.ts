/**
 * The ordered mode of a restore, asked for by an annotation: what runs, or may make something run, is created only when every volume has its data. Until then the restore is InProgress.
 *
 *   definitions, namespaces, classes, volumes, claims, accounts, configuration ──► wait for the data ──► everything else
 *
 * Volumes that come back through the pods that mount them (PodVolumeRestores) cannot come before those; their pods hold their containers back themselves.
 */
import type { GenericObject, Pod } from "@drayage/kube";
import {
  CUSTOM_RESOURCE_DEFINITIONS,
  DATA_UPLOADS,
  NAMESPACES,
  PERSISTENT_VOLUME_CLAIMS,
  PERSISTENT_VOLUMES,
  PRIORITY_CLASSES,
  SECRETS,
  SERVICE_ACCOUNTS,
  VOLUME_SNAPSHOT_CLASSES,
  VOLUME_SNAPSHOT_CONTENTS,
  VOLUME_SNAPSHOTS,
} from "../actions/item-id.ts";
import { VOLUME_SNAPSHOT_BACKUPS } from "../actions/volume-snapshot-backup-restore-action.ts";

/** Resources that start nothing, and that volumes and their movers may need. Custom resources are not among them: there may be an operator that makes pods of them. */
const BEFORE_DATA: ReadonlySet<string> = new Set([
  CUSTOM_RESOURCE_DEFINITIONS,
  NAMESPACES,
  "storageclasses.storage.k8s.io",
  VOLUME_SNAPSHOT_BACKUPS,
  VOLUME_SNAPSHOT_CLASSES,
  VOLUME_SNAPSHOT_CONTENTS,
  VOLUME_SNAPSHOTS,
  DATA_UPLOADS,
  PERSISTENT_VOLUMES,
  PERSISTENT_VOLUME_CLAIMS,
  "clusterroles.rbac.authorization.k8s.io",
  "roles.rbac.authorization.k8s.io",
  SERVICE_ACCOUNTS,
  "clusterrolebindings.rbac.authorization.k8s.io",
  "rolebindings.rbac.authorization.k8s.io",
  SECRETS,
  "configmaps",
  "limitranges",
  "resourcequotas",
  PRIORITY_CLASSES,
]);

/** The resources of a restore, in its order, before and after the data. */
export function splitAtData(order: readonly string[]): { readonly before: readonly string[]; readonly after: readonly string[] } {
  return { before: order.filter((resource) => BEFORE_DATA.has(resource)), after: order.filter((resource) => !BEFORE_DATA.has(resource)) };
}

interface WorkloadSpec {
  readonly volumes?: Pod["spec"]["volumes"];
  readonly template?: { readonly spec?: WorkloadSpec };
  readonly jobTemplate?: { readonly spec?: WorkloadSpec };
  readonly volumeClaimTemplates?: readonly { readonly metadata?: { readonly name?: string } }[];
}

/** Which of these claims (by name, in its namespace) a workload mounts: a pod, or whatever has a template of pods where Kubernetes' own kinds have it. */
export function mountedBy(workload: GenericObject, claims: readonly string[]): readonly string[] {
  const spec = (workload as { readonly spec?: WorkloadSpec }).spec;
  const pod = spec?.jobTemplate?.spec?.template?.spec ?? spec?.template?.spec ?? spec;
  const named = new Set(Array.isArray(pod?.volumes) ? pod.volumes.map(({ persistentVolumeClaim }) => persistentVolumeClaim?.claimName) : []);
  // A StatefulSet's are called <template>-<set>-<ordinal>.
  const prefixes = (spec?.volumeClaimTemplates ?? []).map(({ metadata }) => `${metadata?.name}-${workload.metadata.name}-`);
  return claims.filter((claim) => named.has(claim) || prefixes.some((prefix) => claim.startsWith(prefix) && /^\d+$/.test(claim.slice(prefix.length))));
}
