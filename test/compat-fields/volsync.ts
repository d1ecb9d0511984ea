/** Every field of VolSync's two kinds, how it is treated where no VolSync runs, and the test that shows it. The page docs/volsync-compatibility.md is made of this. */
import { different, type Evidence, type FieldEntry, type FieldTable, refused, supported, testsOf, unused } from "./evidence.ts";

const fieldTest = testsOf("packages/controllers/src/volsync/volsync-fields.test.ts");

const EITHER = "of either kind: %s as %j";
const SOURCE = "of a ReplicationSource: %s as %j";
const DESTINATION = "of a ReplicationDestination: %s as %j";
const STATUS = "of a %s has the beginning of what runs, and afterwards its end";
const NO_CACHE = "a destination has no cache, so that %s makes no claim and leaves none";

/** Fields that have a row in the table of that test. */
const shown = (title: string, ...fields: readonly string[]): FieldTable =>
  Object.fromEntries(fields.map((field) => [field, supported(fieldTest(title, `"${field}"`))]));
const under = (prefix: string, ...names: readonly string[]): string[] => names.map((name) => `${prefix}.${name}`);
const noted = (how: (note: string, evidence: Evidence) => FieldEntry, note: string, fields: Readonly<Record<string, Evidence>>): FieldTable =>
  Object.fromEntries(Object.entries(fields).map(([field, evidence]) => [field, how(note, evidence)]));

const RESTIC = "spec.restic";
const MOVER = ["moverAffinity", "moverPodLabels", "moverResources", "moverSecurityContext", "moverServiceAccount"];
const served = "by VolSync alone: the condition says so";
const external = fieldTest(EITHER, '"spec.external"');
const kept = fieldTest("keeps what others wrote: %s");
const row = (title: string, field: string): Readonly<Record<string, Evidence>> => ({ [field]: fieldTest(title, `"${field}"`) });

const common: FieldTable = {
  ...shown(EITHER, "spec.trigger.manual", "spec.trigger.schedule", "spec.paused"),
  ...noted(unused, "such an object is left to its provider, as VolSync does", { "spec.external.provider": external, "spec.external.parameters": external }),
  ...noted(refused, served, { ...row(EITHER, "spec.rclone"), ...row(EITHER, "spec.rsync"), ...row(EITHER, "spec.rsyncTLS") }),
  ...shown(EITHER, ...under(RESTIC, "repository", "customCA.secretName", "customCA.configMapName", "customCA.key", ...MOVER)),
  ...shown(EITHER, ...under(`${RESTIC}.moverVolumes[]`, "mountPath", "volumeSource")),
  ...Object.fromEntries(
    ["lastTransitionTime", "message", "observedGeneration", "reason", "status", "type"].map((name) => [
      `status.conditions[].${name}`,
      supported(fieldTest(STATUS)),
    ]),
  ),
  ...Object.fromEntries(
    ["lastManualSync", "lastSyncDuration", "lastSyncStartTime", "lastSyncTime"].map((name) => [`status.${name}`, supported(fieldTest(STATUS))]),
  ),
  "status.nextSyncTime": supported(fieldTest(EITHER)),
  "status.latestMoverStatus.logs": supported(fieldTest("has the failure of a mover, the last of its log")),
  "status.latestMoverStatus.result": supported(fieldTest("has the failure of a mover, the last of its log")),
  "status.external": unused("what a provider wrote stays", kept),
  ...noted(different, "of a mover that VolSync alone has: what it wrote stays", { "status.rsync": kept, "status.rsyncTLS": kept }),
};

const replicationSourceFields: FieldTable = {
  ...common,
  ...shown(SOURCE, "spec.sourcePVC", ...under(RESTIC, "copyMethod", "volumeSnapshotClassName", "storageClassName", "accessModes", "capacity")),
  ...shown(SOURCE, ...under(RESTIC, "cacheCapacity", "cacheStorageClassName", "pruneIntervalDays", "unlock")),
  ...shown(
    SOURCE,
    ...under(RESTIC, "cacheAccessModes", ...["hourly", "daily", "weekly", "monthly", "yearly", "within", "last"].map((name) => `retain.${name}`)),
  ),
  ...noted(refused, served, row(SOURCE, "spec.syncthing")),
  "status.restic.lastPruned": supported(fieldTest("of a ReplicationSource has when it pruned, and the tag that it unlocked for")),
  "status.restic.lastUnlocked": supported(fieldTest("of a ReplicationSource has when it pruned, and the tag that it unlocked for")),
  "status.syncthing": different("of a mover that VolSync alone has: what it wrote stays", kept),
};

const replicationDestinationFields: FieldTable = {
  ...common,
  ...shown(DESTINATION, ...under(RESTIC, "destinationPVC", "copyMethod", "storageClassName", "accessModes", "capacity", "previous", "restoreAsOf")),
  ...shown(DESTINATION, ...under(RESTIC, "cleanupTempPVC", "enableFileDeletion")),
  "spec.restic.volumeSnapshotClassName": supported(fieldTest("a snapshot's class is that of spec.restic.volumeSnapshotClassName for a destination too")),
  ...noted(
    different,
    "Drayage's reader keeps no cache, so none is made, and none is to be cleaned up",
    Object.fromEntries(
      ["cacheCapacity", "cacheStorageClassName", "cacheAccessModes", "cleanupCachePVC"].map((name) => [`${RESTIC}.${name}`, fieldTest(NO_CACHE)]),
    ),
  ),
  ...Object.fromEntries(
    ["apiGroup", "kind", "name"].map((name) => [
      `status.latestImage.${name}`,
      supported(fieldTest("of a ReplicationDestination has the image of what arrived")),
    ]),
  ),
};

export const volSyncFieldTables: Readonly<Record<string, FieldTable>> = {
  ReplicationSource: replicationSourceFields,
  ReplicationDestination: replicationDestinationFields,
};
