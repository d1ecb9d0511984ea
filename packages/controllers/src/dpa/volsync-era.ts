/** `features.dataMover` of OADP 1.2, where the annotation asks for it: how the server moves volumes with VolSync, the password and the options of the restic repositories of each location, and the options of storage classes. */
import {
  type DataProtectionApplication,
  locationResticSecret,
  OPTION_KEYS,
  RESTIC_PASSWORD_KEY,
  RESTIC_SECRET_KEYS,
  RETAIN_KEYS,
  storageClassOptions,
  USER_RESTIC_SECRET,
  VSM_LABELS,
  validLabelValue,
} from "@drayage/api";
import type { Observed } from "./dpa.ts";
import { locationName } from "./locations.ts";
import { nameOf, type OwnedManifest, ownLabels } from "./owned-manifest.ts";
import type { Spec } from "./spec.ts";

type DataMover = NonNullable<NonNullable<Spec["features"]>["dataMover"]>;

const ERA_ANNOTATION = "drayage.io/volsync-era";

/** What the data mover is told; undefined unless it is enabled and the annotation asks for it. */
export function dataMoverOf({ metadata }: Pick<DataProtectionApplication, "metadata">, spec: Spec): DataMover | undefined {
  const { dataMover } = spec.features ?? {};
  return metadata.annotations?.[ERA_ANNOTATION] === "true" && dataMover?.enable === true ? dataMover : undefined;
}

/** One Secret a location, as OADP 1.2 made it; the server adds what opens the store. None where there is nothing to say beside the user's own Secret, which is looked for as well. */
export function desiredResticSecrets({ dpa, secrets }: Observed, spec: Spec): OwnedManifest[] {
  const dataMover = dataMoverOf(dpa, spec);
  const credentialName = dataMover?.credentialName ?? "";
  const password = secrets.get(credentialName)?.data[RESTIC_PASSWORD_KEY];
  if (dataMover === undefined || password === undefined) return [];
  const options = {
    [RESTIC_SECRET_KEYS.pruneInterval]: dataMover.pruneInterval,
    [RESTIC_SECRET_KEYS.schedule]: dataMover.schedule,
    ...retainData(dataMover),
  };
  const data = given({ ...(credentialName === USER_RESTIC_SECRET ? {} : { [RESTIC_PASSWORD_KEY]: password }), ...options });
  if (Object.keys(data).length === 0) return [];
  return (spec.backupLocations ?? []).map((location, index) => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: {
      name: locationResticSecret(locationName(dpa, location, index)),
      namespace: dpa.metadata.namespace ?? "",
      labels: ownLabels(nameOf(dpa), "restic-password"),
    },
    type: "Opaque",
    data: Object.fromEntries(Object.entries(data).map(([key, text]) => [key, Buffer.from(text).toString("base64")])),
  }));
}

/** One ConfigMap a storage class that has options. */
export function desiredClassOptions(dpa: DataProtectionApplication, spec: Spec): OwnedManifest[] {
  const dataMover = dataMoverOf(dpa, spec);
  return Object.entries(dataMover?.volumeOptionsForStorageClasses ?? {}).map(([storageClass, { sourceVolumeOptions, destinationVolumeOptions }]) => ({
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: {
      name: storageClassOptions(storageClass),
      namespace: dpa.metadata.namespace ?? "",
      labels: {
        ...ownLabels(nameOf(dpa), "volume-snapshot-mover"),
        [VSM_LABELS.options]: "True",
        [VSM_LABELS.optionsStorageClass]: validLabelValue(storageClass),
      },
    },
    data: given({
      ...sideData("Source", sourceVolumeOptions),
      ...sideData("Destination", destinationVolumeOptions),
      ...retainData(dataMover ?? {}),
    }),
  }));
}

function sideData(side: "Source" | "Destination", options: Readonly<Record<string, string>> | undefined): Record<string, string | undefined> {
  return Object.fromEntries(Object.entries(OPTION_KEYS).map(([field, key]) => [`${side}${key}`, options?.[field]]));
}

function retainData({ snapshotRetainPolicy }: DataMover): Record<string, string | undefined> {
  const policy: Readonly<Record<string, string | undefined>> = { ...snapshotRetainPolicy };
  return Object.fromEntries(Object.entries(RETAIN_KEYS).map(([field, key]) => [key, policy[field]]));
}

function given(texts: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(Object.entries(texts).filter((entry): entry is [string, string] => entry[1] !== undefined && entry[1] !== ""));
}
