/**
 * What is wrong with a DataProtectionApplication: the first thing found, in the order in which OADP looks, so that who mends one learns of the next as there.
 * A message names the field and what is wanted.
 */
import { parseDuration, parseQuantity } from "@drayage/kube";
import type { Mode, Observed } from "./dpa.ts";
import { locationName } from "./locations.ts";
import { CLOUD_PLUGINS, CREDENTIAL_KEY, type DefaultPlugin, NO_SECRET, type Provider, providerOf } from "./plugins.ts";
import { type BackupLocation, backsUpImages, type PodConfig, type Spec, type VeleroSpec } from "./spec.ts";

const ERA_ANNOTATION = "drayage.io/volsync-era";

/** Whether the annotation asks for the data mover of OADP 1.1 and 1.2. */
export function wantsVolSyncEra({ dpa }: Pick<Observed, "dpa">): boolean {
  return dpa.metadata.annotations?.[ERA_ANNOTATION] === "true";
}

type Check = (observed: Observed, spec: Spec) => string | undefined;

export function problemWith(observed: Observed, mode: Mode | undefined): string | undefined {
  if (mode === undefined)
    return `annotation drayage.io/mode is ${quoted(observed.dpa.metadata.annotations?.["drayage.io/mode"])}, standalone or guest is wanted`;
  // A guest has nodes to look after, and nothing else of what is checked here.
  const checks = mode === "guest" ? GUEST_CHECKS : CHECKS;
  for (const check of checks) {
    const problem = check(observed, observed.dpa.spec);
    if (problem !== undefined) return problem;
  }
  return undefined;
}

const onlyOne: Check = ({ others }) =>
  others.length === 0 ? undefined : `a namespace can have one DataProtectionApplication, and this one has ${others.map(quoted).join(", ")} as well`;

const veleroIsThere: Check = (_observed, { configuration }) =>
  configuration?.velero === undefined ? "spec.configuration.velero is missing, {} at least is wanted" : undefined;

const locationsGoWithConfirmation: Check = (_observed, spec) => {
  const count = spec.backupLocations?.length ?? 0;
  if (spec.configuration.velero?.noDefaultBackupLocation !== true)
    return count === 0 ? "spec.backupLocations is empty: a backup location is wanted, or spec.configuration.velero.noDefaultBackupLocation: true" : undefined;
  if (count > 0) return "spec.configuration.velero.noDefaultBackupLocation is true, and there are backup locations: one of them is wanted";
  return backsUpImages(spec) ? "spec.backupImages: false is wanted where there is no backup location" : undefined;
};

/** Each location for itself: its form, prefix, credential, name, provider, and what the provider needs. */
const eachBackupLocation: Check = (observed, spec) => {
  for (const [index, location] of (spec.backupLocations ?? []).entries()) {
    const path = `spec.backupLocations[${index}]`;
    const problem =
      formOf(path, location) ??
      prefixOf(path, location, spec) ??
      credentialOf(path, location, observed, spec) ??
      defaultOf(path, location, locationName(observed.dpa, location, index)) ??
      providerProblem(path, location, observed);
    if (problem !== undefined) return problem;
  }
  return undefined;
};

function formOf(path: string, { velero, bucket }: BackupLocation): string | undefined {
  if (velero === undefined && bucket === undefined) return `${path} has neither velero nor bucket, one of them is wanted`;
  return velero !== undefined && bucket !== undefined ? `${path} has both velero and bucket, one of them is wanted` : undefined;
}

function prefixOf(path: string, { velero, bucket }: BackupLocation, spec: Spec): string | undefined {
  const prefix = velero === undefined ? bucket?.prefix : velero.objectStorage?.prefix;
  if ((prefix ?? "") !== "" || !backsUpImages(spec)) return undefined;
  return `${path}.${velero === undefined ? "bucket" : "velero.objectStorage"}.prefix is empty: it is wanted while spec.backupImages is not false`;
}

