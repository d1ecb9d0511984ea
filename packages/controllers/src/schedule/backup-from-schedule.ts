import { type Backup, LABELS, type Schedule, validLabelValue } from "@drayage/api";
import { formatTime } from "@drayage/base";

/** On a Backup that the clock made: which time of its Schedule it is for. A server that ended before it could note the run finds it by this. */
export const SCHEDULED_FOR = "drayage.io/scheduled-for";
/** kubectl compares it with what is applied next, and this object was not applied. */
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** `NAME-20261128030000`, in UTC. */
export function scheduledBackupName(scheduleName: string, nowMs: number): string {
  return `${scheduleName}-${formatTime(nowMs).replace(/\D/g, "")}`;
}

/**
 * The Backup that a Schedule asks for: its template, labels of the template or else of the Schedule, the Schedule's annotations, and, where the Schedule says so, itself as owner.
 * `name` is made from the time when left out.
 */
export function backupFromSchedule(schedule: Schedule, nowMs: number, name?: string): Backup {
  const { metadata, spec } = schedule;
  const scheduleName = metadata.name ?? "";
  const { [LAST_APPLIED]: _, ...annotations } = metadata.annotations ?? {};
  return {
    apiVersion: "velero.io/v1",
    kind: "Backup",
    metadata: {
      name: name ?? scheduledBackupName(scheduleName, nowMs),
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      labels: { ...(spec.template.metadata?.labels ?? metadata.labels), [LABELS.scheduleName]: validLabelValue(scheduleName) },
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
      ...(spec.useOwnerReferencesInBackup === true
        ? { ownerReferences: [{ apiVersion: "velero.io/v1", kind: "Schedule", name: scheduleName, uid: metadata.uid ?? "", controller: true }] }
        : {}),
    },
    spec: structuredClone(spec.template),
  };
}
