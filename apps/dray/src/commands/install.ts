import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { backupStorageLocations } from "@drayage/api";
import { DrayError, formatTime, hasCode, messageOf } from "@drayage/base";
import { type LocationKind, locationKind } from "@drayage/blob/locations";
import {
  backupLocation,
  CLOUD_CREDENTIALS,
  GUEST_NODE_AGENT,
  generateRepositoryPassword,
  guestManifests,
  helmChart,
  type InstallLocation,
  installManifests,
  type Manifest,
  NODE_AGENT_NAME,
  operatorManifests,
  REPO_CREDENTIALS,
  type RecoveryFile,
  type RecoveryLocation,
  readRecoveryFile,
  repositoryPasswordSecret,
  writeRecoveryFile,
} from "@drayage/install";
import { customResourceDefinitions, daemonSets, type KubeClient, namespaces, type ObjectKey, secrets } from "@drayage/kube";
import { type Command, Option } from "commander";
import { stringify } from "yaml";
import { type ClusterOptions, collect, namespaceOf, parseOptionalBoolean, parsePairs, withCluster, withClusterOptions } from "../cluster/access.ts";
import { applyManifests, waitForInstallation, waitForNodeAgents, waitForOperator } from "../cluster/installation.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { parseLogLevel } from "../roles/process-logger.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { addImage } from "./mover-add.ts";

/** Velero's default, known to everybody. */
const STATIC_PASSWORD = "static-passw0rd";
const INSTALL_LIMIT_MS = 5 * 60_000;

interface Options extends ClusterOptions {
  readonly provider?: string;
  readonly bucket?: string;
  readonly prefix?: string;
  readonly backupLocationConfig?: string[];
  readonly locationName: string;
  readonly secretFile?: string;
  /** False with --no-secret. */
  readonly secret: boolean;
  readonly cacert?: string;
  readonly image?: string;
  readonly useNodeAgent: boolean;
  readonly admissionWebhook?: boolean;
  readonly operator?: boolean;
  readonly guest?: boolean;
  readonly claimBuiltin?: boolean;
  readonly recoveryFile?: string;
  readonly repositoryPasswordFile?: string;
  readonly adopt?: boolean;
  readonly dryRun?: boolean;
  readonly output?: "yaml" | "json";
  readonly helmChart?: string;
  readonly mover?: string[];
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly logLevel?: string;
  readonly kubeletRootDir?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .option("--provider <name>", "aws (any S3), azure, gcp or fs")
    .option("--bucket <name>", "bucket of the backup location")
    .option("--prefix <path>", "folder in the bucket")
    .option("--backup-location-config <pairs>", "region=…,s3Url=…,s3ForcePathStyle=true", collect)
    .option("--location-name <name>", "name of the backup location", "default")
    .option("--secret-file <file>", "credentials for the store, as an AWS credentials file")
    .option("--no-secret", "the store needs no keys, or the nodes have a role of their own")
    .option("--cacert <file>", "PEM of a CA that signed the store's certificate")
    .option("--image <name>", "the image of server, node-agents and movers")
    .addOption(
      new Option("--use-node-agent [true|false]", "run a node-agent on each node")
        .preset(true)
        .default(true)
        .argParser(parseOptionalBoolean("--use-node-agent")),
    )
    .addOption(
      new Option("--admission-webhook [true|false]", "refuse wrong movers and parameters when they are written")
        .preset(true)
        .default(true)
        .argParser(parseOptionalBoolean("--admission-webhook")),
    )
    .option("--guest", "beside a Velero server, which stays: node-agents alone, for backups whose data mover is drayage")
    .option("--claim-builtin", "with --guest: in place of Velero's own node-agent, which must have been removed")
    .option("--operator", "the operator alone: a DataProtectionApplication says what it installs")
    .option("--recovery-file <file>", "where the repository password is kept, or comes back from")
    .option("--repository-password-file <file>", "a password of your own instead of a generated one")
    .option("--adopt", "the bucket's repositories have that password already, whatever it is")
    .option("--log-level <level>", "debug, info, warn or error")
    .option("--kubelet-root-dir <path>", "the kubelet's folder on the nodes, /var/lib/kubelet when left out")
    .option("--dry-run", "print the manifests, without Secrets, instead of applying them; no cluster is asked")
    .addOption(new Option("-o, --output <format>", "of what --dry-run prints").choices(["yaml", "json"]).default("yaml"))
    .option("--helm-chart <dir>", "write the Helm chart of this version there instead of installing")
    .option("--mover <image>", "also register this mover, which describes itself in a pod; may be given more than once", collect)
    .option("--wait", "wait until everything runs")
    .option("--timeout <duration>", "with --wait: how long to wait, 5m when left out")
    .action((options: Options) => {
      if (options.helmChart !== undefined) return writeChart(resolve(terminal.cwd, options.helmChart), terminal);
      // What is printed is the same for every cluster.
      if (options.dryRun === true) return install(options, { namespace: namespaceOf(options, terminal) }, terminal);
      return withCluster(options, terminal, (access) => install(options, access, terminal));
    });
}

