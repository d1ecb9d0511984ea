/** Fills in what a Backup leaves open and says what is wrong with it. Pure: everything it needs to know is in `facts`. */
import {
  ANNOTATIONS,
  type Backup,
  type BackupSpec,
  type BackupStorageLocation,
  BUILTIN_DATA_MOVERS,
  DRAYAGE_DATA_MOVER,
  LABELS,
  validLabelValue,
} from "@drayage/api";
import { formatTime, messageOf } from "@drayage/base";
import { formatDuration, parseDuration } from "@drayage/kube";
import { BackupHooks } from "../hooks/backup-hooks.ts";
import { LabelFilter } from "../resource-selection/label-filter.ts";
import { filterFaults, namespaceFilterFaults, scopedFilterFaults } from "../resource-selection/name-filter.ts";
import { AUTO_EXCLUDED_CLUSTER, AUTO_EXCLUDED_NAMESPACED, usesOlderFilters, usesScopedFilters } from "../resource-selection/resource-filter.ts";
import type { ServerSettings } from "../server-settings.ts";

export interface BackupFacts {
  readonly nowMs: number;
  readonly settings: ServerSettings;
  /** Every location of the server's namespace. */
  readonly locations: readonly BackupStorageLocation[];
  /** Names of the VolumeSnapshotLocations there are. */
  readonly snapshotLocations: readonly string[];
  /** Namespaces that carry the label which keeps them out of backups. */
  readonly excludedNamespaces: readonly string[];
  readonly serverVersion: { readonly major: string; readonly minor: string; readonly gitVersion: string };
  /** Names by which movers can be chosen; undefined where they are not known. */
  readonly movers: readonly string[] | undefined;
}

export interface PreparedBackup {
  readonly backup: Backup;
  /** There exactly when nothing is wrong. */
  readonly location: BackupStorageLocation | undefined;
  readonly faults: readonly string[];
}

const FORMAT_VERSION = "1.1.0";

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
  checkMover(spec, facts, faults);
  fillSelection(spec, facts, faults);
  for (const name of spec.volumeSnapshotLocations ?? []) {
    if (!facts.snapshotLocations.includes(name)) faults.push(`volume snapshot location "${name}" does not exist`);
  }
  if (spec.resourcePolicy !== undefined && spec.resourcePolicy !== null) {
    faults.push(
      `spec.resourcePolicy names ${spec.resourcePolicy.kind} "${spec.resourcePolicy.name}", but resource policies are not supported by this version; leave it out`,
    );
  }
  if (spec.defaultVolumesToFsBackup === true) {
    faults.push("spec.defaultVolumesToFsBackup is true, but file-system backup is not supported by this version; set spec.snapshotMoveData instead");
  }
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
  return { backup: prepared, location: faults.length === 0 ? location : undefined, faults };
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

function checkMover(spec: BackupSpec, { movers }: BackupFacts, faults: string[]): void {
  const mover = spec.datamover ?? "";
  const known: readonly string[] = [...BUILTIN_DATA_MOVERS, DRAYAGE_DATA_MOVER, ...(movers ?? [])];
  if (movers === undefined || known.includes(mover)) return;
  faults.push(`spec.datamover is "${mover}", and there is no such mover; there is ${known.filter((name) => name !== "").join(", ")}`);
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
