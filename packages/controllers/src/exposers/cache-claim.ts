/** The volume in which a restore keeps what it has read of its repository (velero.md 4.2, step 2), where the node-agent ConfigMap asks for one. */
import type { BackupRepository } from "@drayage/api";
import { bytesQuantity, controllerReference, type KubeObject, type PersistentVolumeClaim, persistentVolumeClaims, type ResourceType } from "@drayage/kube";
import { epochAnnotations } from "../data-movement/movement.ts";
import { act, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { cacheNameOf, notOurs } from "./intermediate-objects.ts";

/** Where a mover pod has it. */
export const CACHE_PATH = "/cachedir";

const MIB = 1 << 20;
const GIB = 1 << 30;
/** Velero's, where the repository says nothing. */
const DEFAULT_LIMIT_MIB = 5000;

/** A restore that may get one. */
export interface CachedRestore<T extends KubeObject> {
  readonly type: ResourceType<T>;
  readonly movement: T;
  /** What the claim has to say of the node that its pod is bound to. */
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Whether a restore gets one: small snapshots do without. `snapshotSize` in bytes; nobody may have said. */
export function wantsCache({ config: { cachePVC } }: ExposerDeps, snapshotSize = 0): boolean {
  return cachePVC !== undefined && (snapshotSize === 0 || snapshotSize >= (cachePVC.residentThresholdInMB ?? 0) * MIB);
}

/** Makes the claim; undefined once it is there. It is bound with the mover's pod. */
export async function cacheClaim<T extends KubeObject>(
  { client, namespace, config }: ExposerDeps,
  { type, movement, annotations: given }: CachedRestore<T>,
  repository: Pick<BackupRepository, "spec">,
): Promise<Work | undefined> {
  const name = cacheNameOf(movement);
  const found = await client.find(persistentVolumeClaims, { namespace, name });
  if (found !== undefined) return notOurs(found, movement);
  const annotations = { ...given, ...epochAnnotations(movement) };
  const wanted: PersistentVolumeClaim = {
    metadata: {
      name,
      namespace,
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      ownerReferences: [controllerReference(type, movement)],
    },
    spec: {
      accessModes: ["ReadWriteOnce"],
      volumeMode: "Filesystem",
      storageClassName: config.cachePVC?.storageClass ?? "",
      resources: { requests: { storage: bytesQuantity(cacheVolumeBytes(repository)) } },
    },
  };
  return act(`create persistent volume claim "${namespace}/${name}"`, () => client.create(persistentVolumeClaims, wanted));
}

/** Bytes that the volume has to have: those that may be kept, a fifth for the file system, in whole GiB. */
export function cacheVolumeBytes(repository: Pick<BackupRepository, "spec">): number {
  return Math.ceil((cacheLimitBytes(repository) * 1.2) / GIB) * GIB;
}

function cacheLimitBytes({ spec }: Pick<BackupRepository, "spec">): number {
  const given = Number(spec.repositoryConfig?.["cacheLimitMB"] ?? "");
  return (Number.isSafeInteger(given) && given > 0 ? given : DEFAULT_LIMIT_MIB) * MIB;
}