function credentialOf(path: string, location: BackupLocation, observed: Observed, spec: Spec): string | undefined {
  if (hasFlag(spec, NO_SECRET)) return undefined;
  const { velero, bucket } = location;
  const credential = velero?.credential ?? bucket?.credential;
  const where = `${path}.${velero === undefined ? "bucket" : "velero"}.credential`;
  if (bucket !== undefined && credential === undefined) return `${where} is missing: name and key of a Secret are wanted`;
  if (credential !== undefined) {
    if ((credential.name ?? "") === "") return `${where}.name is empty: the name of a Secret is wanted`;
    if ((credential.key ?? "") === "") return `${where}.key is empty: a key of Secret ${quoted(credential.name)} is wanted`;
  }
  const provider = bucket === undefined ? providerOf(velero?.provider ?? "") : "aws";
  const name = credential?.name ?? (provider === undefined ? undefined : defaultSecretOf(provider));
  const key = credential?.key ?? CREDENTIAL_KEY;
  if (name === undefined) return undefined;
  const missing = secretProblem(observed, name, key);
  if (missing !== undefined) return `${where}: ${missing}`;
  return backsUpImages(spec) && provider === "aws" ? awsProfileProblem(where, observed, { name, key }, velero?.config ?? bucket?.config) : undefined;
}

/** The registry of images has credentials of its own, which are taken out of the file: a profile with a key pair, or one that a role stands in for. */
function awsProfileProblem(
  where: string,
  { secrets }: Observed,
  { name, key }: { readonly name: string; readonly key: string },
  config: Readonly<Record<string, string>> | undefined,
): string | undefined {
  const profile = config?.["profile"] || "default";
  const lines = (secrets.get(name)?.data[key] ?? "").split(/\r?\n/).map((line) => line.trim());
  const start = lines.indexOf(`[${profile}]`);
  if (start < 0) return `${where}: key ${quoted(key)} of Secret ${quoted(name)} has no profile [${profile}]`;
  const end = lines.findIndex((line, index) => index > start && line.startsWith("["));
  const fields = new Set(lines.slice(start + 1, end < 0 ? undefined : end).map((line) => line.split("=")[0]?.trim()));
  const byRole = ["role_arn", "web_identity_token_file", "sts_regional_endpoints"].some((field) => fields.has(field));
  if (byRole || (fields.has("aws_access_key_id") && fields.has("aws_secret_access_key"))) return undefined;
  return `${where}: profile [${profile}] in key ${quoted(key)} of Secret ${quoted(name)} has no aws_access_key_id and aws_secret_access_key, nor a role`;
}

function defaultOf(path: string, { velero, bucket }: BackupLocation, name: string): string | undefined {
  if (name !== "default" || velero?.default === true || bucket?.default === true) return undefined;
  return `${path} is named default, and is not the default: default: true is wanted, or another name`;
}

function providerProblem(path: string, { velero, bucket }: BackupLocation, observed: Observed): string | undefined {
  if (velero === undefined) {
    const name = bucket?.cloudStorageRef?.name ?? "";
    const storage = observed.cloudStorages.get(name);
    if (storage === undefined) return `${path}.bucket.cloudStorageRef: CloudStorage ${quoted(name)} does not exist`;
    const { provider } = storage.spec;
    return provider === "aws"
      ? undefined
      : `${path}.bucket.cloudStorageRef: CloudStorage ${quoted(name)} is of provider ${quoted(provider)}, aws is wanted: make the bucket there, and name it in velero.objectStorage.bucket`;
  }
  const provider = providerOf(velero.provider ?? "");
  const at = `${path}.velero`;
  if (provider === undefined) return `${at}.provider is ${quoted(velero.provider)}: aws, azure or gcp is wanted, with or without velero.io/`;
  if ((velero.objectStorage?.bucket ?? "") === "") return `${at}.objectStorage.bucket is empty: the name of a bucket is wanted`;
  const config = velero.config ?? {};
  const needed: Readonly<Record<Provider, readonly string[]>> = {
    aws: config["s3ForcePathStyle"] === "true" ? ["region"] : [],
    azure: ["resourceGroup", "storageAccount"],
    gcp: [],
  };
  const missing = needed[provider].find((field) => (config[field] ?? "") === "");
  return missing === undefined ? durationsOf(at, velero) : `${at}.config.${missing} is missing`;
}

function durationsOf(path: string, velero: NonNullable<BackupLocation["velero"]>): string | undefined {
  for (const field of ["backupSyncPeriod", "validationFrequency"] as const) {
    const text = velero[field];
    if (text !== undefined && text !== null && text !== "" && parseDuration(text) === undefined)
      return `${path}.${field} is ${quoted(text)}: a duration such as 1h30m is wanted`;
  }
  return undefined;
}

