import { comparison, type FieldTable, refused, supported, testsOf } from "./evidence.ts";

const folder = "packages/controllers/src";
const controller = testsOf(`${folder}/restore/restore-controller.test.ts`);
const fields = testsOf(`${folder}/restore/restore-fields.test.ts`);
const changes = testsOf(`${folder}/restore/restore-changes.test.ts`);
const dataFirst = testsOf(`${folder}/restore/data-first.test.ts`);
const hooks = testsOf(`${folder}/hooks/hook-fields.test.ts`);
const hookRun = "runs its command in its container, with limits for the wait and for the run";
const intoAnother = "into another namespace completes once the data is there and the hooks have run";
const timesAndItems = "says when it began and ended, and how many items it has";

export const restoreFields: FieldTable = {
  "spec.backupName": supported(controller("takes the newest completed backup of a schedule")),
  "spec.excludedNamespaces": supported(fields("by %s")),
  "spec.excludedResources": supported(fields("by %s")),
  "spec.existingResourcePolicy": supported(controller("updates what exists when it is asked to")),
  "spec.hooks.resources[].excludedNamespaces": supported(hooks("%s")),
  "spec.hooks.resources[].excludedResources": supported(hooks("%s")),
  "spec.hooks.resources[].includedNamespaces": supported(hooks("%s")),
  "spec.hooks.resources[].includedResources": supported(hooks("%s")),
  "spec.hooks.resources[].labelSelector": supported(hooks("%s")),
  "spec.hooks.resources[].name": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].exec.command": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].exec.container": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].exec.execTimeout": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].exec.onError": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].exec.waitForReady": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].exec.waitTimeout": supported(hooks(hookRun)),
  "spec.hooks.resources[].postHooks[].init.initContainers": supported(
    hooks("puts its init containers in as they are; the time for them is the kubelet's to keep, so init.timeout changes nothing, as with Velero"),
  ),
  "spec.hooks.resources[].postHooks[].init.timeout": supported(
    hooks("puts its init containers in as they are; the time for them is the kubelet's to keep, so init.timeout changes nothing, as with Velero"),
  ),
  "spec.includeClusterResources": supported(
    fields("come back with everything, with some namespaces only when includeClusterResources asks for them, and never when it says no"),
  ),
  "spec.includedNamespaces": supported(fields("by %s")),
  "spec.includedResources": supported(fields("by %s")),
  "spec.itemOperationTimeout": supported(dataFirst("goes on when the data takes longer than its limit")),
  "spec.labelSelector": supported(fields("by %s")),
  "spec.namespaceMapping": supported(controller(intoAnother)),
  "spec.orLabelSelectors": supported(fields("by %s")),
  "spec.preserveNodePorts": supported(testsOf(`${folder}/actions/actions.test.ts`)("keeps all of them when the restore says so")),
  "spec.resourceModifier.apiGroup": supported(fields("takes modifiers from a ConfigMap whatever the apiGroup of the reference says, as Velero does")),
  "spec.resourceModifier.kind": supported(changes("fail validation when there are none, when they are wrong, and when they are no ConfigMap")),
  "spec.resourceModifier.name": supported(changes("fail validation when there are none, when they are wrong, and when they are no ConfigMap")),
  "spec.resourcePolicy.apiGroup": refused(
    "Velero 1.18 has the field in its definition only; a restore with it fails validation",
    fields("with a resourcePolicy, which Velero 1.18 does not have, is refused and says so"),
  ),
  "spec.resourcePolicy.kind": refused("as above", fields("with a resourcePolicy, which Velero 1.18 does not have, is refused and says so")),
  "spec.resourcePolicy.name": refused("as above", fields("with a resourcePolicy, which Velero 1.18 does not have, is refused and says so")),
  "spec.restorePVs": supported(fields("come back empty, without a DataDownload, when restorePVs says so")),
  "spec.restoreStatus.excludedResources": supported(fields("comes back where restoreStatus includes the resource and does not exclude it")),
  "spec.restoreStatus.includedResources": supported(fields("comes back where restoreStatus includes the resource and does not exclude it")),
  "spec.scheduleName": supported(controller("takes the newest completed backup of a schedule")),
  "spec.uploaderConfig.parallelFilesDownload": supported(fields("are filled by a DataDownload that carries what its mover has to know")),
  "spec.uploaderConfig.writeSparseFiles": supported(fields("are filled by a DataDownload that carries what its mover has to know")),
  "status.completionTimestamp": supported(fields(timesAndItems)),
  "status.errors": supported(controller("leaves out what the cluster does not serve, and fails partially")),
  "status.failureReason": supported(controller("fails when its backup cannot be read, and tells why")),
  "status.hookStatus.hooksAttempted": supported(dataFirst("fail at once in a pod whose data did not come back")),
  "status.hookStatus.hooksFailed": supported(dataFirst("fail at once in a pod whose data did not come back")),
  "status.phase": supported(
    comparison(
      `${folder}/backup/recording.test.ts`,
      "fills in the same fields and sets the same finalizer",
      "differences(stages.at(-1), theirs.at(-1))",
      "test/fixtures/velero-1.18.3/objects/back-stages.json",
    ),
  ),
  "status.progress.itemsRestored": supported(fields(timesAndItems)),
  "status.progress.totalItems": supported(fields(timesAndItems)),
  "status.restoreItemOperationsAttempted": supported(controller(intoAnother)),
  "status.restoreItemOperationsCompleted": supported(controller(intoAnother)),
  "status.restoreItemOperationsFailed": supported(controller("is PartiallyFailed with the mover's message when the data does not come back")),
  "status.startTimestamp": supported(fields(timesAndItems)),
  "status.validationErrors": supported(controller("of %s fails validation")),
  "status.warnings": supported(controller("leaves what exists alone, and says so when it is different")),
};
