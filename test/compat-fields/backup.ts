import { comparison, different, type FieldTable, supported, testsOf } from "./evidence.ts";

const folder = "packages/controllers/src";
const controller = testsOf(`${folder}/backup/backup-controller.test.ts`);
const fields = testsOf(`${folder}/backup/backup-fields.test.ts`);
const collect = testsOf(`${folder}/backup/collect-items.test.ts`);
const queue = testsOf(`${folder}/backup/backup.test.ts`);
const hooks = testsOf(`${folder}/hooks/hook-fields.test.ts`);
const policy = testsOf(`${folder}/resource-policy/resource-policy.test.ts`);
const schedule = testsOf(`${folder}/schedule/schedule.test.ts`);
const whole = testsOf("test/e2e/backup-restore.test.ts");
const hookRun = "%s runs its command in its container, within its timeout, and may fail or not";
const completes = "completes once its DataUploads have";
const canceled = "is PartiallyFailed when a DataUpload is canceled, and tells why in its operations";
const times = "says when it began and ended, when it expires, and how many items it has; there are no snapshots of cloud providers";
const recorded = comparison(
  `${folder}/backup/recording.test.ts`,
  "goes through the same phases, and fills in the same defaults, labels and annotations",
  "differences(last(stages, phase), last(theirs, phase))",
  `test/fixtures/velero-1.18.3/objects/second-stages.json`,
);

