/**
 * Every field, label and annotation of the kinds of OADP 1.2's data mover, how it is treated, and the test that shows it. The page docs/data-mover-compatibility.md is made of this.
 * A VolumeSnapshotRestore is carried out in one of two ways: by VolSync into a snapshot, as it was then, or by a DataDownload into the claim's own volume.
 */
import { different, type FieldTable, supported, testsOf, unused } from "./evidence.ts";

const fieldTest = testsOf("packages/controllers/src/volsync-era/data-mover-fields.test.ts");
const backupTest = testsOf("packages/controllers/src/volume-snapshot-backup/volume-snapshot-backup.test.ts");
const restoreTest = testsOf("packages/controllers/src/volume-snapshot-restore/volume-snapshot-restore.test.ts");
const volSyncTest = testsOf("packages/controllers/src/volsync-restore/volsync-restore.test.ts");

const MADE = "is made beside the claim with its %s";
const STORED = "goes into its backup with its %s, which its status said";
const ENDED = "ends with its %s";
const FILLS = "fills the claim's volume by its %s";
const VOLSYNC = "has VolSync make a volume by its %s";

/** Fields that have a row of their own in the table of a test; `under` is what the row leaves out. */
const shown = (title: string, fields: readonly string[], under = ""): FieldTable =>
  Object.fromEntries(fields.map((field) => [`${under}${field}`, supported(fieldTest(title, `"${field}"`))]));
const conditions = ["lastTransitionTime", "message", "observedGeneration", "reason", "status", "type"].map((name) => `status.conditions[].${name}`);
const times = (prefix: string): string[] => [`${prefix}.name`, `${prefix}.startTimestamp`, `${prefix}.completionTimestamp`];

const snapshotAlone = (fields: readonly string[]): FieldTable =>
  Object.fromEntries(
    fields.map((field) => [field, different("where VolSync carries it out; a claim whose own volume is filled needs none", fieldTest(ENDED, `"${field}"`))]),
  );

const REFERENCE = "spec.volumeSnapshotMoverBackupRef.";

export const dataMoverFieldTables: Readonly<Record<string, FieldTable>> = {
  VolumeSnapshotBackup: {
    ...shown(MADE, ["spec.volumeSnapshotContent", "spec.resticSecretRef.name"]),
    "spec.protectedNamespace": supported(backupTest("is left alone when another installation protects it")),
    ...shown(ENDED, ["status.phase", "status.batchingStatus", "status.startTimestamp", "status.completionTimestamp", ...conditions]),
    ...shown(
      ENDED,
      ["name", "size", "storageClassName"].map((name) => `status.sourcePVCData.${name}`),
    ),
    ...shown(ENDED, ["status.resticrepository", "status.volumeSnapshotClassName", ...times("status.replicationSourceData")]),
    "status.completed": unused("OADP defined it and never wrote it", fieldTest("has no `completed`, which OADP defined and never wrote")),
  },
  VolumeSnapshotRestore: {
    ...shown(FILLS, ["spec.resticSecretRef.name"]),
    ...shown(FILLS, ["resticrepository", "sourcePVCData.name"], REFERENCE),
    ...shown(VOLSYNC, ["sourcePVCData.size", "sourcePVCData.storageClassName", "volumeSnapshotClassName"], REFERENCE),
    "spec.protectedNamespace": supported(restoreTest("leaves alone what belongs to another installation")),
    ...shown(ENDED, ["status.phase", "status.batchingStatus", "status.startTimestamp", "status.completionTimestamp", ...conditions]),
    ...snapshotAlone(["status.snapshotHandle", "status.volumeSnapshotContentName", ...times("status.replicationDestinationData")]),
  },
};

const BECOMES = "becomes a VolumeSnapshotRestore in the namespace it goes to, and is waited for";
const ours = (entry: FieldTable): FieldTable => Object.fromEntries(Object.entries(entry).map(([key, one]) => [key, { ...one, note: "Drayage's own" }]));
const child = { ...backupTest("makes what OADP 1.2 made: a copy of the snapshot, a volume and a pod, a Secret of its own, and a ReplicationSource") };

/** Labels, annotations and the finalizer of both kinds, and of what is made for them, by their keys. */
export const dataMoverKeys: Readonly<Record<string, FieldTable>> = {
  VolumeSnapshotBackup: {
    ...shown(MADE, ["velero.io/backup-name", "datamover.io/vsb-volumesnapshotcontent"]),
    ...shown(
      STORED,
      ["restic-repository", "source-pvc-name", "source-pvc-size", "source-pvc-storageclass", "source-pvc-volumesnapshotclass"].map(
        (name) => `datamover.io/${name}`,
      ),
    ),
    "datamover.oadp.openshift.io/vsb": supported({ ...child, shows: '"datamover.oadp.openshift.io/vsb"' }),
    "oadp.openshift.io/oadp-datamover": different(
      "let go of at its end: its namespace can go when nobody runs the data mover any more",
      backupTest("%s is the end, and leaves nothing behind", "removeFinalizer"),
    ),
    ...ours({
      "drayage.io/cancel": supported(backupTest("it is %s", "drayage.io/cancel")),
      "drayage.io/progress": supported(backupTest("says in an annotation how much VolSync moved, for which its status has no field", "drayage.io/progress")),
    }),
  },
  VolumeSnapshotRestore: {
    ...shown(FILLS, ["velero.io/restore-name"]),
    ...Object.fromEntries(
      ["velero.io/backup-name", "velero.io/persistent-volume-claim-name", "velero.io/vsb-name"].map((key) => [key, supported(restoreTest(BECOMES, key))]),
    ),
    "datamover.oadp.openshift.io/vsr": supported(
      volSyncTest("makes what OADP 1.2 made: a Secret of its own, and a ReplicationDestination that ends in a snapshot", "datamover.oadp.openshift.io/vsr"),
    ),
    "oadp.openshift.io/oadp-datamover": different(
      "let go of at its end where VolSync carries it out",
      volSyncTest("ends with a snapshot in the storage that its status names, and nothing else", "finalizers"),
    ),
    ...ours({
      "drayage.io/restore-into": supported(
        fieldTest("is carried out by VolSync where drayage.io/restore-into is snapshot, and otherwise by a DataDownload", "drayage.io/restore-into"),
      ),
      ...shown(
        FILLS,
        ["backup-storage-location", "restore-uid", "restic-snapshot", "volume-may-be-empty"].map((name) => `drayage.io/${name}`),
      ),
      "drayage.io/cancel": supported(volSyncTest("it is %s", "drayage.io/cancel")),
      "drayage.io/progress": supported(volSyncTest("ends with a snapshot in the storage that its status names, and nothing else", "drayage.io/progress")),
    }),
  },
};
