/** Everything that the data mover of OADP 1.2 makes on its way, and that would stay behind: in the whole cluster, or in the installation's namespace. */
import { replicationDestinations, replicationSources, VSM_LABELS, volumeSnapshots } from "@drayage/api";
import { type KubeObject, persistentVolumeClaims, pods, type ResourceType, secrets } from "@drayage/kube";
import { type Harness, VELERO } from "../e2e/harness.ts";

/** As `kind name`; empty once all is gone. */
export async function volSyncEraLeftovers({ client }: Harness): Promise<string[]> {
  const list = async <T extends KubeObject>(type: ResourceType<T>, where: { readonly namespace?: string; readonly labelSelector?: string } = {}) =>
    (await client.list(type, where)).items.map(({ metadata }) => `${type.kind} ${metadata.name}`);
  const found = [
    await list(replicationSources),
    await list(replicationDestinations),
    await list(persistentVolumeClaims, { namespace: VELERO }),
    await list(volumeSnapshots, { namespace: VELERO }),
  ];
  for (const labelSelector of [VSM_LABELS.volumeSnapshotBackup, VSM_LABELS.volumeSnapshotRestore])
    found.push(await list(secrets, { namespace: VELERO, labelSelector }), await list(pods, { namespace: VELERO, labelSelector }));
  return found.flat();
}