const oneDefault: Check = ({ dpa }, spec) => {
  const locations = spec.backupLocations ?? [];
  const defaults = locations.filter(({ velero, bucket }) => velero?.default === true || bucket?.default === true);
  if (defaults.length > 1) return `spec.backupLocations has ${defaults.length} defaults: one is wanted`;
  const names = locations.map((location, index) => locationName(dpa, location, index));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) return `spec.backupLocations has two locations named ${quoted(twice)}`;
  const confirmed = spec.configuration.velero?.noDefaultBackupLocation === true;
  return defaults.length === 0 && !confirmed ? "spec.backupLocations has no default: default: true is wanted on one of them" : undefined;
};

const SNAPSHOT_CONFIG: Readonly<Record<Provider, readonly string[]>> = {
  aws: ["profile", "region", "credentialsFile", "enableSharedConfig"],
  gcp: ["project", "snapshotLocation"],
  azure: ["apiTimeout", "incremental", "subscriptionId", "resourceGroup"],
};

const eachSnapshotLocation: Check = (observed, spec) => {
  for (const [index, { velero }] of (spec.snapshotLocations ?? []).entries()) {
    const path = `spec.snapshotLocations[${index}].velero`;
    if (velero === undefined || velero === null) return `${path} is missing`;
    const provider = providerOf(velero.provider ?? "");
    if (provider === undefined) return `${path}.provider is ${quoted(velero.provider)}: aws, azure or gcp is wanted, with or without velero.io/`;
    if (provider === "aws" && (velero.config?.["region"] ?? "") === "") return `${path}.config.region is missing`;
    const unknown = Object.keys(velero.config ?? {}).find((key) => !SNAPSHOT_CONFIG[provider].includes(key));
    if (unknown !== undefined) return `${path}.config.${unknown} is not known: ${SNAPSHOT_CONFIG[provider].join(", ")} are`;
    if (!pluginsOf(spec).some((plugin) => CLOUD_PLUGINS[plugin]?.provider === provider))
      return `${path}.provider is ${provider}, which spec.configuration.velero.defaultPlugins does not have`;
    if (hasFlag(spec, NO_SECRET) || velero.credential === undefined) continue;
    if ((velero.credential.name ?? "") === "") return `${path}.credential.name is empty: the name of a Secret is wanted`;
    if ((velero.credential.key ?? "") === "") return `${path}.credential.key is empty: a key of Secret ${quoted(velero.credential.name)} is wanted`;
    const missing = secretProblem(observed, velero.credential.name ?? "", velero.credential.key);
    if (missing !== undefined) return `${path}.credential: ${missing}`;
  }
  return undefined;
};

/** Where movers run must be where node-agents run. */
const affinityFitsNodeSelector: Check = (_observed, { configuration }) => {
  const { podConfig, loadAffinity } = configuration.nodeAgent ?? {};
  const nodeSelector = Object.entries(podConfig?.nodeSelector ?? {});
  if (loadAffinity === undefined || nodeSelector.length === 0) return undefined;
  const path = "spec.configuration.nodeAgent.loadAffinity";
  if (loadAffinity.length > 1) return `${path} has ${loadAffinity.length} entries: one at most is wanted beside podConfig.nodeSelector`;
  const [only] = loadAffinity;
  if ((only?.nodeSelector?.matchExpressions ?? []).length > 0) return `${path}[0].nodeSelector.matchExpressions is not wanted beside podConfig.nodeSelector`;
  const missing = nodeSelector.find(([key, value]) => only?.nodeSelector?.matchLabels?.[key] !== value);
  return missing === undefined ? undefined : `${path}[0].nodeSelector.matchLabels lacks ${missing[0]}=${missing[1]} of podConfig.nodeSelector`;
};

const dataMoverOfThen: Check = (observed, { features }) =>
  features?.dataMover === undefined || wantsVolSyncEra(observed)
    ? undefined
    : `spec.features.dataMover is of OADP 1.2 and must go, as must the plug-in vsm: data are moved without it. To restore backups of OADP 1.1 and 1.2, annotate this object with ${ERA_ANNOTATION}: "true"`;

const eraCredential: Check = (observed, { features }) => {
  const { enable, credentialName = "" } = features?.dataMover ?? {};
  if (enable !== true) return undefined;
  if (credentialName === "") return "spec.features.dataMover.credentialName is empty: the Secret with the restic password is wanted";
  const missing = secretProblem(observed, credentialName, "RESTIC_PASSWORD");
  return missing === undefined ? eraSettings(features?.dataMover ?? {}) : `spec.features.dataMover.credentialName: ${missing}`;
};

