/**
 * What is said of an object when it is written: by the movers that are registered then, about its own fields alone (docs/design/0019). Pure.
 *
 *   a wrong parameter, a mover that does not move such things ──► refused
 *   a mover that is not registered ──► refused where the object is a request or has no other way to tell, else a warning: a mover may come later than what names it
 *
 * An update is refused only for what it makes wrong: an object that was wrong already can still be labelled, be given a status and be deleted.
 */
import { type Backup, type DataMover, type DataMoverClass, MOVER_ANNOTATIONS, type Schedule } from "@drayage/api";
import { messageOf } from "@drayage/base";
import type { ConfigMap } from "@drayage/kube";
import { PERSISTENT_VOLUME_CLAIMS } from "../actions/item-id.ts";
import { moverProblems } from "../mover-acceptance/mover-acceptance.ts";
import { classFaults, type MarkedObject, type MoverFault, markFaults, policyFaults, requestFaults } from "../mover-choice/mover-faults.ts";
import type { MoverRegistry } from "../mover-choice/mover-registry.ts";
import { readResourcePolicies } from "../resource-policy/resource-policies.ts";

export interface Fault {
  /** Path of the field. */
  readonly field: string;
  /** A sentence that begins with it. */
  readonly message: string;
}

export interface Verdict {
  /** Any refuses the object. */
  readonly faults: readonly Fault[];
  readonly warnings: readonly string[];
}

export interface Judged {
  /** `backups.velero.io`, `configmaps`: plural and group. */
  readonly groupResource: string;
  /** As it would be stored. Not checked yet. */
  readonly object: unknown;
  /** What it replaces. */
  readonly old?: unknown;
}

type Judge = (object: never, registry: MoverRegistry) => Verdict;

const NOTHING: Verdict = { faults: [], warnings: [] };

/** Kinds that are judged. */
const JUDGES: Readonly<Record<string, Judge>> = {
  "backups.velero.io": (backup: Backup, registry) => refuse(requestFaults(backup, backup.spec ?? {}, "spec", registry)),
  "schedules.velero.io": (schedule: Schedule, registry) => refuse(requestFaults(schedule, schedule.spec?.template ?? {}, "spec.template", registry)),
  "datamovers.drayage.io": (mover: DataMover) => ({
    faults: moverProblems(mover).map((message) => ({ field: "spec.parameters", message })),
    warnings: [],
  }),
  "datamoverclasses.drayage.io": (found: DataMoverClass, registry) => tolerate(classFaults(found, registry)),
  configmaps: judgePolicies,
  persistentvolumeclaims: judgeMarks,
  "storageclasses.storage.k8s.io": judgeMarks,
  "volumesnapshotclasses.snapshot.storage.k8s.io": judgeMarks,
};

/** Objects of other kinds are allowed. Throws what an object does that is not of its kind at all. */
export function judge({ groupResource, object, old }: Judged, registry: MoverRegistry): Verdict {
  const found = JUDGES[groupResource];
  if (found === undefined) return NOTHING;
  const now = found(object as never, registry);
  if (old === undefined || old === null || now.faults.length === 0) return now;
  const before = new Set(found(old as never, registry).faults.map(({ message }) => message));
  const isNew = ({ message }: Fault): boolean => !before.has(message);
  return { faults: now.faults.filter(isNew), warnings: [...now.warnings, ...now.faults.filter((fault) => !isNew(fault)).map(({ message }) => message)] };
}

function refuse(faults: readonly MoverFault[]): Verdict {
  return { faults: faults.map(({ field, message }) => ({ field, message })), warnings: [] };
}

function tolerate(faults: readonly MoverFault[]): Verdict {
  return {
    ...refuse(faults.filter((fault) => !fault.isUnusableMover)),
    warnings: faults.filter((fault) => fault.isUnusableMover).map(({ message }) => message),
  };
}

/** A ConfigMap whose text speaks of volume policies is taken for one only as far as it can be read as one; that it cannot is no more than a warning. */
function judgePolicies(map: ConfigMap, registry: MoverRegistry): Verdict {
  const [text = "", ...others] = Object.values(map.data ?? {});
  if (others.length > 0 || !text.includes("volumePolicies")) return NOTHING;
  try {
    return refuse(policyFaults(readResourcePolicies(map), "", registry));
  } catch (error) {
    return { faults: [], warnings: [messageOf(error)] };
  }
}

/** The application's, which no backup may keep from being made: a mover that is not there is only warned of. Parameters without a mover beside them have no effect. */
function judgeMarks(object: MarkedObject, registry: MoverRegistry): Verdict {
  const { annotations = {}, labels = {} } = object.metadata ?? {};
  const named = annotations[MOVER_ANNOTATIONS.mover] ?? labels[MOVER_ANNOTATIONS.mover];
  if (named === undefined && annotations[MOVER_ANNOTATIONS.parameters] !== undefined)
    return {
      faults: [],
      warnings: [`metadata.annotations[${MOVER_ANNOTATIONS.parameters}]: there is no ${MOVER_ANNOTATIONS.mover} beside it whose they could be`],
    };
  return tolerate(markFaults(object, registry, [PERSISTENT_VOLUME_CLAIMS]));
}
