/**
 * Which mover moves an object, with which parameters, and why. The first that says something decides:
 *
 *   volume policy ► the object's annotation or label ► a DataMoverClass that fits ► StorageClass, VolumeSnapshotClass ► the backup's spec.datamover ► the default class ► the built-in mover
 *
 * Parameters come from where the mover came from, over those of the Backup's annotation where the Backup names the same mover, over the mover's defaults.
 * The built-in mover is for claims alone: any other resource is moved only when something chooses a mover for it.
 */
import { type Backup, type DataMoverClass, MOVER_ANNOTATIONS } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { type MoverParameters, resolveParameters } from "@drayage/mover-sdk";
import { PERSISTENT_VOLUME_CLAIMS } from "../actions/item-id.ts";
import type { MoverRegistry } from "./mover-registry.ts";

export interface ChoiceSubject {
  readonly groupResource: string;
  readonly namespace: string | undefined;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  /** Of a claim. */
  readonly storageClass?: Marked | undefined;
  readonly snapshotClass?: Marked | undefined;
  /** Parameters of the volume policy that fits it. */
  readonly policy?: Readonly<Record<string, unknown>> | undefined;
}

/** An object that may carry the annotations of a choice. */
export interface Marked {
  readonly metadata: { readonly name?: string; readonly annotations?: Readonly<Record<string, string>> };
}

export interface MoverChoice {
  /** As it was named; empty for the default. */
  readonly mover: string;
  readonly builtin: boolean;
  readonly vendorController: boolean;
  /** Checked, with defaults. Those of the built-in mover only as far as they were given. */
  readonly parameters: MoverParameters;
  /** `DataMoverClass "gold" fits`. */
  readonly reason: string;
}

interface Candidate {
  readonly mover: string;
  readonly parameters: MoverParameters;
  /** For messages: `the annotation of claim "a/b"`. */
  readonly origin: string;
  readonly reason: string;
}

/** Keys of a volume policy's parameters. */
const POLICY_MOVER = "dataMover";
const POLICY_PARAMETERS = "dataMoverParameters";