export const backupFields: FieldTable = {
  "spec.csiSnapshotTimeout": supported(controller("removes the snapshot whose handle does not come in time")),
  "spec.datamover": supported(fields("carries what its mover has to know")),
  "spec.defaultVolumesToFsBackup": supported(
    policy("through the file system is opted in to by annotation, or out of where it is the default; what is no data is never read"),
  ),
  "spec.defaultVolumesToRestic": supported(fields("takes defaultVolumesToRestic for its later name defaultVolumesToFsBackup")),
  "spec.excludedClusterScopedResources": supported(collect("stay out when they are asked to")),
  "spec.excludedNamespaceScopedResources": supported(collect("come along with the whole cluster also after the server has put its own excludes into the spec")),
  "spec.excludedNamespaces": supported(collect("takes everything of every namespace but the excluded ones, and none that is going away")),
  "spec.excludedResources": supported(whole("holds %s, and nothing else")),
  "spec.hooks.resources[].excludedNamespaces": supported(hooks("%s")),
  "spec.hooks.resources[].excludedResources": supported(hooks("%s")),
  "spec.hooks.resources[].includedNamespaces": supported(hooks("%s")),
  "spec.hooks.resources[].includedResources": supported(hooks("%s")),
  "spec.hooks.resources[].labelSelector": supported(hooks("%s")),
  "spec.hooks.resources[].name": supported(hooks(hookRun)),
  "spec.hooks.resources[].post[].exec.command": supported(hooks(hookRun)),
  "spec.hooks.resources[].post[].exec.container": supported(hooks(hookRun)),
  "spec.hooks.resources[].post[].exec.onError": supported(hooks(hookRun)),
  "spec.hooks.resources[].post[].exec.timeout": supported(hooks(hookRun)),
  "spec.hooks.resources[].pre[].exec.command": supported(hooks(hookRun)),
  "spec.hooks.resources[].pre[].exec.container": supported(hooks(hookRun)),
  "spec.hooks.resources[].pre[].exec.onError": supported(hooks(hookRun)),
  "spec.hooks.resources[].pre[].exec.timeout": supported(hooks(hookRun)),
  "spec.includeClusterResources": supported(collect("come along when they are asked for, in either generation of fields")),
  "spec.includedClusterScopedResources": supported(collect("come along when they are asked for, in either generation of fields")),
  "spec.includedNamespaceScopedResources": supported(collect("takes of each namespace what the list of its scope names")),
  "spec.includedNamespaces": supported(collect("takes a namespace and what is in it, pods first")),
  "spec.includedResources": supported(whole("holds %s, and nothing else")),
  "spec.itemOperationTimeout": supported(controller("cancels DataUploads that take longer than its itemOperationTimeout")),
  "spec.labelSelector": supported(collect("takes what a selector fits, with the namespaces it lies in")),
  "spec.metadata.labels": supported(schedule("takes the template's labels instead where it has some")),
  "spec.orLabelSelectors": supported(collect("takes what any of several selectors fits, each item once")),
  "spec.orderedResources": supported(collect("puts items into the order that the spec names")),
  "spec.resourcePolicy.apiGroup": supported(fields("takes a policy from a ConfigMap whatever the apiGroup of the reference says, as Velero does")),
  "spec.resourcePolicy.kind": supported(controller("with %s fails validation", 'resourcePolicy: { kind: "Secret"')),
  "spec.resourcePolicy.name": supported(controller("does with each volume what its resource policy says", "resourcePolicy: { kind")),
  "spec.snapshotMoveData": supported(controller("that does not move data keeps its snapshots with their storage, and says in the bucket alone where they are")),
  "spec.snapshotVolumes": supported(controller("goes without the data of volumes when it is told to")),
  "spec.storageLocation": supported(controller("with %s fails validation")),
  "spec.ttl": supported(fields(times)),
  "spec.uploaderConfig.parallelFilesUpload": supported(fields("carries what its mover has to know")),
  "spec.volumeGroupSnapshotLabelKey": different(
    "a group is cut by one VolumeGroupSnapshot as Velero does it; tried with a simulated snapshot controller only",
    testsOf(`${folder}/actions/volume-group-snapshots.test.ts`)(
      "are cut by one VolumeGroupSnapshot, which then goes and leaves their snapshots to the movers",
      "GROUP_LABEL",
    ),
  ),
  "spec.volumeSnapshotLocations": different(
    "checked as Velero checks it; snapshots of cloud providers, which it is for, are not made",
    controller("with %s fails validation"),
  ),
  "status.backupItemOperationsAttempted": supported(controller(completes)),
  "status.backupItemOperationsCompleted": supported(controller(completes)),
  "status.backupItemOperationsFailed": supported(controller(canceled)),
  "status.completionTimestamp": supported(fields(times)),
  "status.csiVolumeSnapshotsAttempted": supported(
    controller("that does not move data keeps its snapshots with their storage, and says in the bucket alone where they are"),
  ),
  "status.csiVolumeSnapshotsCompleted": supported(
    controller("that does not move data keeps its snapshots with their storage, and says in the bucket alone where they are"),
  ),
  "status.errors": supported(controller("is PartiallyFailed when a namespace it names does not exist")),
  "status.expiration": supported(fields(times)),
  "status.failureReason": supported(controller("fails when the location has a backup of that name")),
  "status.formatVersion": supported(recorded),
  "status.hookStatus.hooksAttempted": supported(controller(completes)),
  "status.hookStatus.hooksFailed": supported(controller("leaves out a pod whose pre hook fails, and is PartiallyFailed then")),
  "status.phase": supported(recorded),
  "status.progress.itemsBackedUp": supported(fields(times)),
  "status.progress.totalItems": supported(fields(times)),
  "status.queuePosition": supported(queue("keeps backups of one namespace apart, and lets others pass")),
  "status.startTimestamp": supported(fields(times)),
  "status.validationErrors": supported(controller("with %s fails validation")),
  "status.version": supported(recorded),
  "status.volumeSnapshotsAttempted": different("never set: snapshots of cloud providers are not made", fields(times)),
  "status.volumeSnapshotsCompleted": different("never set: snapshots of cloud providers are not made", fields(times)),
  "status.warnings": supported(controller("skips a volume that no CSI driver provides, and marks its claim")),
};

export const scheduleFields: FieldTable = {
  "spec.paused": supported(schedule("does nothing while it is paused")),
  "spec.schedule": supported(schedule("says what is wrong with its expression, and is Enabled when it has been put right")),
  "spec.skipImmediately": supported(schedule("does nothing while it is paused")),
  "spec.template": supported(schedule("uses the template as it is when the time comes")),
  "spec.useOwnerReferencesInBackup": supported(
    schedule("takes over the schedule's labels and annotations, and the schedule as owner where it says so", "ownerReferences"),
  ),
  "status.lastBackup": supported(schedule("is Enabled at once and makes a backup of its template when its time comes, named for that time")),
  "status.lastSkipped": supported(schedule("does nothing while it is paused")),
  "status.phase": supported(schedule("is Enabled at once and makes a backup of its template when its time comes, named for that time")),
  "status.validationErrors": supported(schedule("says what is wrong with its expression, and is Enabled when it has been put right")),
};
