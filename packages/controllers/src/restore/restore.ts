/**
 * The life of a Restore up to the end of its own work.
 *
 *   New ──► InProgress ──► WaitingForPluginOperations[PartiallyFailed] ──► (restore-operations)
 *    │          │    └───► Finalizing[PartiallyFailed] ──────────────────► (restore-operations)
 *    ▼          ▼
 *  FailedValidation   Failed: its backup could not be read, or it took server after server with it
 *
 * A restore runs as a job of this process, one at a time, so one that is InProgress without a job was left by a process that ended. It is gone on with from its first item: whatever it
 * created carries its name, and is taken for done. Its files in the bucket go with it when it is deleted: a finalizer sees to that.
 */
import type { Restore, RestoreStatus } from "@drayage/api";

export type RestorePhase = NonNullable<RestoreStatus["phase"]>;

export interface ObservedRestore {
  readonly phase: RestorePhase;
  readonly deleting: boolean;
  readonly hasFinalizer: boolean;
  /** Whether this process works on it. */
  readonly running: boolean;
  /** Whether there is room for another job. */
  readonly slotFree: boolean;
  /** How often it was gone on with after a process had ended. */
  readonly resumes: number;
}

/** A restore that ends its server each time must not do so for ever. */
export const RESUMES_MAX = 5;

export type RestoreDecision =
  | { readonly do: "nothing" }
  | { readonly do: "wait" }
  | { readonly do: "addFinalizer" }
  | { readonly do: "removeFiles" }
  | { readonly do: "start" }
  | { readonly do: "resume" }
  | { readonly do: "fail"; readonly reason: string };

const nothing: RestoreDecision = { do: "nothing" };

export const restorePhases: Readonly<Record<RestorePhase, (o: ObservedRestore) => RestoreDecision>> = {
  New: (o) => (o.running ? nothing : !o.hasFinalizer ? { do: "addFinalizer" } : o.slotFree ? { do: "start" } : { do: "wait" }),
  InProgress: (o) =>
    o.running
      ? nothing
      : o.resumes >= RESUMES_MAX
        ? {
            do: "fail",
            reason: `the server ended ${o.resumes + 1} times while it worked on this restore; delete what it left unfinished, and look into the server's log`,
          }
        : o.slotFree
          ? { do: "resume" }
          : { do: "wait" },
  FailedValidation: () => nothing,
  WaitingForPluginOperations: () => nothing,
  WaitingForPluginOperationsPartiallyFailed: () => nothing,
  Finalizing: () => nothing,
  FinalizingPartiallyFailed: () => nothing,
  Completed: () => nothing,
  PartiallyFailed: () => nothing,
  Failed: () => nothing,
};

export const decideRestore = (o: ObservedRestore): RestoreDecision =>
  o.deleting ? (o.hasFinalizer ? { do: "removeFiles" } : nothing) : restorePhases[o.phase](o);

export function restorePhaseOf(restore: Restore): RestorePhase {
  return restore.status?.phase ?? "New";
}
