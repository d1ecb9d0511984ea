/** Fills in what a Backup leaves open and says what is wrong with it. Pure: everything it needs to know is in `facts`. */
import { ANNOTATIONS, type Backup, type BackupSpec, type BackupStorageLocation, LABELS, type VolumeSnapshotLocation, validLabelValue } from "@drayage/api";
import { formatTime, messageOf } from "@drayage/base";
import { type ConfigMap, formatDuration, type PersistentVolumeClaim, parseDuration } from "@drayage/kube";
import { BackupHooks } from "../hooks/backup-hooks.ts";
import { moverFaults } from "../mover-choice/mover-faults.ts";
import type { MoverRegistry } from "../mover-choice/mover-registry.ts";
import { type ResourcePolicies, readResourcePolicies } from "../resource-policy/resource-policies.ts";
import { LabelFilter } from "../resource-selection/label-filter.ts";
import { filterFaults, namespaceFilterFaults, scopedFilterFaults } from "../resource-selection/name-filter.ts";
import { AUTO_EXCLUDED_CLUSTER, AUTO_EXCLUDED_NAMESPACED, usesOlderFilters, usesScopedFilters } from "../resource-selection/resource-filter.ts";
import type { ServerSettings } from "../server-settings.ts";

export interface BackupFacts {
  readonly nowMs: number;
  readonly settings: ServerSettings;
  /** Every location of the server's namespace. */
  readonly locations: readonly BackupStorageLocation[];
  readonly snapshotLocations: readonly VolumeSnapshotLocation[];
  /** The ConfigMap that spec.resourcePolicy names, if it is there. */
  readonly policyConfigMap: ConfigMap | undefined;
  /** Namespaces that carry the label which keeps them out of backups. */
  readonly excludedNamespaces: readonly string[];
  readonly serverVersion: { readonly major: string; readonly minor: string; readonly gitVersion: string };
  readonly movers: MoverRegistry;
  /** Of the namespaces that it names. */
  readonly claims?: readonly PersistentVolumeClaim[];
}

export interface PreparedBackup {
  readonly backup: Backup;
  /** There exactly when nothing is wrong. */
  readonly location: BackupStorageLocation | undefined;
  /** What the ConfigMap of spec.resourcePolicy says. */
  readonly policies: ResourcePolicies | undefined;
  readonly faults: readonly string[];
}

const FORMAT_VERSION = "1.1.0";
/** What spec.resourcePolicy may refer to, in any case. */
const POLICY_KIND = "configmap";

/** The Backup with every default, its status as it is at the start (the phase is the caller's), and its faults. */
export function prepareBackup(backup: Backup, facts: BackupFacts): PreparedBackup {
  const { settings, nowMs } = facts;
  const faults: string[] = [];
  const spec: BackupSpec = structuredClone(backup.spec);

  const ttlMs = durationOr(spec.ttl, settings.defaultTtlMs, "spec.ttl", faults);
  spec.ttl = formatDuration(ttlMs);
  spec.csiSnapshotTimeout = formatDuration(durationOr(spec.csiSnapshotTimeout, settings.defaultCsiSnapshotTimeoutMs, "spec.csiSnapshotTimeout", faults));
  spec.itemOperationTimeout = formatDuration(
    durationOr(spec.itemOperationTimeout, settings.defaultItemOperationTimeoutMs, "spec.itemOperationTimeout", faults),
  );
  if (spec.volumeGroupSnapshotLabelKey === undefined || spec.volumeGroupSnapshotLabelKey === "")
    spec.volumeGroupSnapshotLabelKey = settings.defaultVolumeGroupSnapshotLabelKey;
  if (spec.defaultVolumesToRestic === true) spec.defaultVolumesToFsBackup = true;
  spec.defaultVolumesToFsBackup ??= settings.defaultVolumesToFsBackup;
  spec.snapshotMoveData ??= settings.defaultSnapshotMoveData;

  const location = chooseLocation(spec, facts, faults);
  fillSelection(spec, facts, faults);
  checkSnapshotLocations(spec, facts, faults);
  const policies = readPolicies(spec, facts, faults);
  faults.push(...moverFaults({ backup, policies, claims: facts.claims ?? [], registry: facts.movers }));
  checkSmallFields(spec, faults);
  attempt(faults, "spec.hooks", () => new BackupHooks(spec));

  const prepared: Backup = {
    ...backup,
    metadata: {
      ...backup.metadata,
      labels: { ...backup.metadata.labels, [LABELS.storageLocation]: validLabelValue(spec.storageLocation ?? "") },
      annotations: {
        ...backup.metadata.annotations,
        [ANNOTATIONS.sourceClusterGitVersion]: facts.serverVersion.gitVersion,
        [ANNOTATIONS.sourceClusterMajorVersion]: facts.serverVersion.major,
        [ANNOTATIONS.sourceClusterMinorVersion]: facts.serverVersion.minor,
        [ANNOTATIONS.resourceTimeout]: formatDuration(settings.resourceTimeoutMs),
      },
    },
    spec,
    status: { version: 1, formatVersion: FORMAT_VERSION, expiration: formatTime(nowMs + ttlMs), startTimestamp: formatTime(nowMs) },
  };
  return { backup: prepared, location: faults.length === 0 ? location : undefined, policies, faults };
}

