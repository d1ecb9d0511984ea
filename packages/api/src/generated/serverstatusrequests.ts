// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface ServerStatusRequestStatus {
  phase?: "New" | "Processed";
  plugins?: Array<{
    kind: string;
    name: string;
  }> | null;
  processedTimestamp?: string | null;
  serverVersion?: string;
}

export interface ServerStatusRequest {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: Record<string, unknown>;
  status?: ServerStatusRequestStatus;
}

export const serverStatusRequests: KindDescriptor<ServerStatusRequest> = { group: "velero.io", version: "v1", plural: "serverstatusrequests", kind: "ServerStatusRequest", namespaced: true };
