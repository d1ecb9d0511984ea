// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DeleteBackupRequestSpec {
  /** Name of the backup. */
  backupName: string;
}

export interface DeleteBackupRequestStatus {
  /** What went wrong. */
  errors?: string[] | null;
  /** Where it is in its life. */
  phase?: "New" | "InProgress" | "Processed";
}

export interface DeleteBackupRequest {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DeleteBackupRequestSpec;
  status?: DeleteBackupRequestStatus;
}

export const deleteBackupRequests: KindDescriptor<DeleteBackupRequest> = { group: "velero.io", version: "v1", plural: "deletebackuprequests", kind: "DeleteBackupRequest", namespaced: true };
