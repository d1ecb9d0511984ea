import { different, type FieldTable, supported, testsOf, unused } from "./evidence.ts";

const folder = "packages/controllers/src";
const repository = testsOf(`${folder}/backup-repository/backup-repository.test.ts`);
const maintenance = testsOf(`${folder}/repository-maintenance/maintenance.test.ts`);
const location = testsOf(`${folder}/backup-location/backup-location.test.ts`);
const flags = testsOf("apps/dray/src/commands/locations.test.ts");
const secrets = testsOf("packages/api/src/location-secrets.test.ts");
const whole = testsOf("test/e2e/backup-restore.test.ts");
const badInput = testsOf("test/e2e/bad-input.test.ts");
const deletion = testsOf(`${folder}/backup-deletion/backup-deletion.test.ts`);
const download = testsOf(`${folder}/download-request/download-request.test.ts`);
const serverStatus = testsOf(`${folder}/server-status/server-status.test.ts`);
const sync = testsOf(`${folder}/backup-sync/backup-sync.test.ts`);
const made = "is created under Velero's name and labels, given its defaults and made ready";
const maintained = "is maintained by a Job when it is due, one at a time, with its Secret and nothing else";
const asked = "says version and plug-ins, and cleans up after askers that went away";
const signed = "signs an address for a file of a backup, valid for ten minutes, and then deletes the request";
const givenUp = "sets none of the fields that Velero has given up: status.accessMode and status.lastSyncedRevision";
const ofClouds = "snapshots of cloud providers are not made, so it is only checked when a backup names it";

export const backupRepositoryFields: FieldTable = {
  "spec.backupStorageLocation": supported(repository(made)),
  "spec.maintenanceFrequency": supported(repository(made)),
  "spec.repositoryConfig": supported(repository("takes the settings of new repositories from the ConfigMap")),
  "spec.repositoryType": supported(repository(made)),
  "spec.resticIdentifier": unused("of Velero's restic repositories, which it no longer makes", repository(made, "expect(repository.spec).toEqual")),
  "spec.volumeNamespace": supported(repository(made)),
  "status.lastMaintenanceTime": supported(repository(made)),
  "status.message": supported(repository("says why it is not ready, and is ready once the cause is gone")),
  "status.phase": supported(repository(made)),
  "status.recentMaintenance[].completeTimestamp": supported(maintenance(maintained)),
  "status.recentMaintenance[].message": supported(maintenance("says why a maintenance failed, and is tried again when the next one is due")),
  "status.recentMaintenance[].result": supported(maintenance(maintained)),
  "status.recentMaintenance[].startTimestamp": supported(maintenance(maintained)),
};

export const backupStorageLocationFields: FieldTable = {
  "spec.accessMode": supported(testsOf(`${folder}/backup/backup-fields.test.ts`)("into a location whose accessMode is ReadOnly fails validation")),
  "spec.backupSyncPeriod": supported(whole("is what another cluster follows: its backups appear there, restore there, and go when the bucket loses them")),
  "spec.config": supported(secrets("takes the customer key that the config names, byte for byte")),
  "spec.credential.key": supported(secrets("takes a location's own credentials and certificate")),
  "spec.credential.name": supported(secrets("takes a location's own credentials and certificate")),
  "spec.credential.optional": supported(secrets("names the Secret or key that is not there")),
  "spec.default": supported(location("keeps one default")),
  "spec.objectStorage.bucket": supported(badInput("whose bucket is not there is Unavailable and says so, and a backup into it fails validation")),
  "spec.objectStorage.caCert": supported(testsOf("test/e2e/object-store-contract.test.ts")("trusts the authority that its location names, and nobody else")),
  "spec.objectStorage.caCertRef.key": supported(secrets("takes a location's own credentials and certificate")),
  "spec.objectStorage.caCertRef.name": supported(secrets("takes a location's own credentials and certificate")),
  "spec.objectStorage.caCertRef.optional": supported(secrets("takes a location's own credentials and certificate")),
  "spec.objectStorage.prefix": supported(flags("for backups, with everything that its spec has")),
  "spec.provider": supported(badInput("of $kind that does not fit the schema is refused naming the field: %#")),
  "spec.validationFrequency": supported(location("looks at once when the spec changes, whatever the frequency")),
  "status.accessMode": unused("set by versions of Velero long past", location(givenUp)),
  "status.lastSyncedRevision": unused("set by versions of Velero long past", location(givenUp)),
  "status.lastSyncedTime": supported(sync("brings the backups of a bucket into a cluster that has none, with their PodVolumeBackups")),
  "status.lastValidationTime": supported(location("says Available, and when it looked")),
  "status.message": supported(badInput("whose bucket is not there is Unavailable and says so, and a backup into it fails validation")),
  "status.phase": supported(location("says Available, and when it looked")),
};

export const volumeSnapshotLocationFields: FieldTable = {
  "spec.config": different(ofClouds, flags("for snapshots")),
  "spec.credential.key": different(ofClouds, flags("for snapshots")),
  "spec.credential.name": different(ofClouds, flags("for snapshots")),
  "spec.credential.optional": different(ofClouds, flags("for snapshots", "credential: {")),
  "spec.provider": supported(testsOf(`${folder}/backup/backup-controller.test.ts`)("with %s fails validation")),
  "status.phase": unused("nobody sets it, in Velero neither", flags("for snapshots", "toEqual")),
};

export const requestFields: Readonly<Record<"DeleteBackupRequest" | "DownloadRequest" | "ServerStatusRequest", FieldTable>> = {
  DeleteBackupRequest: {
    "spec.backupName": supported(deletion("takes away snapshots, DataUploads, files, restores and the backup, and then itself")),
    "status.errors": supported(deletion("keeps files, ConfigMaps and the backup when a snapshot cannot be deleted, says why, and succeeds the next time")),
    "status.phase": supported(deletion("keeps files, ConfigMaps and the backup when a snapshot cannot be deleted, says why, and succeeds the next time")),
  },
  DownloadRequest: {
    "spec.target.kind": supported(whole("can be read through addresses that the server signs")),
    "spec.target.name": supported(whole("can be read through addresses that the server signs")),
    "status.downloadURL": supported(download(signed)),
    "status.expiration": supported(download(signed)),
    "status.phase": supported(download(signed)),
  },
  ServerStatusRequest: {
    spec: supported(serverStatus(asked)),
    "status.phase": supported(serverStatus(asked)),
    "status.plugins[].kind": supported(serverStatus(asked)),
    "status.plugins[].name": supported(serverStatus(asked)),
    "status.processedTimestamp": supported(serverStatus(asked)),
    "status.serverVersion": supported(serverStatus(asked)),
  },
};
