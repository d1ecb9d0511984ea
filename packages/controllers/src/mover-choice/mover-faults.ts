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

/** Where one choice stands. */
interface Place {
  readonly mover: string;
  readonly parameters: string;
}

export function moverFaults({ backup, policies, claims, registry }: MoverFaultsOptions): string[] {
  const faults: string[] = [];
  const check = (mover: string, parameters: unknown, place: Place, resources: readonly string[] | undefined): void =>
    void faults.push(...choiceFaults(registry, mover, parameters, place, resources));
  const { spec, metadata } = backup;
  const annotation = `metadata.annotations[${MOVER_ANNOTATIONS.parameters}]`;
  check(spec.datamover ?? "", metadata.annotations?.[MOVER_ANNOTATIONS.parameters], { mover: "spec.datamover", parameters: annotation }, undefined);
  for (const [index, { action }] of (policies?.volumePolicies ?? []).entries()) {
    const path = `spec.resourcePolicy: ConfigMap "${spec.resourcePolicy?.name}" volumePolicies[${index}].action.parameters`;
    const { dataMover = "", dataMoverParameters } = action.parameters;
    const place = { mover: `${path}.dataMover`, parameters: `${path}.dataMoverParameters` };
    if (typeof dataMover !== "string") faults.push(`${place.mover} is ${JSON.stringify(dataMover)}, where the name of a mover is wanted`);
    else if (dataMover !== "") check(dataMover, dataMoverParameters, place, [PERSISTENT_VOLUME_CLAIMS]);
    else if (dataMoverParameters !== undefined) faults.push(`${place.parameters}: there is no dataMover beside it whose they could be`);
  }
  for (const found of registry.classes.filter((other) => mayBeChosen(other, spec))) {
    const path = `DataMoverClass "${found.metadata.name}"`;
    const resources = found.spec.selector?.resources ?? [PERSISTENT_VOLUME_CLAIMS];
    check(found.spec.mover, found.spec.parameters, { mover: `${path} spec.mover`, parameters: `${path} spec.parameters` }, resources);
  }
  for (const { metadata: marked } of claims) {
    const { labels = {}, annotations = {} } = marked;
    const mover = annotations[MOVER_ANNOTATIONS.mover] ?? labels[MOVER_ANNOTATIONS.mover] ?? "";
    if (mover === "") continue;
    const path = `PersistentVolumeClaim "${marked.namespace}/${marked.name}" metadata`;
    const where = annotations[MOVER_ANNOTATIONS.mover] === undefined ? "labels" : "annotations";
    const place = { mover: `${path}.${where}[${MOVER_ANNOTATIONS.mover}]`, parameters: `${path}.annotations[${MOVER_ANNOTATIONS.parameters}]` };
    check(mover, annotations[MOVER_ANNOTATIONS.parameters], place, [PERSISTENT_VOLUME_CLAIMS]);
  }
  return faults;
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

function choiceFaults(registry: MoverRegistry, name: string, given: unknown, place: Place, resources: readonly string[] | undefined): string[] {
  if (!isBuiltIn(name) && !registry.names.includes(name))
    return [`${place.mover} is "${name}", and there is no such mover; there is ${registry.names.join(", ")}`];
  try {
    const mover = registry.get(name, place.mover);
    const foreign = (resources ?? []).filter((resource) => !mover.kinds.includes(resource));
    if (foreign.length > 0) return [`${place.mover}: mover "${name}" does not move ${foreign.join(", ")}; it moves ${mover.kinds.join(", ")}`];
    const parameters = parametersIn(given);
    if (parameters === undefined) return [`${place.parameters}: an object of names and values is wanted${typeof given === "string" ? ", as JSON" : ""}`];
    return parameterProblems(mover, parameters).map((problem) => `${place.parameters}: ${problem}${name === "" ? "" : ` of mover "${name}"`}`);
  } catch (error) {
    return [`${place.mover}: ${messageOf(error)}`];
  }
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
