// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface ServerStatusRequestStatus {
  /** Where it is in its life. */
  phase?: "New" | "Processed";
  /** Plug-ins of the server. */
  plugins?: Array<{
    /** The kind of this object. */
    kind: string;
    /** Name. */
    name: string;
  }> | null;
  /** When it was answered. */
  processedTimestamp?: string | null;
  /** Version of the server. */
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
