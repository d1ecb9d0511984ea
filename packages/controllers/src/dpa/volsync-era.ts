/** `features.dataMover` of OADP 1.2, where the annotation asks for it: the password of the restic repositories under the names by which restores look for it. */
import { locationResticSecret, RESTIC_PASSWORD_KEY, USER_RESTIC_SECRET } from "@drayage/api";
import type { Observed } from "./dpa.ts";
import { locationName } from "./locations.ts";
import { nameOf, type OwnedManifest, ownLabels } from "./owned-manifest.ts";
import type { Spec } from "./spec.ts";

/** One Secret a location, as OADP 1.2 made it. None where the user's own Secret has the name that is looked for as well. */
export function desiredResticSecrets({ dpa, secrets }: Observed, spec: Spec): OwnedManifest[] {
  const { enable, credentialName = "" } = spec.features?.dataMover ?? {};
  const password = secrets.get(credentialName)?.data[RESTIC_PASSWORD_KEY];
  if (enable !== true || password === undefined || credentialName === USER_RESTIC_SECRET) return [];
  return (spec.backupLocations ?? []).map((location, index) => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      name: locationResticSecret(locationName(dpa, location, index)),
      namespace: dpa.metadata.namespace ?? "",
      labels: ownLabels(nameOf(dpa), "restic-password"),
    },
    type: "Opaque",
    data: { [RESTIC_PASSWORD_KEY]: Buffer.from(password).toString("base64") },
  }));
}
