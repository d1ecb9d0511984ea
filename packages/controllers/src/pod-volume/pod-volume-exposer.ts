/** Makes a volume of a running pod readable or writable in a mover pod on the same node, by the folder in which the kubelet keeps it (velero.md 4.3), and takes that pod away again. */
import type { BackupRepository } from "@drayage/api";
import { controllerReference, type KubeObject, type Pod, pods, type ResourceType, secrets } from "@drayage/kube";
import { act, done, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "../exposers/exposer-deps.ts";
import { buildHostingPod, unrecoverableReason } from "../exposers/hosting-pod.ts";
import { notOurs, podRemoval, secretRemoval } from "../exposers/intermediate-objects.ts";
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
  readonly repository: () => Promise<BackupRepository | Work>;
}

/** Done when the mover pod runs. */
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
    return pod.status?.phase === "Running" || pod.status?.phase === "Succeeded" ? done : startingWork(deps, pod);
  }
  const path = await podVolumePath(client, exposure.kubeletRoot, exposure.pod, exposure.volumeName);
  const ready = await exposure.repository();
  if ("state" in ready) return ready;
  const owner = controllerReference(type, movement);
  const secret = await client.find(secrets, key);
  if (secret === undefined) {
    const built = await buildMoverSecret(client, { name, namespace, owner, label, locationName: exposure.locationName, repository: ready });
    return act(`create secret "${namespace}/${name}"`, () => client.create(secrets, built));
  }
  const option = direction === "backup" ? `--pod-volume-backup=${name}` : `--pod-volume-restore=${name}`;
  const wanted = buildHostingPod(deps, {
    name,
    uid,
    owner,
    label,
    group: "pod-volume-exposer",
    command: ["pod-volume", direction],
    args: [`--volume-path=/${uid}`, `--resource-timeout=${exposure.resourceTimeout}`, option, ...(direction === "restore" ? ["--cache-volume-path="] : [])],
    volumeMode: "Filesystem",
    storageClass: undefined,
    hostPath: { path, nodeName: exposure.pod.spec.nodeName ?? "", privileged: deps.config.privilegedFsBackup === true },
  });
  return notOurs(secret, movement) ?? act(`create pod "${namespace}/${name}"`, () => client.create(pods, wanted));
}

/** The volume belongs to the application; only what was made to reach it goes. */
export async function cleanUpPodVolume(deps: ExposerDeps, movement: KubeObject): Promise<Work> {
  return (await podRemoval(deps, movement)) ?? (await secretRemoval(deps, movement)) ?? done;
}