/** A provider's snapshots go to one place. */
function checkSnapshotLocations(spec: BackupSpec, { snapshotLocations }: BackupFacts, faults: string[]): void {
  const byProvider = new Map<string, string>();
  for (const name of new Set(spec.volumeSnapshotLocations ?? [])) {
    const provider = snapshotLocations.find(({ metadata }) => metadata.name === name)?.spec.provider;
    const other = byProvider.get(provider ?? "");
    if (provider === undefined) faults.push(`volume snapshot location "${name}" does not exist`);
    else if (other !== undefined)
      faults.push(`spec.volumeSnapshotLocations names "${other}" and "${name}", both of provider "${provider}", where only one can be`);
    else byProvider.set(provider, name);
  }
}

function readPolicies(spec: BackupSpec, { policyConfigMap }: BackupFacts, faults: string[]): ResourcePolicies | undefined {
  const reference = spec.resourcePolicy;
  if (reference === undefined || reference === null) return undefined;
  if (reference.kind.toLowerCase() !== POLICY_KIND) {
    faults.push(`spec.resourcePolicy.kind is "${reference.kind}", only "${POLICY_KIND}" is known`);
    return undefined;
  }
  if (policyConfigMap === undefined) {
    faults.push(`spec.resourcePolicy names ConfigMap "${reference.name}", which does not exist in the namespace of the backup`);
    return undefined;
  }
  try {
    const policies = readResourcePolicies(policyConfigMap);
    if (policies.includeExclude !== undefined && usesOlderFilters(spec))
      faults.push(
        `ConfigMap "${reference.name}" has an includeExcludePolicy, which cannot be used together with spec.includedResources, spec.excludedResources and spec.includeClusterResources`,
      );
    return policies;
  } catch (error) {
    faults.push(`spec.resourcePolicy: ${messageOf(error)}`);
    return undefined;
  }
}

function checkSmallFields(spec: BackupSpec, faults: string[]): void {
  const parallel = spec.uploaderConfig?.parallelFilesUpload ?? 0;
  if (parallel < 0) faults.push(`spec.uploaderConfig.parallelFilesUpload is ${parallel}, where a number above 0 is wanted`);
  const key = spec.volumeGroupSnapshotLabelKey ?? "";
  attempt(faults, "spec.volumeGroupSnapshotLabelKey", () => new LabelFilter({ matchExpressions: [{ key, operator: "Exists" }] }, undefined));
  for (const [resource, order] of Object.entries(spec.orderedResources ?? {})) {
    const wrong = order.split(",").find((name) => !/^[^/\s]+(\/[^/\s]+)?$/.test(name.trim()));
    if (wrong !== undefined) faults.push(`spec.orderedResources.${resource} has "${wrong.trim()}", where namespace/name, or name at cluster scope, is wanted`);
  }
}

/** Zero and nothing mean the default, as the command lines of the field write them. */
function durationOr(text: string | undefined, defaultMs: number, field: string, faults: string[]): number {
  if (text === undefined || text === "") return defaultMs;
  const ms = parseDuration(text);
  if (ms === undefined || ms < 0) {
    faults.push(`${field} is "${text}", where a duration such as "10m0s" is wanted`);
    return defaultMs;
  }
  return ms === 0 ? defaultMs : ms;
}

