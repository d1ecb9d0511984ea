/** What happens to an object of the cluster that a restore meets where it wanted to create one of its own. */
import type { Backup, Restore } from "@drayage/api";
import { isAbort, type Logger, messageOf } from "@drayage/base";
import type { GenericObject, KubeClient, ObjectKey, ResourceType } from "@drayage/kube";
import type { OperationLogPart } from "../operation-log/operation-log.ts";
import { cleaned, mergedServiceAccount, mergePatchBetween, sameJson, withoutRestoreLabels, withRestoreLabels } from "./restored-form.ts";

export interface MeetExistingOptions {
  readonly client: KubeClient;
  readonly restore: Restore;
  readonly backup: Backup;
  readonly operationLog: Pick<OperationLogPart, "warn">;
  readonly signal: AbortSignal;
}

export interface Meeting {
  readonly existing: GenericObject;
  /** As the restore would have created it. */
  readonly wanted: GenericObject;
  readonly resource: ResourceType<GenericObject>;
  readonly key: ObjectKey;
  readonly log: Logger;
}

/** What became of it, with the reason. `undefined`: what the log says of it decides. */
export interface Met {
  readonly outcome: "updated" | undefined;
  readonly reason: string;
}

/** Leaves the object as it is, or changes it where the restore's policy is to update; an account gets what it lacks. Throws what a label could not be written for. */
export async function meetExisting(options: MeetExistingOptions, { existing, wanted, resource, key, log }: Meeting): Promise<Met> {
  const { client, restore, backup, operationLog, signal } = options;
  const [restoreName, backupName] = [restore.metadata.name ?? "", backup.metadata.name ?? ""];
  const current = cleaned(existing);
  const update = restore.spec.existingResourcePolicy === "update";
  const isAccount = wanted.kind === "ServiceAccount" && resource.group === "";
  const namespace = key.namespace ?? "";
  const addLabels = (): Promise<GenericObject> =>
    client.patch<GenericObject>(resource, key, "merge", { metadata: { labels: wanted.metadata.labels } }, { signal });
  // An account that was there is not marked as restored: it only gets what it lacks.
  const target = isAccount ? mergedServiceAccount(current, withoutRestoreLabels(wanted)) : wanted;
  if (sameJson(withRestoreLabels(current, restoreName, backupName), withRestoreLabels(target, restoreName, backupName))) {
    log.info("It exists already and is the same as the one in the backup");
    if (update) await addLabels();
    return { outcome: undefined, reason: "it exists already and is the same as the one in the backup" };
  }
  if (!isAccount && !update) {
    operationLog.warn(
      namespace,
      `could not restore, ${wanted.kind} "${wanted.metadata.name}" already exists and is different from the one in the backup; it was left as it is`,
    );
    return { outcome: undefined, reason: "it exists already and is different from the one in the backup: it is left as it is" };
  }
  const patch = mergePatchBetween(current, target);
  try {
    await client.patch<GenericObject>(resource, key, "merge", patch, { signal });
    return { outcome: "updated", reason: `it exists already; changed are ${changedFields(patch).join(", ")}` };
  } catch (error) {
    if (isAbort(error, signal)) throw error;
    operationLog.warn(namespace, `could not update, ${wanted.kind} "${wanted.metadata.name}": ${messageOf(error)}`);
    if (update) await addLabels();
    return { outcome: undefined, reason: `it exists already and could not be changed: ${messageOf(error)}` };
  }
}

const FIELDS_NAMED_MAX = 5;

/** `spec.replicas`, `metadata.labels`: two levels say enough. */
function changedFields(patch: unknown): string[] {
  if (typeof patch !== "object" || patch === null) return [];
  const fields = Object.entries(patch).flatMap(([key, value]) =>
    typeof value === "object" && value !== null && !Array.isArray(value) ? Object.keys(value).map((inner) => `${key}.${inner}`) : [key],
  );
  return fields.length <= FIELDS_NAMED_MAX ? fields : [...fields.slice(0, FIELDS_NAMED_MAX), `${fields.length - FIELDS_NAMED_MAX} more`];
}
