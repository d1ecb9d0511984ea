/**
 * Whether a DataMover or a DataMoverClass can be used, said in its status as soon as it is written: whoever applied it reads it there (docs/design/0019), and not first in the
 * failure of the next backup. Pure.
 */
import type { DataMover, DataMoverClass, DataMoverClassStatus } from "@drayage/api";
import { formatTime } from "@drayage/base";
import { checkSchema } from "@drayage/mover-sdk";
import { classFaults } from "../mover-choice/mover-faults.ts";
import type { MoverRegistry } from "../mover-choice/mover-registry.ts";

export type AcceptedCondition = NonNullable<DataMoverClassStatus["conditions"]>[number];

export const ACCEPTED = "Accepted";

/** What is wrong with a registration; nothing: it can be used. */
export function moverProblems({ spec }: DataMover): readonly string[] {
  return checkSchema(spec.parameters).map((problem) => `spec.${problem}`);
}

/** What is wrong with a class beside the movers that there are. */
export function classProblems(found: DataMoverClass, registry: MoverRegistry): readonly string[] {
  return classFaults(found, registry).map(({ message }) => message);
}

/** The condition to write, or undefined where it stands there already. */
export function acceptance(object: DataMover | DataMoverClass, problems: readonly string[], nowMs: number): AcceptedCondition | undefined {
  const current = object.status?.conditions?.find(({ type }) => type === ACCEPTED);
  const accepted = problems.length === 0;
  const next = {
    type: ACCEPTED,
    status: accepted ? ("True" as const) : ("False" as const),
    reason: accepted ? "Valid" : "Invalid",
    message: problems.join("; "),
    observedGeneration: object.metadata.generation ?? 0,
  };
  const isThere = (Object.keys(next) as (keyof typeof next)[]).every((field) => current?.[field] === next[field]);
  if (isThere) return undefined;
  const since = current?.status === next.status ? current.lastTransitionTime : undefined;
  return { ...next, lastTransitionTime: since ?? formatTime(nowMs) };
}
