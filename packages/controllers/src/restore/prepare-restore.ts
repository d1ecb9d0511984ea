/** Fills in what a Restore leaves open and says what is wrong with it. Pure: everything it needs to know is in `facts`. */
import type { Backup, BackupStorageLocation, Restore, RestoreSpec } from "@drayage/api";
import { LABELS } from "@drayage/api";
import { formatTime, messageOf, parseTime } from "@drayage/base";
import { type ConfigMap, formatDuration, parseDuration } from "@drayage/kube";
import { RestoreHooks } from "../hooks/restore-hooks.ts";
import { type ModifierRule, parseResourceModifiers } from "../resource-modifiers/resource-modifiers.ts";
import { LabelFilter } from "../resource-selection/label-filter.ts";
import { filterFaults, namespaceFilterFaults } from "../resource-selection/name-filter.ts";
import type { ServerSettings } from "../server-settings.ts";

export interface RestoreFacts {
  readonly nowMs: number;
  readonly settings: ServerSettings;
  /** Every Backup of the server's namespace. */
  readonly backups: readonly Backup[];
  readonly locations: readonly BackupStorageLocation[];
  /** The ConfigMap that spec.resourceModifier names. */
  readonly modifierConfig?: ConfigMap | undefined;
}

export interface PreparedRestore {
  readonly restore: Restore;
  /** Both are there exactly when nothing is wrong. */
  readonly source: { readonly backup: Backup; readonly location: BackupStorageLocation } | undefined;
  /** What is changed in objects before they are created. */
  readonly modifiers: readonly ModifierRule[];
  readonly faults: readonly string[];
}

/** Resources that describe the cluster the backup was made in, or backups themselves. They are written into the spec, in this order. */
export const NEVER_RESTORED = [
  "nodes",
  "events",
  "events.events.k8s.io",
  "backups.velero.io",
  "restores.velero.io",
  "resticrepositories.velero.io",
  "csinodes.storage.k8s.io",
  "volumeattachments.storage.k8s.io",
  "backuprepositories.velero.io",
] as const;

/** Of the format of backups. */
const FORMAT_MAJOR = 1;
const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

export function prepareRestore(restore: Restore, facts: RestoreFacts): PreparedRestore {
  const faults: string[] = [];
  const spec: RestoreSpec = structuredClone(restore.spec);
  checkSelection(spec, faults);
  fillTimeout(spec, facts.settings, faults);
  for (const [from, to] of Object.entries(spec.namespaceMapping ?? {})) {
    if (!DNS_LABEL.test(to)) faults.push(`spec.namespaceMapping maps "${from}" to "${to}", which cannot be the name of a namespace`);
  }
  const policy = spec.existingResourcePolicy ?? "";
  if (policy !== "" && policy !== "none" && policy !== "update") faults.push(`spec.existingResourcePolicy is "${policy}", where "none" or "update" is wanted`);
  const modifiers = readModifiers(spec, facts, faults);
  if (spec.resourcePolicy !== undefined && spec.resourcePolicy !== null) {
    faults.push(
      `spec.resourcePolicy names ${spec.resourcePolicy.kind} "${spec.resourcePolicy.name}", but resource policies are not supported by this version; leave it out`,
    );
  }
  try {
    faults.push(...new RestoreHooks(spec).faults);
  } catch (error) {
    faults.push(`spec.hooks: ${messageOf(error)}`);
  }
  const source = findSource(spec, facts, faults);
  return {
    restore: { ...restore, spec, status: { startTimestamp: formatTime(facts.nowMs) } },
    source: faults.length === 0 ? source : undefined,
    modifiers,
    faults,
  };
}

function readModifiers({ resourceModifier }: RestoreSpec, { modifierConfig }: RestoreFacts, faults: string[]): readonly ModifierRule[] {
  if (resourceModifier === undefined || resourceModifier === null) return [];
  const { kind, name } = resourceModifier;
  if (kind.toLowerCase() !== "configmap") faults.push(`spec.resourceModifier.kind is "${kind}", where "ConfigMap" is wanted`);
  else if (modifierConfig === undefined) faults.push(`spec.resourceModifier names ConfigMap "${name}", which is not in the namespace of the Restore`);
  else {
    try {
      return parseResourceModifiers(modifierConfig);
    } catch (error) {
      faults.push(`spec.resourceModifier: ${messageOf(error)}`);
    }
  }
  return [];
}

