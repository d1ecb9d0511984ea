/** The locations of a DataProtectionApplication as Velero's own kinds. */
import type { CloudStorage, DataProtectionApplication } from "@drayage/api";
import { nameOf, type OwnedManifest, ownLabels } from "./owned-manifest.ts";
import { CLOUD_PLUGINS, CREDENTIAL_KEY, providerOf } from "./plugins.ts";
import type { BackupLocation, SnapshotLocation, Spec } from "./spec.ts";

/** Its own name, else that of the application and the place in the list, from 1. */
export function locationName(dpa: DataProtectionApplication, location: BackupLocation | SnapshotLocation, index: number): string {
  return location.name === undefined || location.name === "" ? `${nameOf(dpa)}-${index + 1}` : location.name;
}

export function desiredBackupLocations(dpa: DataProtectionApplication, spec: Spec, cloudStorages: ReadonlyMap<string, CloudStorage>): OwnedManifest[] {
  return (spec.backupLocations ?? []).map((location, index) => {
    const name = locationName(dpa, location, index);
    const wanted = location.velero ?? fromBucket(location, cloudStorages);
    const provider = providerOf(wanted.provider);
    const registry = provider === "azure" && (wanted.config?.["storageAccountKeyEnvVar"] ?? "") === "" ? "False" : "True";
    return {
      apiVersion: "velero.io/v1",
      kind: "BackupStorageLocation",
      metadata: {
        name,
        namespace: dpa.metadata.namespace ?? "",
        labels: { ...ownLabels(name, "bsl", "oadp-operator-velero"), "openshift.io/oadp-registry": registry },
      },
      spec: {
        ...wanted,
        ...withOwnCredential(wanted, provider),
        ...(wanted.config === undefined ? {} : { config: provider === "aws" ? awsConfig(wanted.config) : wanted.config }),
      },
    };
  });
}

type VeleroLocation = NonNullable<BackupLocation["velero"]>;

function fromBucket({ bucket }: BackupLocation, cloudStorages: ReadonlyMap<string, CloudStorage>): VeleroLocation {
  const storage = cloudStorages.get(bucket?.cloudStorageRef.name ?? "");
  const shared = storage?.spec.enableSharedConfig === true ? { enableSharedConfig: "true" } : {};
  const region = storage?.spec.region === undefined ? {} : { region: storage.spec.region };
  const config = { ...region, ...bucket?.config, ...shared };
  return {
    provider: "aws",
    objectStorage: {
      bucket: storage?.spec.name ?? "",
      ...(bucket?.prefix === undefined ? {} : { prefix: bucket.prefix }),
      ...(bucket?.caCert === undefined ? {} : { caCert: bucket.caCert }),
    },
    ...(bucket?.credential === undefined ? {} : { credential: bucket.credential }),
    ...(bucket?.default === undefined ? {} : { default: bucket.default }),
    ...(bucket?.backupSyncPeriod === undefined ? {} : { backupSyncPeriod: bucket.backupSyncPeriod }),
    ...(Object.keys(config).length === 0 ? {} : { config }),
  };
}

/** Without one of its own, a location of AWS has the installation's; those of the other clouds have theirs under another name, which only the spec can say. */
function withOwnCredential(location: VeleroLocation, provider: string | undefined): Partial<VeleroLocation> {
  if (location.credential !== undefined || provider === undefined || provider === "aws") return {};
  const secret = CLOUD_PLUGINS[provider === "azure" ? "azure" : "gcp"]?.secretName ?? "";
  return { credential: { name: secret, key: CREDENTIAL_KEY } };
}

/** As OADP writes it: no port that goes without saying, and no checksums of a kind that S3 clones refuse unless they are asked for. */
function awsConfig(config: Readonly<Record<string, string>>): Record<string, string> {
  const url = config["s3Url"];
  const plain = url?.replace(/^(https:\/\/[^/]*):443(\/|$)/, "$1$2").replace(/^(http:\/\/[^/]*):80(\/|$)/, "$1$2");
  return { checksumAlgorithm: "", ...config, ...(plain === undefined ? {} : { s3Url: plain }) };
}

export function desiredSnapshotLocations(dpa: DataProtectionApplication, spec: Spec): OwnedManifest[] {
  return (spec.snapshotLocations ?? []).map((location, index) => {
    const name = locationName(dpa, location, index);
    return {
      apiVersion: "velero.io/v1",
      kind: "VolumeSnapshotLocation",
      metadata: { name, namespace: dpa.metadata.namespace ?? "", labels: ownLabels(name, "vsl", "oadp-operator-velero") },
      spec: location.velero,
    };
  });
}
