/** The way into a restic repository of OADP 1.1 or 1.2: the location that it lies in, and the password that its users gave. */
import { type DataDownload, RESTIC_PASSWORD_KEY, USER_RESTIC_SECRET, VOLSYNC_MOVER_CONFIG } from "@drayage/api";
import { secrets } from "@drayage/kube";
import { failed, type Work } from "../data-movement/work.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import type { RepositoryAccess } from "./generic-restore-exposer.ts";

export async function resticAccess({ client, namespace }: ExposerDeps, download: DataDownload): Promise<RepositoryAccess | Work> {
  const { dataMoverConfig, sourceNamespace: volumeNamespace, backupStorageLocation } = download.spec;
  const own = dataMoverConfig?.[VOLSYNC_MOVER_CONFIG.secretName] ?? "";
  for (const name of [own, USER_RESTIC_SECRET]) {
    const encoded = name === "" ? undefined : (await client.find(secrets, { namespace, name }))?.data?.[RESTIC_PASSWORD_KEY];
    if (encoded === undefined || encoded === "") continue;
    return {
      repository: {
        metadata: { name: dataMoverConfig?.[VOLSYNC_MOVER_CONFIG.repositoryPath] ?? "", namespace },
        spec: { backupStorageLocation, volumeNamespace, repositoryType: "restic", resticIdentifier: "", maintenanceFrequency: "0s" },
      },
      password: Buffer.from(encoded, "base64").toString("utf8"),
    };
  }
  return failed(`the password of the restic repository is not known: create secret "${namespace}/${USER_RESTIC_SECRET}" with the key "${RESTIC_PASSWORD_KEY}"`);
}