function chooseLocation(spec: BackupSpec, { locations, settings }: BackupFacts, faults: string[]): BackupStorageLocation | undefined {
  const asked = spec.storageLocation !== undefined && spec.storageLocation !== "";
  if (!asked) spec.storageLocation = locations.find((location) => location.spec.default === true)?.metadata.name ?? settings.defaultStorageLocation;
  const location = locations.find(({ metadata }) => metadata.name === spec.storageLocation);
  const subject = `backup storage location "${spec.storageLocation}"`;
  if (location === undefined) {
    const known = locations.map(({ metadata }) => metadata.name).join(", ");
    faults.push(`${subject}${asked ? "" : ", the default,"} does not exist${known === "" ? "; create one first" : `; there is ${known}`}`);
    return undefined;
  }
  if (location.spec.accessMode === "ReadOnly") faults.push(`${subject} is read-only`);
  if (location.status?.phase !== "Available") {
    // The location's own message begins with the same words.
    const why = location.status?.message?.replace(/^BackupStorageLocation ".*?" is unavailable: /, "");
    faults.push(
      `${subject} is ${location.status?.phase === undefined ? "not checked yet" : "unavailable"}${why === undefined || why === "" ? "" : `: ${why}`}`,
    );
  }
  return location;
}

function fillSelection(spec: BackupSpec, facts: BackupFacts, faults: string[]): void {
  if (spec.labelSelector !== undefined && spec.labelSelector !== null && spec.orLabelSelectors !== undefined && spec.orLabelSelectors !== null) {
    faults.push("spec.labelSelector and spec.orLabelSelectors are both given, where only one can be");
  }
  attempt(faults, "spec.labelSelector", () => new LabelFilter(spec.labelSelector, undefined));
  attempt(faults, "spec.orLabelSelectors", () => new LabelFilter(undefined, spec.orLabelSelectors));

  if (facts.excludedNamespaces.length > 0) spec.excludedNamespaces = [...new Set([...(spec.excludedNamespaces ?? []), ...facts.excludedNamespaces])];
  if ((spec.includedNamespaces?.length ?? 0) === 0) spec.includedNamespaces = ["*"];
  faults.push(
    ...prefixed("spec.includedNamespaces, spec.excludedNamespaces", namespaceFilterFaults(spec.includedNamespaces ?? [], spec.excludedNamespaces ?? [])),
  );

  if (usesOlderFilters(spec) && usesScopedFilters(spec)) {
    faults.push("spec.includedResources, spec.excludedResources and spec.includeClusterResources cannot be used together with the lists per scope");
  }
  if (usesOlderFilters(spec)) {
    excludeAlways(spec, ["includedResources", "excludedResources"], [...AUTO_EXCLUDED_NAMESPACED, ...AUTO_EXCLUDED_CLUSTER], filterFaults, faults);
    return;
  }
  excludeAlways(spec, ["includedClusterScopedResources", "excludedClusterScopedResources"], AUTO_EXCLUDED_CLUSTER, scopedFilterFaults, faults);
  excludeAlways(spec, ["includedNamespaceScopedResources", "excludedNamespaceScopedResources"], AUTO_EXCLUDED_NAMESPACED, scopedFilterFaults, faults);
}

type ResourceList = Extract<keyof BackupSpec, `${"included" | "excluded"}${string}Resources`>;

/** Checks a pair of lists and puts `always` among the excludes; what is excluded is included no more. */
function excludeAlways(
  spec: BackupSpec,
  [included, excluded]: readonly [ResourceList, ResourceList],
  always: readonly string[],
  faultsOf: typeof filterFaults,
  faults: string[],
): void {
  const [includes, excludes] = [spec[included], spec[excluded]];
  const wrong = faultsOf(includes ?? [], excludes ?? []);
  faults.push(...prefixed(`spec.${included}, spec.${excluded}`, wrong));
  if (wrong.length > 0) return;
  const all = [...new Set([...(excludes ?? []), ...always])];
  spec[excluded] = all;
  if (includes !== undefined && includes !== null) spec[included] = includes.filter((name) => !all.includes(name));
}

function prefixed(field: string, faults: readonly string[]): string[] {
  return faults.map((fault) => `${field}: ${fault}`);
}

function attempt(faults: string[], field: string, check: () => unknown): void {
  try {
    check();
  } catch (error) {
    faults.push(`${field}: ${messageOf(error)}`);
  }
}
