/** Makes a volume of a running pod readable or writable in a mover pod on the same node, by the folder in which the kubelet keeps it (velero.md 4.3), and takes that pod away again. */
import { controllerReference, type KubeObject, type Pod, pods, type ResourceType, secrets } from "@drayage/kube";
import type { RepositoryAtHand } from "../backup-repository/ensure-backup-repository.ts";
import { act, done, type Work } from "../data-movement/work.ts";
import { CACHE_PATH, cacheClaim, wantsCache } from "../exposers/cache-claim.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";
import { buildHostingPod, unrecoverableReason } from "../exposers/hosting-pod.ts";
import { cacheNameOf, moverRemoval, notOurs } from "../exposers/intermediate-objects.ts";
import { buildMoverSecret } from "../exposers/mover-secret.ts";
import { startingWork } from "../exposers/starting-pod.ts";
import { podVolumePath } from "./pod-volume-path.ts";

export interface PodVolumeExposure<T extends KubeObject> {
  readonly type: ResourceType<T>;
  readonly movement: T;
  readonly label: string;
  readonly direction: "backup" | "restore";
  readonly locationName: string;
  /** The pod whose volume it is, as it runs on its node. */
  readonly pod: Pod;
  readonly volumeName: string;
  readonly kubeletRoot: string;
  readonly resourceTimeout: string;
  /** Of what is restored, in bytes. */
  readonly snapshotSize?: number | undefined;
  readonly repository: Pick<RepositoryAtHand, "ready" | "underWay">;
}

/** Done when the mover pod runs and its repository is ready. */
export async function exposePodVolume<T extends KubeObject>(deps: ExposerDeps, exposure: PodVolumeExposure<T>): Promise<Work> {
  const { client, namespace } = deps;
  const { movement, type, label, direction } = exposure;
  const { name = "", uid = "" } = movement.metadata;
  const key = { namespace, name };
  const pod = await client.find(pods, key);
  if (pod !== undefined) {
    const foreign = notOurs(pod, movement);
    if (foreign !== undefined) return foreign;
    const reason = unrecoverableReason(pod);
    if (reason !== undefined) return { state: "unrecoverable", message: reason };
    if (pod.status?.phase !== "Running" && pod.status?.phase !== "Succeeded") return startingWork(deps, pod);
    const ready = await exposure.repository.ready();
    return "state" in ready ? ready : done;
  }
  const path = await podVolumePath(client, exposure.kubeletRoot, exposure.pod, exposure.volumeName);
  const repository = exposure.repository.underWay() ?? (await exposure.repository.ready());
  if ("state" in repository) return repository;
  const owner = controllerReference(type, movement);
  const secret = await client.find(secrets, key);
  if (secret === undefined) {
    const built = await buildMoverSecret(client, { name, namespace, owner, label, locationName: exposure.locationName, repository, random: deps.random });
    return act(`create secret "${namespace}/${name}"`, () => client.create(secrets, built));
  }
  const hasCache = direction === "restore" && wantsCache(deps, exposure.snapshotSize);
  if (hasCache) {
    const work = await cacheClaim(deps, { type, movement }, repository);
    if (work !== undefined) return work;
  }
  const option = direction === "backup" ? `--pod-volume-backup=${name}` : `--pod-volume-restore=${name}`;
  const wanted = buildHostingPod(deps, {
    name,
    uid,
    owner,
    label,
    group: "pod-volume-exposer",
    command: ["pod-volume", direction],
    args: [
      `--volume-path=/${uid}`,
      `--resource-timeout=${exposure.resourceTimeout}`,
      option,
      ...(direction === "restore" ? [`--cache-volume-path=${hasCache ? CACHE_PATH : ""}`] : []),
    ],
    volumeMode: "Filesystem",
    ...(hasCache ? { cache: { claimName: cacheNameOf(movement), path: CACHE_PATH } } : {}),
    storageClass: undefined,
    hostPath: { path, nodeName: exposure.pod.spec.nodeName ?? "", privileged: deps.config.privilegedFsBackup === true },
  });
  return notOurs(secret, movement) ?? act(`create pod "${namespace}/${name}"`, () => client.create(pods, wanted));
}

/** The volume belongs to the application; only what was made to reach it goes. */
export async function cleanUpPodVolume(deps: ExposerDeps, movement: KubeObject): Promise<Work> {
  const claims = deps.config.cachePVC === undefined ? [] : [cacheNameOf(movement)];
  return (await moverRemoval(deps, movement, { patient: true, claims })) ?? done;
}
