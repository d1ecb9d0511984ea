/**
 * DataProtectionApplication: an installation as one object. The operator makes of it what OADP's makes, with our program in the place of Velero's.
 *
 *   seen ──► the first thing that is wrong ──► Reconciled=False, Error: what runs goes on as it was
 *     └────► nothing is wrong ──► password, Secrets' labels, ConfigMaps, locations, server, node-agents; what is ours and not wanted any more goes
 *                                  └──► Reconciled=True, Complete
 *
 * Invariants:
 * - Everything made is owned by the application and goes with it; its permissions came with the operator and stay. The repository password stays as well: the bucket's backups need it.
 * - An application that is wrong takes nothing away.
 * - Guest mode leaves Velero's server, locations and node-agent to whoever made them, and the condition `Reconciled` to OADP's operator: our own is `DrayageReconciled`.
 */
import type { CloudStorage, DataProtectionApplication } from "@drayage/api";
import type { ConfigMap, Deployment } from "@drayage/kube";
import { desiredConfigMaps } from "./config-maps.ts";
import { desiredBackupLocations, desiredSnapshotLocations } from "./locations.ts";
import type { OwnedManifest } from "./owned-manifest.ts";
import { PLUGIN_IMAGE_KEYS } from "./plugins.ts";
import { correctedSpec, type Spec } from "./spec.ts";
import { problemWith, referencedSecrets } from "./validate.ts";
import { desiredClassOptions, desiredResticSecrets } from "./volsync-era.ts";
import { desiredMetricsService, desiredNodeAgent, desiredServer, desiredWebhookService } from "./workloads.ts";

export type Mode = "standalone" | "guest";

/** What a Secret holds, as far as it is looked at. Never logged, never in a message. */
export interface SecretFacts {
  readonly data: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
}

/** An object that the application owns. */
export interface OwnedObject {
  readonly kind: OwnedManifest["kind"];
  readonly name: string;
  /** Of a workload: what its selector is, which cannot be changed. */
  readonly selector?: Readonly<Record<string, string>>;
}

/** ConfigMaps whose data take the place of every argument of a role; `undefined` when the one that is named is not there. */
export interface ArgumentOverride {
  readonly configMap: string;
  readonly data: ConfigMap["data"] | undefined;
}

export interface Observed {
  readonly dpa: DataProtectionApplication;
  /** Other applications of the namespace. */
  readonly others: readonly string[];
  /** By name; one that is not here does not exist. */
  readonly secrets: ReadonlyMap<string, SecretFacts>;
  readonly cloudStorages: ReadonlyMap<string, CloudStorage>;
  readonly serverArguments?: ArgumentOverride;
  readonly nodeAgentArguments?: ArgumentOverride;
  /** The Deployment `velero`, whoever made it. */
  readonly server: Deployment | undefined;
  /** Whether OADP's own operator runs in this namespace. */
  readonly oadpOperatorRuns: boolean;
  readonly owned: readonly OwnedObject[];
  /** Image of this operator, and so of everything it makes. */
  readonly image: string;
  readonly hasRepositoryPassword: boolean;
}

export interface Condition {
  readonly type: "Reconciled" | "DrayageReconciled";
  readonly status: "True" | "False";
  readonly reason: "Complete" | "Error";
  readonly message: string;
}

export type Step =
  | { readonly do: "createRepositoryPassword" }
  | { readonly do: "labelSecret"; readonly name: string; readonly data?: Readonly<Record<string, string>> }
  | { readonly do: "apply"; readonly manifest: OwnedManifest }
  | { readonly do: "delete"; readonly kind: OwnedManifest["kind"]; readonly name: string }
  | { readonly do: "tell"; readonly type: "Normal" | "Warning"; readonly reason: string; readonly message: string }
  /** `without` is a condition of another mode, which nobody looks after any more. */
  | { readonly do: "setCondition"; readonly condition: Condition; readonly without?: Condition["type"] };

const MODE_ANNOTATION = "drayage.io/mode";
const COMPLETE = "Reconcile complete";

export function modeOf({ metadata }: DataProtectionApplication): Mode | undefined {
  const value = metadata.annotations?.[MODE_ANNOTATION] ?? "standalone";
  return value === "standalone" || value === "guest" ? value : undefined;
}

export function decide(observed: Observed): readonly Step[] {
  const { dpa } = observed;
  if (dpa.metadata.deletionTimestamp !== undefined) return [];
  const mode = modeOf(dpa);
  const problem = problemWith(observed, mode);
  if (problem !== undefined) return [...warnings(dpa.spec), setCondition(observed, "False", "Error", problem)];
  const wanted = desiredObjects(observed, mode ?? "standalone");
  return [
    ...warnings(dpa.spec),
    ...(mode === "guest" ? [] : secretSteps(observed)),
    ...replacements(observed, wanted),
    ...wanted.map((manifest): Step => ({ do: "apply", manifest })),
    ...leftovers(observed.owned, wanted),
    setCondition(observed, "True", "Complete", COMPLETE),
  ];
}

/** What is said where the API server refuses a step: much of a pod is checked by nobody before. */
export function decideAfterRefusal(observed: Observed, message: string): Step {
  return setCondition(observed, "False", "Error", message);
}