/** Writes the chart into a folder that is not there or empty. Throws PATH_NOT_EMPTY. */
function writeChart(folder: string, terminal: Terminal): void {
  if (existsSync(folder) && readdirSync(folder).length > 0) {
    throw new DrayError("PATH_NOT_EMPTY", `Cannot write the chart to "${folder}": it is not empty`, { hint: "Name a folder that is not there yet." });
  }
  for (const { path, text } of helmChart(programVersion())) {
    mkdirSync(dirname(join(folder, path)), { recursive: true });
    writeFileSync(join(folder, path), text);
  }
  terminal.out(`Chart written to ${folder}:  helm install drayage ${folder} --namespace velero --create-namespace\n`);
}

/** Where to install; without a client what would be installed is printed. */
interface Target {
  readonly client?: KubeClient;
  readonly namespace: string;
}

/** What `dray install` does, with a client that is there already. Throws USAGE, VALIDATION_FAILED, KUBE_CONFLICT, PATH_NOT_FOUND, PATH_IO before anything is created. */
export async function install(options: Options, { client, namespace }: Target, terminal: Terminal): Promise<void> {
  const timeoutMs = parseTimeout(options.timeout) ?? INSTALL_LIMIT_MS;
  if (options.mover !== undefined && (options.guest === true || options.operator === true || options.dryRun === true))
    throw new DrayError(
      "USAGE",
      `Cannot install with --mover and ${options.guest === true ? "--guest" : options.operator === true ? "--operator" : "--dry-run"}`,
      {
        hint: "Movers are registered in a cluster that has Drayage's server: dray mover add IMAGE, after this.",
      },
    );
  const dryRun = options.dryRun === true || client === undefined;
  if (options.guest === true || options.claimBuiltin === true)
    return installGuest(options, { ...(client === undefined ? {} : { client }), namespace, timeoutMs }, terminal);
  // Everything is read and checked before anything is written or created.
  const recovery = options.recoveryFile === undefined ? undefined : resolve(terminal.cwd, options.recoveryFile);
  const recovered = recovery !== undefined && existsSync(recovery) ? readRecoveryFile(recovery) : undefined;
  const location = options.operator === true ? noLocation(options) : locationFrom(options, recovered, terminal);
  const given = options.secretFile === undefined ? undefined : readText(options.secretFile, "--secret-file", terminal);
  const existing = options.dryRun === true || client === undefined ? NOTHING : await existingInstallation(client, namespace, terminal.signal);
  const credentials = given ?? existing.credentials;
  if (location !== undefined && kindOf(location) !== "fs" && credentials === undefined && options.secret && !dryRun) {
    throw new DrayError("USAGE", `Cannot install: nothing says how to reach bucket "${location.bucket}"`, {
      hint: "Give its keys with --secret-file FILE, or say --no-secret where the nodes have a role of their own.",
    });
  }
  if (options.operator === true && existing.password === undefined && recovery === undefined && options.repositoryPasswordFile === undefined) {
    // The operator makes one for the first application, and says so.
    return bringIn(
      operatorManifests({ namespace, ...imageAndLogLevel(options) }),
      options,
      { ...(client === undefined ? {} : { client }), namespace, timeoutMs },
      terminal,
    );
  }
  const password = choosePassword(options, { existing: existing.password, recovered, recovery }, terminal);
  if (recovery !== undefined && !dryRun)
    keepRecovery(recovery, recovered, { password, locations: [...existing.locations, ...(location ? [location] : [])] }, terminal);
  if (options.operator === true) {
    const manifests = [...operatorManifests({ namespace, ...imageAndLogLevel(options) }), repositoryPasswordSecret(namespace, password)];
    return bringIn(manifests, options, { ...(client === undefined ? {} : { client }), namespace, timeoutMs }, terminal);
  }
  const manifests = installManifests({
    namespace,
    ...imageAndLogLevel(options),
    ...ofNodeAgents(options),
    repositoryPassword: password,
    nodeAgent: options.useNodeAgent,
    ...(options.admissionWebhook === undefined ? {} : { admissionWebhook: options.admissionWebhook }),
    ...(location === undefined ? {} : { location }),
    ...(credentials === undefined ? {} : { credentials }),
  });
  // Every location that the file knows comes back with it; which one is the default, the first says.
  const known = new Set([location?.name, ...existing.locations.map(({ name }) => name)]);
  for (const other of options.bucket === undefined ? (recovered?.locations ?? []) : [])
    if (!known.has(other.name)) manifests.push(backupLocation(namespace, { ...other, default: false }) as unknown as Manifest);
  return bringIn(manifests, options, { ...(client === undefined ? {} : { client }), namespace, timeoutMs }, terminal);
}