/** What OADP handed on unread, to controllers that ended or went on without it. */
function eraSettings(dataMover: NonNullable<NonNullable<Spec["features"]>["dataMover"]>): string | undefined {
  const path = "spec.features.dataMover";
  const { timeout = "", snapshotRetainPolicy } = dataMover;
  if (timeout !== "" && parseDuration(timeout) === undefined) return `${path}.timeout is ${quoted(timeout)}: a duration such as 10m is wanted`;
  const { within: _duration, ...kept } = snapshotRetainPolicy ?? {};
  const numbers: readonly (readonly [string, string | undefined])[] = [
    ["maxConcurrentBackupVolumes", dataMover.maxConcurrentBackupVolumes],
    ["maxConcurrentRestoreVolumes", dataMover.maxConcurrentRestoreVolumes],
    ["pruneInterval", dataMover.pruneInterval],
    ...Object.entries(kept).map(([field, value]) => [`snapshotRetainPolicy.${field}`, value] as const),
  ];
  const wrong = numbers.find(([, value]) => value !== undefined && value !== "" && !/^\d{1,4}$/.test(value));
  return wrong === undefined ? undefined : `${path}.${wrong[0]} is ${quoted(wrong[1])}: a whole number is wanted`;
}

const noRestic: Check = (_observed, { configuration }) =>
  configuration.restic === undefined
    ? undefined
    : "spec.configuration.restic is not used any more: spec.configuration.nodeAgent is wanted, with enable and uploaderType";

const operatorType: Check = (_observed, { unsupportedOverrides }) => {
  const type = unsupportedOverrides?.["operator-type"];
  return type === undefined || type === "mtc" ? undefined : `spec.unsupportedOverrides.operator-type is ${quoted(type)}: mtc is wanted, or nothing`;
};

const plugins: Check = (observed, spec) => {
  const named = pluginsOf(spec);
  const path = "spec.configuration.velero.defaultPlugins";
  if (named.includes("vsm") && !wantsVolSyncEra(observed)) return `${path} has vsm, which must go: data are moved without it`;
  if (named.includes("aws") && named.includes("legacy-aws")) return `${path} has aws and legacy-aws: one of them is wanted`;
  const custom = spec.configuration.velero?.customPlugins ?? [];
  const twice = custom.find(({ name }, index) => custom.findIndex((other) => other.name === name) !== index);
  return twice === undefined ? undefined : `spec.configuration.velero.customPlugins has two plug-ins named ${quoted(twice.name)}`;
};

const quantities: Check = (_observed, { configuration }) =>
  quantityProblem("spec.configuration.velero.podConfig", configuration.velero?.podConfig) ??
  quantityProblem("spec.configuration.nodeAgent.podConfig", configuration.nodeAgent?.podConfig);

function quantityProblem(path: string, pod: PodConfig | undefined): string | undefined {
  for (const kind of ["requests", "limits"] as const) {
    for (const [name, value] of Object.entries((pod?.resourceAllocations?.[kind] ?? {}) as Record<string, number | string>)) {
      if (parseQuantity(String(value)) === undefined)
        return `${path}.resourceAllocations.${kind}.${name} is ${quoted(value)}: a quantity such as 500m or 128Mi is wanted`;
    }
  }
  return undefined;
}

/** OADP hands these to Velero, which ends at once; here the application says what is wrong. */
const settings: Check = (_observed, { configuration }) => {
  const { velero = {}, nodeAgent } = configuration;
  const durations: readonly (readonly [path: string, value: string | undefined])[] = [
    ...(["itemOperationSyncFrequency", "defaultItemOperationTimeout", "resourceTimeout"] as const).map((field) => [`velero.${field}`, velero[field]] as const),
    ...(["timeout", "dataMoverPrepareTimeout", "resourceTimeout"] as const).map((field) => [`nodeAgent.${field}`, nodeAgent?.[field]] as const),
  ];
  const wrong = durations.find(([, value]) => value !== undefined && value !== "" && parseDuration(value) === undefined);
  if (wrong !== undefined) return `spec.configuration.${wrong[0]} is ${quoted(wrong[1])}: a duration such as 1h30m is wanted`;
  const qps = velero.args?.["client-qps"];
  if (qps !== undefined && !Number.isFinite(Number.parseFloat(qps))) return `spec.configuration.velero.args.client-qps is ${quoted(qps)}: a number is wanted`;
  return podResourceProblem("spec.configuration.nodeAgent", nodeAgent?.podResources);
};