function setCondition(observed: Observed, status: Condition["status"], reason: Condition["reason"], message: string): Step {
  if (modeOf(observed.dpa) !== "guest") return { do: "setCondition", condition: { type: "Reconciled", status, reason, message }, without: "DrayageReconciled" };
  const step = { do: "setCondition", condition: { type: "DrayageReconciled", status, reason, message } } as const;
  return observed.oadpOperatorRuns ? step : { ...step, without: "Reconciled" };
}

/** Everything that should be there, in the order in which it can be made. */
export function desiredObjects(observed: Observed, mode: Mode): OwnedManifest[] {
  const { resourceLabels, resourceAnnotations } = observed.dpa.spec;
  return desiredParts(observed, mode).map((manifest) => {
    const { labels, annotations, ...metadata } = manifest.metadata;
    const noted = { ...resourceAnnotations, ...annotations };
    // What finds an object again goes before what somebody calls it.
    return {
      ...manifest,
      metadata: { ...metadata, labels: { ...resourceLabels, ...labels }, ...(Object.keys(noted).length === 0 ? {} : { annotations: noted }) },
    };
  });
}

function desiredParts(observed: Observed, mode: Mode): OwnedManifest[] {
  const spec = correctedSpec(observed.dpa.spec);
  const agent = desiredNodeAgent(observed, spec, mode);
  if (mode === "guest")
    return [...desiredConfigMaps(observed.dpa, spec).filter(({ kind, metadata }) => kind === "ConfigMap" && metadata.name.startsWith("node-agent-")), ...agent];
  return [
    ...desiredConfigMaps(observed.dpa, spec),
    ...desiredResticSecrets(observed, spec),
    ...desiredClassOptions(observed.dpa, spec),
    ...desiredBackupLocations(observed.dpa, spec, observed.cloudStorages),
    ...desiredSnapshotLocations(observed.dpa, spec),
    desiredServer(observed, spec),
    ...agent,
    desiredMetricsService(observed.dpa, spec),
    ...desiredWebhookService(observed.dpa),
  ];
}

function secretSteps({ dpa, secrets, hasRepositoryPassword }: Observed): Step[] {
  const steps: Step[] = [];
  if (!hasRepositoryPassword) {
    steps.push({ do: "createRepositoryPassword" });
    const message =
      'A repository password was generated in Secret "velero-repo-credentials". Keep a copy outside of this cluster (dray install --operator --recovery-file FILE writes one): without it the backups cannot be read again';
    steps.push({ do: "tell", type: "Warning", reason: "RepositoryPasswordGenerated", message });
  }
  for (const { name } of referencedSecrets(dpa.spec)) {
    const facts = secrets.get(name);
    if (facts === undefined) continue;
    // Made on Windows: a carriage return would become part of a key.
    const changed = Object.entries(facts.data).filter(([, text]) => text.includes("\r\n"));
    const labelled = facts.labels["dataprotectionapplication.name"] === dpa.metadata.name;
    if (labelled && changed.length === 0) continue;
    const data = Object.fromEntries(changed.map(([key, text]) => [key, Buffer.from(text.replaceAll("\r\n", "\n")).toString("base64")]));
    steps.push({ do: "labelSecret", name, ...(changed.length === 0 ? {} : { data }) });
  }
  return steps;
}

/** A workload whose selector another program chose cannot be changed into ours; it makes place first. */
function replacements({ owned }: Observed, wanted: readonly OwnedManifest[]): Step[] {
  return owned.flatMap(({ kind, name, selector }): Step[] => {
    const next = wanted.find((manifest) => manifest.kind === kind && manifest.metadata.name === name);
    if (next === undefined || selector === undefined) return [];
    const { matchLabels = {} } = (next["spec"] as { selector: { matchLabels?: Record<string, string> } }).selector;
    const same =
      Object.keys(selector).length === Object.keys(matchLabels).length && Object.entries(matchLabels).every(([key, value]) => selector[key] === value);
    return same ? [] : [{ do: "delete", kind, name }];
  });
}

function leftovers(owned: readonly OwnedObject[], wanted: readonly OwnedManifest[]): Step[] {
  const kept = new Set(wanted.map(({ kind, metadata }) => `${kind}/${metadata.name}`));
  return owned.filter(({ kind, name }) => !kept.has(`${kind}/${name}`)).map(({ kind, name }): Step => ({ do: "delete", kind, name }));
}

function warnings(spec: Spec): Step[] {
  const steps: Step[] = [];
  const tell = (reason: string, message: string): void => void steps.push({ do: "tell", type: "Warning", reason, message });
  if (spec.configuration?.nodeAgent?.uploaderType === "restic") {
    tell(
      "DeprecationResticFileSystemBackup",
      "spec.configuration.nodeAgent.uploaderType is restic, which is deprecated: volumes are read as kopia does; backups that restic made come back all the same",
    );
  }
  const ignored = Object.keys(spec.unsupportedOverrides ?? {}).filter((key) => PLUGIN_IMAGE_KEYS.includes(key));
  if (ignored.length > 0)
    tell(
      "PluginImageNotUsed",
      `spec.unsupportedOverrides: ${ignored.join(", ")} has no effect: what the plug-in does is part of the server. To run an image of your own, name it in customPlugins`,
    );
  return steps;
}