function imageAndLogLevel({ image, logLevel }: Options): { readonly image: string; readonly logLevel?: string } {
  return { image: image ?? `drayage/dray:${programVersion()}`, ...(logLevel === undefined ? {} : { logLevel: parseLogLevel(logLevel) }) };
}

function ofNodeAgents({ kubeletRootDir }: Options): { readonly nodeAgentArgs?: readonly string[] } {
  return kubeletRootDir === undefined ? {} : { nodeAgentArgs: [`--kubelet-root-dir=${kubeletRootDir}`] };
}

/** With the operator, locations are a matter of the DataProtectionApplication. Throws USAGE. */
function noLocation({ provider, bucket, prefix, secretFile, kubeletRootDir }: Options): undefined {
  const given = Object.entries({ "--provider": provider, "--bucket": bucket, "--prefix": prefix, "--secret-file": secretFile }).find(
    ([, value]) => value !== undefined,
  );
  if (kubeletRootDir !== undefined)
    throw new DrayError("USAGE", "Cannot install the operator with --kubelet-root-dir: it starts the node-agents itself", {
      hint: 'Leave it out; the nodes are to have the folder, or a link to it, at "/var/lib/kubelet".',
    });
  if (given === undefined) return undefined;
  throw new DrayError("USAGE", `Cannot install the operator with ${given[0]}: a DataProtectionApplication says where backups are kept`, {
    hint: "Install the operator without it, create the credentials as a Secret, and name both in spec.backupLocations.",
  });
}

/** Velero has kinds, namespace, locations and password already. Throws USAGE, KUBE_NOT_FOUND where it is not installed, KUBE_CONFLICT where its node-agent is in the way. */
async function installGuest(options: Options, access: Target & { readonly timeoutMs: number }, terminal: Terminal): Promise<void> {
  const { client, namespace } = access;
  const claimBuiltin = options.claimBuiltin === true;
  if (options.guest !== true) throw new DrayError("USAGE", "Cannot install with --claim-builtin alone: it goes with --guest");
  const foreign = Object.entries({
    "--provider": options.provider,
    "--bucket": options.bucket,
    "--secret-file": options.secretFile,
    "--recovery-file": options.recoveryFile,
  });
  const given = foreign.find(([, value]) => value !== undefined)?.[0] ?? (options.operator === true ? "--operator" : undefined);
  if (given !== undefined)
    throw new DrayError("USAGE", `Cannot install as a guest with ${given}: Velero keeps locations and passwords`, {
      hint: "Leave it out: what Velero has is used.",
    });
  if (options.dryRun !== true && client !== undefined) {
    const crd = await client.find(customResourceDefinitions, { name: "datauploads.velero.io" }, terminal.signal);
    if (crd === undefined)
      throw new DrayError("KUBE_NOT_FOUND", `Cannot install as a guest: there is no Velero with data movement in this cluster`, {
        hint: "Install Velero 1.14 or later with its node-agent's kinds, or Drayage as a whole: dray install without --guest.",
      });
    const otherName = claimBuiltin ? GUEST_NODE_AGENT : NODE_AGENT_NAME;
    const other = await client.find(daemonSets, { namespace, name: otherName }, terminal.signal);
    if (other?.metadata.labels?.["app.kubernetes.io/name"] === "drayage")
      throw new DrayError(
        "KUBE_CONFLICT",
        `Cannot install as a guest: DaemonSet "${otherName}" of Drayage runs already, and two of a node would take the same volumes`,
        {
          hint: `Remove it first: kubectl -n ${namespace} delete daemonset ${otherName}`,
        },
      );
    const theirs = await client.find(daemonSets, { namespace, name: NODE_AGENT_NAME }, terminal.signal);
    if (claimBuiltin && theirs !== undefined && theirs.metadata.labels?.["app.kubernetes.io/name"] !== "drayage")
      throw new DrayError("KUBE_CONFLICT", `Cannot install in place of Velero's node-agent: it still runs, and two would write into one volume`, {
        hint: `Remove it first: kubectl -n ${namespace} delete daemonset ${NODE_AGENT_NAME}`,
      });
  }
  await bringIn(guestManifests({ namespace, claimBuiltin, ...imageAndLogLevel(options), ...ofNodeAgents(options) }), options, access, terminal);
}

