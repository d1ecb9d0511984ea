// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface DataMoverClassSpec {
  /** Chosen where no other class fits; of those, the first by name. */
  default?: boolean;
  /** Name of the DataMover. */
  mover: string;
  /** What is set of its parameters. */
  parameters?: Record<string, unknown>;
  /** What it is for; everything in it has to fit. */
  selector?: {
    /** Labels of the object. */
    matchLabels?: Record<string, string>;
    /** Namespaces of the object. */
    namespaces?: string[];
    /** Resources, as kubectl names them; claims when left out. */
    resources?: string[];
    /** Storage classes of the claim. */
    storageClasses?: string[];
  };
}

export interface DataMoverClassStatus {
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

export interface DataMoverClass {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: DataMoverClassSpec;
  status?: DataMoverClassStatus;
}

export const dataMoverClasses: KindDescriptor<DataMoverClass> = { group: "drayage.io", version: "v1alpha1", plural: "datamoverclasses", kind: "DataMoverClass", namespaced: false };
