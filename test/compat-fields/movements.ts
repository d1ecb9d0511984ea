import { comparison, different, type FieldTable, supported, testsOf } from "./evidence.ts";

const folder = "packages/controllers/src";
const upload = testsOf(`${folder}/data-upload/data-upload.test.ts`);
const download = testsOf(`${folder}/data-download/data-download.test.ts`);
const backupFields = testsOf(`${folder}/backup/backup-fields.test.ts`);
const restoreFields = testsOf(`${folder}/restore/restore-fields.test.ts`);
const podVolume = testsOf(`${folder}/pod-volume/pod-volume.test.ts`);
const moving = testsOf("test/e2e/data-movement.test.ts");
const podVolumes = testsOf("test/e2e/pod-volumes.test.ts");
const made = "carries what its mover has to know";
const downloadMade = "are filled by a DataDownload that carries what its mover has to know";
const restoreMade = "are filled through their pods by a PodVolumeRestore that carries what its mover has to know";
const wholeUpload = "goes through every phase and leaves nothing but its result";
const wholeDownload = "ends with the application's claim bound to the restored volume";
const read = "is carried out by the agent of its node alone, in a pod that has the kubelet's folder of the volume";
const filled = "a PodVolumeRestore waits until its pod holds the volume in its init container";
const stopped = "a PodVolumeRestore that is canceled stops its mover, and says what went wrong with one that failed";
const recordedRequest = comparison(
  `${folder}/backup/recording.test.ts`,
  "creates the same VolumeSnapshots, DataUploads and PodVolumeBackups",
  '"PodVolumeBackup"',
  "test/fixtures/velero-1.18.3/objects/second-requests.json",
);

export const dataUploadFields: FieldTable = {
  "spec.backupStorageLocation": supported(backupFields(made)),
  "spec.cancel": supported(
    moving("ends DataUploads that wait to be prepared and that are being prepared, takes everything away and fails the backup partially"),
  ),
  "spec.csiSnapshot.driver": supported(backupFields(made)),
  "spec.csiSnapshot.snapshotClass": supported(backupFields(made)),
  "spec.csiSnapshot.storageClass": supported(backupFields(made)),
  "spec.csiSnapshot.volumeSnapshot": supported(backupFields(made)),
  "spec.dataMoverConfig": supported(backupFields(made)),
  "spec.datamover": supported(upload("is left alone by a guest when it is not for Drayage")),
  "spec.operationTimeout": supported(backupFields(made)),
  "spec.snapshotType": supported(backupFields(made)),
  "spec.sourceNamespace": supported(backupFields(made)),
  "spec.sourcePVC": supported(backupFields(made)),
  "status.acceptedByNode": supported(upload(wholeUpload)),
  "status.acceptedTimestamp": supported(upload("is taken over while it is prepared when the node that claimed it is dead")),
  "status.completionTimestamp": supported(upload(wholeUpload)),
  "status.dataMoverResult": supported(restoreFields("hands what a mover of others said of its upload (dataMoverResult) to whoever restores it")),
  "status.incrementalBytes": supported(upload(wholeUpload)),
  "status.message": supported(upload("fails but names its snapshot when some files could not be read")),
  "status.node": supported(upload(wholeUpload)),
  "status.nodeOS": different("`linux` always: volumes of Windows are refused", upload("is refused at once where its volume is one of Windows %s")),
  "status.path": supported(upload(wholeUpload)),
  "status.phase": supported(upload(wholeUpload)),
  "status.progress.bytesDone": supported(upload(wholeUpload)),
  "status.progress.totalBytes": supported(upload(wholeUpload)),
  "status.snapshotID": supported(upload(wholeUpload)),
  "status.startTimestamp": supported(upload("starts as soon as another one ends that held its slot")),
};

