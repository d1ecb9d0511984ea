/**
 * What is wrong with the movers and the parameters that a backup may come to use, seen before it begins, each with the path of its field. Whoever wrote a Backup, a volume policy or a
 * DataMoverClass is told there; a claim is looked at only where the Backup names its namespace: a backup of the whole cluster must not be stopped by what stands on one claim of one
 * tenant, whose data is then left out of it with the same message.
 */
import { type Backup, type BackupSpec, type DataMoverClass, MOVER_ANNOTATIONS } from "@drayage/api";
import { messageOf } from "@drayage/base";
import { type KubeClient, type PersistentVolumeClaim, persistentVolumeClaims } from "@drayage/kube";
import { type MoverParameters, parameterProblems } from "@drayage/mover-sdk";
import { PERSISTENT_VOLUME_CLAIMS } from "../actions/item-id.ts";
import { allOf } from "../all-of.ts";
import type { ResourcePolicies } from "../resource-policy/resource-policies.ts";
import { isBuiltIn, type MoverRegistry } from "./mover-registry.ts";

export interface MoverFaultsOptions {
  readonly backup: Backup;
  readonly policies: ResourcePolicies | undefined;
  /** Those that `claimsNamed` gave. */
  readonly claims: readonly PersistentVolumeClaim[];
  readonly registry: MoverRegistry;
}

/** One thing that is wrong. */
export interface MoverFault {
  /** Path of the field, with the object before it where it is another's. */
  readonly field: string;
  /** A sentence that begins with the path. */
  readonly message: string;
  /** The mover that is named is not registered, or its registration is of no use: that may change one day, and is no fault of who names it. */
  readonly isUnusableMover: boolean;
}

/** Where one choice stands. */
interface Place {
  readonly mover: string;
  readonly parameters: string;
}

/** An object by whose annotations, or label, a mover is chosen. */
export interface MarkedObject {
  readonly metadata?: { readonly annotations?: Readonly<Record<string, string>>; readonly labels?: Readonly<Record<string, string>> };
}

const PARAMETERS_ANNOTATION = `metadata.annotations[${MOVER_ANNOTATIONS.parameters}]`;

export function moverFaults({ backup, policies, claims, registry }: MoverFaultsOptions): string[] {
  const { spec } = backup;
  return [
    ...requestFaults(backup, spec, "spec", registry),
    ...policyFaults(policies, `spec.resourcePolicy: ConfigMap "${spec.resourcePolicy?.name}" `, registry),
    ...registry.classes
      .filter((other) => mayBeChosen(other, spec))
      .flatMap((found) => classFaults(found, registry, `DataMoverClass "${found.metadata.name}" `)),
    ...claims.flatMap(({ metadata }) =>
      markFaults({ metadata }, registry, [PERSISTENT_VOLUME_CLAIMS], `PersistentVolumeClaim "${metadata.namespace}/${metadata.name}" `),
    ),
  ].map(({ message }) => message);
}

/** What a Backup says itself, or a Schedule with the template at `path`, whose annotations its backups get. */
export function requestFaults({ metadata }: MarkedObject, spec: Pick<BackupSpec, "datamover">, path: string, registry: MoverRegistry): MoverFault[] {
  const place = { mover: `${path}.datamover`, parameters: PARAMETERS_ANNOTATION };
  return choiceFaults(registry, spec.datamover ?? "", metadata?.annotations?.[MOVER_ANNOTATIONS.parameters], place, undefined);
}

/** What is wrong with the movers of volume policies; `origin` begins each sentence. */
export function policyFaults(policies: ResourcePolicies | undefined, origin: string, registry: MoverRegistry): MoverFault[] {
  return (policies?.volumePolicies ?? []).flatMap(({ action }, index): MoverFault[] => {
    const path = `${origin}volumePolicies[${index}].action.parameters`;
    const { dataMover = "", dataMoverParameters } = action.parameters;
    const place = { mover: `${path}.dataMover`, parameters: `${path}.dataMoverParameters` };
    if (typeof dataMover !== "string") return [fault(place.mover, ` is ${JSON.stringify(dataMover)}, where the name of a mover is wanted`)];
    if (dataMover !== "") return choiceFaults(registry, dataMover, dataMoverParameters, place, [PERSISTENT_VOLUME_CLAIMS]);
    return dataMoverParameters === undefined ? [] : [fault(place.parameters, ": there is no dataMover beside it whose they could be")];
  });
}

