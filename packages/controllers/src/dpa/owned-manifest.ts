import type { DataProtectionApplication } from "@drayage/api";
import type { Manifest } from "@drayage/install";

/** An object that a DataProtectionApplication brings about in its own namespace. */
export interface OwnedManifest extends Manifest {
  kind: "ConfigMap" | "Secret" | "BackupStorageLocation" | "VolumeSnapshotLocation" | "Deployment" | "DaemonSet" | "Service";
}

export const OADP_LABEL = "openshift.io/oadp";
/** On a Secret: the application that refers to it, so that a change of it is noticed. */
export const DPA_NAME_LABEL = "dataprotectionapplication.name";

/** What says whose an object is, as OADP labels what it makes. */
export function ownLabels(instance: string, component: string, name = "velero"): Record<string, string> {
  return {
    "app.kubernetes.io/name": name,
    "app.kubernetes.io/instance": instance,
    "app.kubernetes.io/managed-by": "drayage-operator",
    "app.kubernetes.io/component": component,
    [OADP_LABEL]: "True",
  };
}

export function nameOf({ metadata }: DataProtectionApplication): string {
  return metadata.name ?? "";
}
