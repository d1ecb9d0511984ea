import type { GenericObject, Job } from "@drayage/kube";
import type { RestoreAction } from "./restore-action.ts";

/** Both spellings under which the job controller marks the pods of a job with its UID. */
const CONTROLLER_UID_LABELS = ["controller-uid", "batch.kubernetes.io/controller-uid"];

/** A job loses the selector on its old UID; the API server makes one for the new. */
export const jobRestoreAction: RestoreAction = {
  name: "velero.io/job",
  groupResource: "jobs.batch",
  async execute(item) {
    const job = structuredClone(item) as unknown as Job;
    for (const label of CONTROLLER_UID_LABELS) {
      delete job.spec.selector?.matchLabels?.[label];
      delete job.spec.template.metadata?.labels?.[label];
    }
    return { item: job as unknown as GenericObject };
  },
};