function checkSelection(spec: RestoreSpec, faults: string[]): void {
  for (const name of NEVER_RESTORED) if (spec.includedResources?.includes(name)) faults.push(`spec.includedResources names "${name}", which is never restored`);
  const resources = filterFaults(spec.includedResources ?? [], spec.excludedResources ?? []);
  faults.push(...resources.map((fault) => `spec.includedResources, spec.excludedResources: ${fault}`));
  spec.excludedResources = [...new Set([...(spec.excludedResources ?? []), ...NEVER_RESTORED])];
  faults.push(
    ...namespaceFilterFaults(spec.includedNamespaces ?? [], spec.excludedNamespaces ?? []).map(
      (fault) => `spec.includedNamespaces, spec.excludedNamespaces: ${fault}`,
    ),
  );
  if (spec.labelSelector !== undefined && spec.labelSelector !== null && spec.orLabelSelectors !== undefined && spec.orLabelSelectors !== null) {
    faults.push("spec.labelSelector and spec.orLabelSelectors are both given, where only one can be");
  }
  try {
    new LabelFilter(spec.labelSelector, spec.orLabelSelectors);
  } catch (error) {
    faults.push(`spec.labelSelector, spec.orLabelSelectors: ${messageOf(error)}`);
  }
}

function fillTimeout(spec: RestoreSpec, settings: ServerSettings, faults: string[]): void {
  const text = spec.itemOperationTimeout;
  const ms = text === undefined || text === "" ? 0 : parseDuration(text);
  if (ms === undefined || ms < 0) faults.push(`spec.itemOperationTimeout is "${text}", where a duration such as "4h0m0s" is wanted`);
  spec.itemOperationTimeout = formatDuration(ms === undefined || ms <= 0 ? settings.defaultItemOperationTimeoutMs : ms);
}

function findSource(spec: RestoreSpec, { backups, locations }: RestoreFacts, faults: string[]): PreparedRestore["source"] {
  const [backupName, scheduleName] = [spec.backupName ?? "", spec.scheduleName ?? ""];
  if ((backupName === "") === (scheduleName === "")) {
    faults.push(`exactly one of spec.backupName and spec.scheduleName is wanted, and ${backupName === "" ? "neither is" : "both are"} given`);
    return undefined;
  }
  if (scheduleName !== "") {
    const newest = newestOf(backups.filter(({ metadata }) => metadata.labels?.[LABELS.scheduleName] === scheduleName));
    if (newest === undefined) {
      faults.push(`schedule "${scheduleName}" has no completed backup`);
      return undefined;
    }
    spec.backupName = newest.metadata.name ?? "";
  }
  const backup = backups.find(({ metadata }) => metadata.name === spec.backupName);
  if (backup === undefined) {
    faults.push(`backup "${spec.backupName}" does not exist`);
    return undefined;
  }
  const phase = backup.status?.phase ?? "New";
  if (phase !== "Completed" && phase !== "PartiallyFailed")
    faults.push(`backup "${spec.backupName}" is ${phase}, where Completed or PartiallyFailed is wanted`);
  const newer = newerFormatOf(backup);
  if (newer !== undefined)
    faults.push(
      `backup "${spec.backupName}" has format version ${newer}, where at most ${FORMAT_MAJOR}.x is read here: it was made by a newer program; restore it with that one, or update this one`,
    );
  const location = locations.find(({ metadata }) => metadata.name === backup.spec.storageLocation);
  if (location === undefined) {
    faults.push(`backup storage location "${backup.spec.storageLocation}" of backup "${spec.backupName}" does not exist`);
    return undefined;
  }
  if (location.status?.phase !== "Available") {
    const why = location.status?.message?.replace(/^BackupStorageLocation ".*?" is unavailable: /, "");
    faults.push(`backup storage location "${location.metadata.name}" is unavailable${why === undefined || why === "" ? "" : `: ${why}`}`);
  }
  return { backup, location };
}

/** The format version of a backup when it is one that this program does not know. Later minor versions only add; a later major one may mean anything (Velero 1.18 would try all the same). */
function newerFormatOf({ status }: Backup): string | undefined {
  const formatVersion = status?.formatVersion ?? "";
  const major = Number(/^v?(\d+)/.exec(formatVersion)?.[1] ?? 0);
  if (major > FORMAT_MAJOR) return formatVersion;
  // The field that older programs wrote alone.
  return (status?.version ?? 0) > FORMAT_MAJOR ? String(status?.version) : undefined;
}

function newestOf(backups: readonly Backup[]): Backup | undefined {
  const startedMs = (backup: Backup): number => parseTime(backup.status?.startTimestamp) ?? 0;
  return backups.filter(({ status }) => status?.phase === "Completed").sort((a, b) => startedMs(b) - startedMs(a))[0];
}
