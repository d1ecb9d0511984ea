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
  /** One line for people. */
  description: string;
  /** The image of its pods; that of the installation when left out. */
  image?: string;
  /** The file in the image whose default export is the mover. */
  module?: string;
  /** JSON Schema (draft 7) of what users can set. */
  parameters: Record<string, unknown>;
  /** Kinds of targets that it writes to. */
  targets?: string[];
  /** The version of the mover. */
  version: string;
}

export interface DataMover {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataMoverSpec;
}

export const dataMovers: KindDescriptor<DataMover> = { group: "drayage.io", version: "v1alpha1", plural: "datamovers", kind: "DataMover", namespaced: false };
