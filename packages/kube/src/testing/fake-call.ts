/** What tests see and set of the fake client. */
import type { Clock, RandomSource } from "@drayage/base";
import type { ObjectKey, PodExecOptions, PodExecResult } from "../index.ts";

export type FakeVerb =
  | "get"
  | "list"
  | "watch"
  | "create"
  | "replace"
  | "replaceStatus"
  | "patch"
  | "patchStatus"
  | "apply"
  | "delete"
  | "deleteCollection"
  | "request";

/** One call as it came in, before anything was done. */
export interface FakeCall {
  readonly verb: FakeVerb;
  /** `pods`, `datauploads.velero.io`; the path for `request`. */
  readonly resource: string;
  readonly namespace: string | undefined;
  readonly name: string | undefined;
  /** The object of a create, replace or apply; the patch of a patch. */
  readonly body?: unknown;
  /** Counted from 1, reads and writes together. */
  readonly number: number;
}

export interface FakeKubeClientOptions {
  readonly clock?: Clock;
  readonly random?: RandomSource;
  /** Kinds with a status subresource beyond the built-in ones and those of external-snapshotter. Velero's have none. */
  readonly statusSubresources?: readonly string[];
}

/** Answers of the parts of the port that have no state here. */
export interface FakeHandlers {
  request?: (method: string, path: string, body: unknown) => unknown;
  podExec?: (key: ObjectKey, options: PodExecOptions) => Promise<PodExecResult> | PodExecResult;
  podLog?: (key: ObjectKey) => string;
}