/** Applies the manifests, or prints them. */
async function bringIn(
  manifests: readonly Manifest[],
  options: Options,
  { client, namespace, timeoutMs }: Target & { readonly timeoutMs: number },
  terminal: Terminal,
): Promise<void> {
  if (options.dryRun === true || client === undefined) {
    // A Secret in a file, a pipe or a log is none any more; one with a made-up value would be taken for the password when it is applied.
    const shown = manifests.filter(({ kind }) => kind !== "Secret");
    if (options.output === "json") terminal.out(`${JSON.stringify({ apiVersion: "v1", kind: "List", items: shown }, null, 2)}\n`);
    else terminal.out(shown.map((manifest) => `---\n${stringify(manifest, { lineWidth: 0, aliasDuplicateObjects: false })}`).join(""));
    const left = manifests.filter(({ kind }) => kind === "Secret").map(({ metadata }) => metadata.name);
    if (left.length > 0) terminal.err(`Left out, for what they hold: Secrets ${left.join(" and ")} of namespace "${namespace}".\n`);
    return;
  }
  await applyManifests(client, manifests, terminal);
  const what = options.operator === true ? "Drayage's operator" : options.guest === true ? "Drayage's node-agent" : "Drayage";
  terminal.out(`${what} is installed in namespace "${namespace}".\n`);
  if (options.wait === true && options.operator === true) {
    await waitForOperator(client, namespace, terminal, timeoutMs);
    terminal.out("The operator is ready for a DataProtectionApplication.\n");
  } else if (options.wait === true && options.guest === true) {
    await waitForNodeAgents(client, namespace, options.claimBuiltin === true ? NODE_AGENT_NAME : GUEST_NODE_AGENT, terminal, timeoutMs);
    terminal.out("Node-agents are ready. Backups that name them: velero backup create NAME --snapshot-move-data --data-mover drayage\n");
  } else if (options.wait === true) {
    await waitForInstallation(client, namespace, terminal, timeoutMs);
    terminal.out("Server, node-agents and backup location are ready.\n");
  }
  for (const image of options.mover ?? []) await addImage({ image }, { client, namespace }, terminal);
}

/** Before anything exists that is sealed with this password: a cluster lost a minute from now must not take it along. Locations that came since are added to a file that is there. */
function keepRecovery(
  path: string,
  recovered: RecoveryFile | undefined,
  known: { readonly password: string; readonly locations: readonly RecoveryLocation[] },
  terminal: Terminal,
): void {
  const locations = new Map((recovered?.locations ?? []).map((location) => [location.name, location]));
  for (const { name, provider, bucket, prefix, config } of known.locations)
    locations.set(name, { name, provider, bucket, ...(prefix === undefined ? {} : { prefix }), ...(config === undefined ? {} : { config }) });
  const file: RecoveryFile = {
    schema: 1,
    createdAt: recovered?.createdAt ?? formatTime(terminal.clock.nowMs()),
    repositoryPassword: known.password,
    locations: [...locations.values()],
  };
  if (recovered !== undefined && isDeepStrictEqual(recovered, file)) return;
  writeRecoveryFile(path, file);
  terminal.out(
    recovered === undefined
      ? `Recovery file written to ${path}. Keep it away from this cluster: with it and the bucket, everything comes back.\n`
      : `Recovery file ${path} now names ${file.locations.map(({ name }) => `"${name}"`).join(", ")}.\n`,
  );
}

function readText(path: string, flag: string, terminal: Terminal): string {
  try {
    return readFileSync(resolve(terminal.cwd, path), "utf8");
  } catch (error) {
    throw new DrayError("PATH_NOT_FOUND", `Cannot read ${flag} "${path}": ${messageOf(error)}`, { cause: error });
  }
}

/** Throws NOT_SUPPORTED for a provider that no server of ours would know: the installation would wait for its bucket for ever. */
function kindOf({ name, provider, bucket, config }: InstallLocation): LocationKind {
  return locationKind({ name, provider, fields: { objectStorage: { bucket }, ...(config === undefined ? {} : { config }) } });
}