export const dataDownloadFields: FieldTable = {
  "spec.backupStorageLocation": supported(restoreFields(downloadMade)),
  "spec.cancel": supported(download("leaves nothing when it is canceled while it runs")),
  "spec.dataMoverConfig": supported(restoreFields(downloadMade)),
  "spec.datamover": supported(testsOf(`${folder}/data-movement/phases.test.ts`)("%s")),
  "spec.nodeOS": different("`windows` is refused: movers run on Linux only", download("refuses a volume of Windows %s")),
  "spec.operationTimeout": supported(download("fails when it %s")),
  "spec.snapshotID": supported(restoreFields(downloadMade)),
  "spec.snapshotSize": supported(restoreFields(downloadMade)),
  "spec.sourceNamespace": supported(restoreFields(downloadMade)),
  "spec.targetVolume.namespace": supported(restoreFields(downloadMade)),
  "spec.targetVolume.pv": supported(restoreFields(downloadMade)),
  "spec.targetVolume.pvc": supported(restoreFields(downloadMade)),
  "status.acceptedByNode": supported(download(wholeDownload)),
  "status.acceptedTimestamp": supported(download(wholeDownload)),
  "status.completionTimestamp": supported(download(wholeDownload)),
  "status.message": supported(download("refuses a target that has a volume already")),
  "status.node": supported(download(wholeDownload)),
  "status.phase": supported(download(wholeDownload)),
  "status.progress.bytesDone": supported(download(wholeDownload)),
  "status.progress.totalBytes": supported(download(wholeDownload)),
  "status.startTimestamp": supported(download(wholeDownload)),
};

export const podVolumeBackupFields: FieldTable = {
  "spec.backupStorageLocation": supported(backupFields(made)),
  "spec.cancel": supported(podVolume("that is canceled stops its mover")),
  "spec.node": supported(podVolume(read)),
  "spec.pod": supported(podVolume("with %s fails and says so")),
  "spec.repoIdentifier": supported(recordedRequest),
  "spec.tags": supported(recordedRequest),
  "spec.uploaderSettings": supported(backupFields(made)),
  "spec.uploaderType": different("kopia; restic is read, and not written", podVolume("with %s fails and says so")),
  "spec.volume": supported(podVolume("with %s fails and says so")),
  "status.acceptedTimestamp": supported(podVolume(read)),
  "status.completionTimestamp": supported(podVolume(read)),
  "status.incrementalBytes": supported(podVolumes("volumes of a pod are read while it runs, and the pod starts again only when they are filled")),
  "status.message": supported(podVolume("fails when its node is dead: nobody else can reach the volume")),
  "status.path": supported(testsOf(`${folder}/backup/recording.test.ts`)("writes the same lists beside the tarball", "path: `/${read")),
  "status.phase": supported(podVolume(read)),
  "status.progress.bytesDone": supported(podVolume(read)),
  "status.progress.totalBytes": supported(podVolume(read)),
  "status.snapshotID": supported(podVolume(read)),
  "status.startTimestamp": supported(podVolume(read)),
};

export const podVolumeRestoreFields: FieldTable = {
  "spec.backupStorageLocation": supported(restoreFields(restoreMade)),
  "spec.cancel": supported(podVolume(stopped)),
  "spec.pod": supported(restoreFields(restoreMade)),
  "spec.repoIdentifier": supported(restoreFields(restoreMade)),
  "spec.snapshotID": supported(restoreFields(restoreMade)),
  "spec.snapshotSize": supported(restoreFields(restoreMade)),
  "spec.sourceNamespace": supported(restoreFields(restoreMade)),
  "spec.uploaderSettings": supported(restoreFields(restoreMade)),
  "spec.uploaderType": supported(podVolume("a PodVolumeRestore of what restic wrote is given to a mover without a BackupRepository of its own")),
  "spec.volume": supported(restoreFields(restoreMade)),
  "status.acceptedTimestamp": supported(podVolume(filled)),
  "status.completionTimestamp": supported(podVolume(filled)),
  "status.message": supported(podVolume(stopped)),
  "status.node": supported(podVolume(filled)),
  "status.phase": supported(podVolume(filled)),
  "status.progress.bytesDone": supported(podVolume(filled)),
  "status.progress.totalBytes": supported(podVolume(filled)),
  "status.startTimestamp": supported(podVolume(filled)),
};