/** Undefined where nobody moves it. Throws VALIDATION_FAILED for a mover that does not exist or does not take such objects, and for parameters that do not fit. */
export function chooseMover(subject: ChoiceSubject, backup: Backup, registry: MoverRegistry): MoverChoice | undefined {
  const chosen = candidate(subject, backup, registry);
  if (chosen === undefined) return undefined;
  const mover = registry.get(chosen.mover, chosen.origin);
  if (!mover.kinds.includes(subject.groupResource)) {
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot move ${subject.groupResource} "${nameOf(subject)}" with mover "${chosen.mover}", which ${chosen.origin} names: it moves ${mover.kinds.join(", ")}`,
    );
  }
  const given = { ...backupParameters(backup, chosen.mover), ...chosen.parameters };
  const resolved = resolveParameters(mover, given, chosen.origin);
  const parameters = mover.builtin ? Object.fromEntries(Object.entries(resolved).filter(([name]) => name in given)) : resolved;
  const { builtin, vendorController } = mover;
  return { mover: chosen.mover, builtin, vendorController, parameters, reason: chosen.reason };
}

function candidate(subject: ChoiceSubject, backup: Backup, registry: MoverRegistry): Candidate | undefined {
  const isClaim = subject.groupResource === PERSISTENT_VOLUME_CLAIMS;
  const fits = (dataMoverClass: DataMoverClass): boolean => selects(dataMoverClass, subject);
  const { datamover = "" } = backup.spec;
  const asked = isClaim || (datamover !== "" && registry.names.includes(datamover) && registry.get(datamover, "").kinds.includes(subject.groupResource));
  return (
    fromPolicy(subject) ??
    fromMarks(subject) ??
    fromClass(registry.classes.find((found) => found.spec.default !== true && fits(found))) ??
    fromMapping("StorageClass", subject.storageClass) ??
    fromMapping("VolumeSnapshotClass", subject.snapshotClass) ??
    (asked && datamover !== ""
      ? { mover: datamover, parameters: {}, origin: "spec.datamover of the backup", reason: "the backup's spec.datamover" }
      : undefined) ??
    fromClass(registry.classes.find((found) => found.spec.default === true && fits(found))) ??
    (isClaim ? { mover: "", parameters: {}, origin: "the backup", reason: "it is the default" } : undefined)
  );
}

function fromPolicy({ policy }: ChoiceSubject): Candidate | undefined {
  const mover = policy?.[POLICY_MOVER];
  if (typeof mover !== "string" || mover === "") return undefined;
  const parameters = policy?.[POLICY_PARAMETERS] ?? {};
  return {
    mover,
    parameters: objectOf(parameters, `${POLICY_PARAMETERS} of the volume policy`),
    origin: "the volume policy",
    reason: "a volume policy names it",
  };
}

function fromMarks(subject: ChoiceSubject): Candidate | undefined {
  const annotation = subject.annotations[MOVER_ANNOTATIONS.mover];
  const mover = annotation ?? subject.labels[MOVER_ANNOTATIONS.mover];
  if (mover === undefined || mover === "") return undefined;
  const what = annotation === undefined ? "label" : "annotation";
  const origin = `the ${what} of ${subject.groupResource} "${nameOf(subject)}"`;
  return { mover, parameters: parsed(subject.annotations[MOVER_ANNOTATIONS.parameters], origin), origin, reason: `its ${what} names it` };
}

function fromClass(found: DataMoverClass | undefined): Candidate | undefined {
  if (found === undefined) return undefined;
  const origin = `DataMoverClass "${found.metadata.name}"`;
  return {
    mover: found.spec.mover,
    parameters: found.spec.parameters ?? {},
    origin,
    reason: found.spec.default === true ? `${origin} is the default` : `${origin} fits`,
  };
}

function fromMapping(kind: string, found: Marked | undefined): Candidate | undefined {
  const mover = found?.metadata.annotations?.[MOVER_ANNOTATIONS.mover];
  if (mover === undefined || mover === "") return undefined;
  const origin = `${kind} "${found?.metadata.name}"`;
  return { mover, parameters: parsed(found?.metadata.annotations?.[MOVER_ANNOTATIONS.parameters], origin), origin, reason: `${origin} names it` };
}

/** The Backup's own parameters, for the mover that it names or, naming none, for the one that is chosen. */
function backupParameters({ metadata, spec }: Backup, mover: string): MoverParameters {
  const named = spec.datamover ?? "";
  return named === mover ? parsed(metadata.annotations?.[MOVER_ANNOTATIONS.parameters], "the backup") : {};
}

function selects({ spec }: DataMoverClass, subject: ChoiceSubject): boolean {
  const { resources = [PERSISTENT_VOLUME_CLAIMS], namespaces, matchLabels = {}, storageClasses } = spec.selector ?? {};
  return (
    resources.includes(subject.groupResource) &&
    (namespaces === undefined || namespaces.includes(subject.namespace ?? "")) &&
    Object.entries(matchLabels).every(([key, value]) => subject.labels[key] === value) &&
    (storageClasses === undefined || storageClasses.includes(subject.storageClass?.metadata.name ?? ""))
  );
}

function parsed(text: string | undefined, origin: string): MoverParameters {
  if (text === undefined || text === "") return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DrayError("VALIDATION_FAILED", `Cannot use parameters of ${origin}: annotation ${MOVER_ANNOTATIONS.parameters} is not JSON`, { cause });
  }
  return objectOf(value, `parameters of ${origin}`);
}

function objectOf(value: unknown, what: string): MoverParameters {
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return value as MoverParameters;
  throw new DrayError("VALIDATION_FAILED", `Cannot use ${what}: an object of names and values is wanted`);
}

function nameOf({ namespace, name }: ChoiceSubject): string {
  return namespace === undefined ? name : `${namespace}/${name}`;
}