/** What was given wins over the recovery file; a location needs provider and bucket. */
function locationFrom(options: Options, recovered: RecoveryFile | undefined, terminal: Terminal): InstallLocation | undefined {
  const kept = recovered?.locations.find(({ name }) => name === options.locationName) ?? recovered?.locations[0];
  const provider = options.provider ?? kept?.provider;
  const bucket = options.bucket ?? kept?.bucket;
  if (provider === undefined && bucket === undefined) return undefined;
  if (provider === undefined || bucket === undefined) throw new DrayError("USAGE", "Cannot install: --provider and --bucket go together");
  const prefix = options.prefix ?? kept?.prefix;
  const config = options.backupLocationConfig === undefined ? kept?.config : parsePairs(options.backupLocationConfig, "--backup-location-config");
  return {
    name: kept !== undefined && options.bucket === undefined ? kept.name : options.locationName,
    provider,
    bucket,
    default: true,
    ...(prefix === undefined ? {} : { prefix }),
    ...(config === undefined ? {} : { config }),
    ...(options.cacert === undefined ? {} : { caCert: readText(options.cacert, "--cacert", terminal) }),
  };
}

/** What an earlier installation in this namespace left, as far as it must be kept. */
interface ExistingInstallation {
  readonly password?: string;
  readonly credentials?: string;
  readonly locations: readonly RecoveryLocation[];
}

const NOTHING: ExistingInstallation = { locations: [] };

async function existingInstallation(client: KubeClient, namespace: string, signal: AbortSignal): Promise<ExistingInstallation> {
  if ((await client.find(namespaces, { name: namespace }, signal))?.metadata.deletionTimestamp !== undefined) {
    throw new DrayError("KUBE_CONFLICT", `Cannot install in namespace "${namespace}": it is being deleted`, {
      hint: `Wait until it is gone. kubectl get namespace ${namespace} -o yaml says what it waits for.`,
    });
  }
  const [password, credentials] = await Promise.all([
    secretText(client, { namespace, name: REPO_CREDENTIALS }, "repository-password", signal),
    secretText(client, { namespace, name: CLOUD_CREDENTIALS }, "cloud", signal),
  ]);
  const locations: RecoveryLocation[] = [];
  try {
    for await (const { metadata, spec } of client.listAll(backupStorageLocations, { namespace, signal })) {
      const { bucket, prefix } = spec.objectStorage;
      const { provider, config } = spec;
      locations.push({ name: metadata.name ?? "", provider, bucket, ...(prefix ? { prefix } : {}), ...(config ? { config } : {}) });
    }
  } catch (error) {
    // A cluster that does not know the kind has no location.
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
  return { locations, ...(password === undefined ? {} : { password: password.trim() }), ...(credentials === undefined ? {} : { credentials }) };
}

async function secretText(client: KubeClient, key: ObjectKey, entry: string, signal: AbortSignal): Promise<string | undefined> {
  const encoded = (await client.find(secrets, key, signal))?.data?.[entry];
  return encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("utf8");
}

/** The password of what exists, else of the recovery file, else a new one, which must be kept somewhere. Throws USAGE, VALIDATION_FAILED. */
function choosePassword(
  options: Options,
  known: { readonly existing: string | undefined; readonly recovered: RecoveryFile | undefined; readonly recovery: string | undefined },
  terminal: Terminal,
): string {
  const { existing, recovered, recovery } = known;
  if (existing !== undefined && recovered !== undefined && existing !== recovered.repositoryPassword) {
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot install: the cluster's Secret "${REPO_CREDENTIALS}" and recovery file "${recovery}" hold different repository passwords`,
      {
        hint: "Repositories open with one of them only. Remove the Secret if the recovery file is right, or name another recovery file.",
      },
    );
  }
  if (existing !== undefined) return existing;
  if (recovered !== undefined) return recovered.repositoryPassword;
  if (options.repositoryPasswordFile !== undefined) {
    const given = readText(options.repositoryPasswordFile, "--repository-password-file", terminal).trim();
    if (given === "") throw new DrayError("VALIDATION_FAILED", `Cannot install: "${options.repositoryPasswordFile}" is empty`);
    if (given === STATIC_PASSWORD && options.adopt !== true) {
      throw new DrayError("VALIDATION_FAILED", "Cannot install: that password is Velero's default, which everybody knows", {
        hint: "For a bucket that has it already add --adopt; otherwise leave the password out and keep the recovery file.",
      });
    }
    return given;
  }
  if (recovery === undefined && options.dryRun !== true) {
    throw new DrayError("USAGE", "Cannot install: the repository password must survive this cluster", {
      hint: "Name a place for it with --recovery-file FILE, or bring your own with --repository-password-file FILE.",
    });
  }
  return generateRepositoryPassword(terminal.random);
}
