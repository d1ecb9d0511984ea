// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataMoverSpec {
  /** What it can do. */
  capabilities: {
    /** Takes volumes of mode Block. */
    block?: boolean;
    /** Stops when it is told to. */
    cancel?: boolean;
    /** Moves only what has changed. */
    incremental?: boolean;
    /** Resources that it moves, as kubectl names them. */
    kinds: string[];
    /** Says how far it is. */
    progress?: boolean;
  };
  /** The program in the image; the operation is its last argument. */
  command?: string[];
  /** A controller of the vendor's own takes DataUploads and DataDownloads of this name; no pod is made. */
  controller?: boolean;
  /** That controller removes what it moved when a DataMoverBackup asks for it; otherwise deleting it is left to the vendor. */
  deletesData?: boolean;
  /** One line for people. */
  description: string;
  /** The image of its pods; that of the installation when left out. */
  image?: string;
  /** The file in the image whose default export is the mover. */
  module?: string;
  /** The ConfigMap of the installation's namespace that has the module; mounted at /mover in its pods. */
  moduleFiles?: string;
  /** JSON Schema (draft 7) of what users can set. */
  parameters: Record<string, unknown>;
  /** Kinds of targets that it writes to. */
  targets?: string[];
  /** The version of the mover. */
  version: string;
}

export interface DataMoverStatus {
  /** Accepted - whether it can be used, and why not. */
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
}

export interface DataMover {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataMoverSpec;
  status?: DataMoverStatus;
}

export const dataMovers: KindDescriptor<DataMover> = { group: "drayage.io", version: "v1alpha1", plural: "datamovers", kind: "DataMover", namespaced: false };