/** What is wrong with a class beside the movers that there are; `origin` begins each sentence. */
export function classFaults({ spec }: DataMoverClass, registry: MoverRegistry, origin = ""): MoverFault[] {
  const resources = spec.selector?.resources ?? [PERSISTENT_VOLUME_CLAIMS];
  return choiceFaults(registry, spec.mover, spec.parameters, { mover: `${origin}spec.mover`, parameters: `${origin}spec.parameters` }, resources);
}

/** What is wrong with the annotations, or the label, of a claim, a StorageClass or a VolumeSnapshotClass; `resources` are what its mover would have to move. */
export function markFaults({ metadata }: MarkedObject, registry: MoverRegistry, resources: readonly string[], origin = ""): MoverFault[] {
  const { labels = {}, annotations = {} } = metadata ?? {};
  const mover = annotations[MOVER_ANNOTATIONS.mover] ?? labels[MOVER_ANNOTATIONS.mover] ?? "";
  if (mover === "") return [];
  const where = annotations[MOVER_ANNOTATIONS.mover] === undefined ? "labels" : "annotations";
  const place = { mover: `${origin}metadata.${where}[${MOVER_ANNOTATIONS.mover}]`, parameters: `${origin}${PARAMETERS_ANNOTATION}` };
  return choiceFaults(registry, mover, annotations[MOVER_ANNOTATIONS.parameters], place, resources);
}

/** The claims of the namespaces that a backup names, where it moves data and takes all of them. */
export async function claimsNamed(client: KubeClient, { spec }: Backup, movesData: boolean, signal: AbortSignal): Promise<readonly PersistentVolumeClaim[]> {
  if (!movesData || spec.labelSelector != null || spec.orLabelSelectors != null) return [];
  const excluded = new Set(spec.excludedNamespaces ?? []);
  const named = (spec.includedNamespaces ?? []).filter((name) => !/[*?[]/.test(name) && !excluded.has(name));
  const claims: PersistentVolumeClaim[] = [];
  for (const namespace of new Set(named)) claims.push(...(await allOf(client.listAll(persistentVolumeClaims, { namespace, signal }))));
  return claims.filter(({ metadata }) => metadata.labels?.["velero.io/exclude-from-backup"] !== "true");
}

function choiceFaults(registry: MoverRegistry, name: string, given: unknown, place: Place, resources: readonly string[] | undefined): MoverFault[] {
  if (!isBuiltIn(name) && !registry.names.includes(name))
    return [{ ...fault(place.mover, ` is "${name}", and there is no such mover; there is ${registry.names.join(", ")}`), isUnusableMover: true }];
  try {
    const mover = registry.get(name, place.mover);
    const foreign = (resources ?? []).filter((resource) => !mover.kinds.includes(resource));
    if (foreign.length > 0) return [fault(place.mover, `: mover "${name}" does not move ${foreign.join(", ")}; it moves ${mover.kinds.join(", ")}`)];
    const parameters = parametersIn(given);
    if (parameters === undefined) return [fault(place.parameters, `: an object of names and values is wanted${typeof given === "string" ? ", as JSON" : ""}`)];
    return parameterProblems(mover, parameters).map((problem) => fault(place.parameters, `: ${problem}${name === "" ? "" : ` of mover "${name}"`}`));
  } catch (error) {
    return [{ ...fault(place.mover, `: ${messageOf(error)}`), isUnusableMover: true }];
  }
}

function fault(field: string, what: string): MoverFault {
  return { field, message: `${field}${what}`, isUnusableMover: false };
}

/** Annotations hold JSON. */
function parametersIn(given: unknown): MoverParameters | undefined {
  if (given === undefined || given === null || given === "") return {};
  let value: unknown = given;
  if (typeof given === "string") {
    try {
      value = JSON.parse(given);
    } catch {
      return undefined;
    }
  }
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as MoverParameters) : undefined;
}

/** A class of namespaces that are not in the backup is of no concern to it. */
function mayBeChosen({ spec }: DataMoverClass, { includedNamespaces, excludedNamespaces }: BackupSpec): boolean {
  const own = spec.selector?.namespaces;
  if (own === undefined) return true;
  const includes = includedNamespaces ?? [];
  const named = includes.length > 0 && !includes.some((name) => /[*?[]/.test(name)) ? includes : own;
  return own.some((name) => named.includes(name) && !(excludedNamespaces ?? []).includes(name));
}