function podResourceProblem(path: string, resources: Readonly<Record<string, string | undefined>> | undefined): string | undefined {
  const wrong = Object.entries(resources ?? {}).find(([, value]) => value !== undefined && value !== "" && parseQuantity(value) === undefined);
  return wrong === undefined ? undefined : `${path}.podResources.${wrong[0]} is ${quoted(wrong[1])}: a quantity such as 500m or 128Mi is wanted`;
}

const maintenanceResources: Check = (_observed, { configuration }) => {
  for (const [key, { podResources }] of Object.entries(configuration.repositoryMaintenance ?? {})) {
    const problem = podResourceProblem(`spec.configuration.repositoryMaintenance.${key}`, podResources);
    if (problem !== undefined) return problem;
  }
  return undefined;
};

const nonAdmin: Check = (_observed, spec) =>
  spec.nonAdmin?.enable === true
    ? "spec.nonAdmin.enable is true, and NonAdminBackup, NonAdminRestore and NonAdminBackupStorageLocation are not served: leave it out or false; a Schedule of the administrator's backs up others' namespaces, or OADP's non-admin controller, deployed beside this, serves them by what else spec.nonAdmin says"
    : undefined;

const argumentOverrides: Check = ({ serverArguments, nodeAgentArguments }) => {
  const missing = [serverArguments, nodeAgentArguments].find((override) => override !== undefined && override.data === undefined);
  return missing === undefined ? undefined : `ConfigMap ${quoted(missing.configMap)}, which an annotation names for arguments, does not exist`;
};

const nobodyElseServes: Check = ({ dpa, server, oadpOperatorRuns }) => {
  if (oadpOperatorRuns)
    return 'OADP\'s operator runs in this namespace and works on this object as well: remove it, or annotate this object with drayage.io/mode: "guest" to add a node-agent beside its Velero';
  const owned = server?.metadata.ownerReferences?.some(({ uid }) => uid === dpa.metadata.uid) === true;
  return server === undefined || owned
    ? undefined
    : 'Deployment "velero" of this namespace was made by somebody else: remove it, or annotate this object with drayage.io/mode: "guest" to add a node-agent beside it';
};

const GUEST_CHECKS: readonly Check[] = [affinityFitsNodeSelector, noRestic, quantities, settings, argumentOverrides];
const CHECKS: readonly Check[] = [
  ...[onlyOne, veleroIsThere, locationsGoWithConfirmation, eachBackupLocation, oneDefault, eachSnapshotLocation, affinityFitsNodeSelector],
  ...[
    dataMoverOfThen,
    eraCredential,
    noRestic,
    operatorType,
    plugins,
    quantities,
    settings,
    maintenanceResources,
    nonAdmin,
    argumentOverrides,
    nobodyElseServes,
  ],
];

/** Secrets that the spec refers to, with those that go without saying. */
export function referencedSecrets(spec: Spec): { readonly name: string; readonly key: string }[] {
  const found = new Map<string, { name: string; key: string }>();
  const add = (name: string | undefined, key: string): void => {
    if (name !== undefined && name !== "") found.set(`${name}/${key}`, { name, key });
  };
  for (const { velero, bucket } of spec.backupLocations ?? []) {
    const credential = velero?.credential ?? bucket?.credential;
    const provider = bucket === undefined ? providerOf(velero?.provider ?? "") : "aws";
    add(credential?.name ?? (provider === undefined ? undefined : defaultSecretOf(provider)), credential?.key ?? CREDENTIAL_KEY);
  }
  for (const { velero } of spec.snapshotLocations ?? []) add(velero?.credential?.name, velero?.credential?.key ?? CREDENTIAL_KEY);
  add(spec.features?.dataMover?.credentialName, "RESTIC_PASSWORD");
  return [...found.values()];
}

function defaultSecretOf(provider: Provider): string {
  return Object.values(CLOUD_PLUGINS).find((plugin) => plugin.provider === provider)?.secretName ?? "";
}

function secretProblem({ secrets }: Observed, name: string, key: string): string | undefined {
  const secret = secrets.get(name);
  if (secret === undefined) return `Secret ${quoted(name)} does not exist`;
  return (secret.data[key] ?? "") === "" ? `Secret ${quoted(name)} has no data at key ${quoted(key)}` : undefined;
}

function pluginsOf({ configuration }: Spec): readonly DefaultPlugin[] {
  return configuration.velero?.defaultPlugins ?? [];
}

function hasFlag({ configuration }: Spec, flag: string): boolean {
  const velero: VeleroSpec = configuration.velero ?? {};
  return velero.featureFlags?.includes(flag) === true;
}

function quoted(value: unknown): string {
  return JSON.stringify(value ?? "");
}
