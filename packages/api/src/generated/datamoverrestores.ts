// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataMoverRestoreSpec {
  /** Set to true to ask for cancellation; it cannot be taken back. */
  cancel?: boolean;
  /** Name of the DataMover. */
  mover: string;
  /** What is set of its parameters, with its defaults. */
  parameters?: Record<string, unknown>;
  /** Facts that the mover left behind. */
  result?: Record<string, string>;
  /** What the mover calls the moved data. */
  snapshotID: string;
  /** What is moved. */
  source: {
    /** The version of its kind. */
    apiVersion: string;
    /** Its kind. */
    kind: string;
    /** Its name. */
    name: string;
    /** Its namespace; none at cluster scope. */
    namespace?: string;
  };
  /** Where to; a backup location unless the mover knows others. */
  target: {
    /** Its kind. */
    kind: string;
    /** Its name. */
    name: string;
  };
  /** How long it may take, as 4h0m0s. */
  timeout?: string;
}

export interface DataMoverRestoreStatus {
  /** When it was taken up; the time limit for preparing counts from here. */
  acceptedTimestamp?: string | null;
  /** When it ended. */
  completionTimestamp?: string | null;
  /** What is known of it. */
  conditions?: Array<{
    /** When the status changed last. */
    lastTransitionTime?: string;
    /** For people. */
    message?: string;
    /** The generation that was looked at. */
    observedGeneration?: number;
    /** One word. */
    reason?: string;
    /** Whether it holds. */
    status: "True" | "False" | "Unknown";
    /** What it is about. */
    type: string;
  }>;
  /** More about the state, for people. */
  message?: string;
  /** Where it is in its life. */
  phase?: "New" | "Accepted" | "Prepared" | "InProgress" | "Canceling" | "Canceled" | "Completed" | "Failed";
  /** How far it is. */
  progress?: {
    /** Bytes that are through. */
    bytesDone?: number;
    /** Bytes in all. */
    totalBytes?: number;
  };
  /** When it began. */
  startTimestamp?: string | null;
}

export interface DataMoverRestore {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataMoverRestoreSpec;
  status?: DataMoverRestoreStatus;
}

export const dataMoverRestores: KindDescriptor<DataMoverRestore> = { group: "drayage.io", version: "v1alpha1", plural: "datamoverrestores", kind: "DataMoverRestore", namespaced: true };
