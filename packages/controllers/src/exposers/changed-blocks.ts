/** Where the mover of a device asks what has changed on it, when the cluster says that its driver can tell. */
import {
  CHANGED_BLOCKS_ENV,
  CHANGED_BLOCKS_TOKEN_PATH,
  type ChangedBlocksAccess,
  type DataUpload,
  type SnapshotMetadataService,
  snapshotMetadataServices,
  volumeSnapshotContents,
} from "@drayage/api";
import { errorFields, hasCode } from "@drayage/base";
import { type EnvVar, persistentVolumeClaims, persistentVolumes, type Volume, type VolumeMount } from "@drayage/kube";
import type { ExposerDeps } from "./exposer-deps.ts";

/** A kubelet renews what lives less than an hour long before that. */
const TOKEN_SECONDS = 3600;

/** What is added to a mover pod. */
export interface ChangedBlocksParts {
  readonly env: readonly EnvVar[];
  readonly volume: Volume;
  readonly mount: VolumeMount;
}

/** Undefined when nobody can tell: the device is then read whole. */
export async function changedBlocksParts(deps: ExposerDeps, upload: DataUpload): Promise<ChangedBlocksParts | undefined> {
  const { client, namespace, logger } = deps;
  const name = upload.metadata.name ?? "";
  const content = await client.find(volumeSnapshotContents, { name });
  const changeId = content?.spec.source.snapshotHandle;
  if (content === undefined || changeId === undefined) return undefined;
  let service: SnapshotMetadataService | undefined;
  try {
    service = await client.find(snapshotMetadataServices, { name: content.spec.driver });
  } catch (error) {
    // Beside a Velero that granted its node-agent less; a cluster without the kind has no such service.
    if (!hasCode(error, "KUBE_FORBIDDEN", "KUBE_NOT_FOUND")) throw error;
    logger.debug("Changed blocks are not asked for", errorFields(error));
  }
  if (service === undefined) return undefined;
  const volumeId = await volumeHandleOf(deps, upload);
  if (volumeId === undefined) return undefined;
  const { address, audience, caCert } = service.spec;
  const access: ChangedBlocksAccess = { address, caCert: Buffer.from(caCert, "base64").toString(), namespace, snapshot: name, changeId, volumeId };
  return {
    env: [{ name: CHANGED_BLOCKS_ENV, value: JSON.stringify(access) }],
    volume: {
      name: "changed-blocks",
      projected: { defaultMode: 0o400, sources: [{ serviceAccountToken: { audience, expirationSeconds: TOKEN_SECONDS, path: "token" } }] },
    },
    mount: { name: "changed-blocks", mountPath: CHANGED_BLOCKS_TOKEN_PATH.slice(0, CHANGED_BLOCKS_TOKEN_PATH.lastIndexOf("/")), readOnly: true },
  };
}

/** What the storage calls the volume; undefined when its claim is gone, since a snapshot may outlive it. */
async function volumeHandleOf({ client }: ExposerDeps, { spec }: DataUpload): Promise<string | undefined> {
  const claim = await client.find(persistentVolumeClaims, { namespace: spec.sourceNamespace, name: spec.sourcePVC });
  const volumeName = claim?.spec.volumeName ?? "";
  return volumeName === "" ? undefined : (await client.find(persistentVolumes, { name: volumeName }))?.spec.csi?.volumeHandle;
}
