/**
 * What was moved is to be deleted with its backup: Drayage asks by a DataMoverBackup that is being deleted with `spec.deletionPolicy: Delete`, since the registration says
 * `deletesData`. The answer is `status.dataRemoved`; false comes with a message, which the user reads, and the request is made again when the backup is deleted again.
 */
import { type DataMoverBackup, dataMoverBackups } from "@drayage/api";
import type { VendorContext } from "./vendor-context.ts";

export async function stepDeletion({ api, namespace, appliance }: VendorContext, { metadata, spec, status }: DataMoverBackup): Promise<void> {
  const { name = "", deletionTimestamp } = metadata;
  if (deletionTimestamp === undefined || spec.deletionPolicy !== "Delete" || status?.dataRemoved !== undefined) return;
  const answer = (change: object): Promise<void> => api.patch(dataMoverBackups, namespace, name, { status: change });
  try {
    if (status?.snapshotID !== undefined) await appliance.remove(status.snapshotID);
  } catch (error) {
    return answer({ dataRemoved: false, message: error instanceof Error ? error.message : String(error) });
  }
  return answer({ dataRemoved: true });
}
