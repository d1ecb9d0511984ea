/** How cluster commands reach the API server: kubectl's flags, one client a command. */
import { DrayError, type ErrorContext, hasCode } from "@drayage/base";
import { createKubeClient, type KubeClient, type KubeObject, type ObjectKey, type ResourceType } from "@drayage/kube";
import { type Command, Option } from "commander";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";

export interface ClusterOptions {
  readonly namespace?: string;
  readonly kubeconfig?: string;
  readonly context?: string;
  /** Velero's name of `context`. */
  readonly kubecontext?: string;
}

/** Where Velero and Drayage are installed unless somebody says otherwise. */
export const DEFAULT_NAMESPACE = "velero";

export function withClusterOptions(command: Command): Command {
  return command
    .option("-n, --namespace <name>", "the namespace Drayage is installed in (VELERO_NAMESPACE, else velero)")
    .option("--kubeconfig <file>", "a kubeconfig instead of $KUBECONFIG or ~/.kube/config")
    .option("--context <name>", "a context of the kubeconfig")
    .addOption(new Option("--kubecontext <name>", "velero's name of --context").hideHelp());
}

export interface ClusterAccess {
  readonly client: KubeClient;
  readonly namespace: string;
}

/** The namespace of the installation. */
export function namespaceOf(options: ClusterOptions, { env }: Pick<Terminal, "env">): string {
  return options.namespace ?? env["VELERO_NAMESPACE"] ?? DEFAULT_NAMESPACE;
}

/** Runs `work` with a client and closes it afterwards. Where nothing is installed, the error says so. */
export async function withCluster(options: ClusterOptions, terminal: Terminal, work: (access: ClusterAccess) => Promise<void>): Promise<void> {
  const context = options.context ?? options.kubecontext;
  const client = createKubeClient({
    env: terminal.env,
    clock: terminal.clock,
    random: terminal.random,
    userAgent: `dray/${programVersion()}`,
    ...(options.kubeconfig === undefined ? {} : { kubeconfigPath: options.kubeconfig }),
    ...(context === undefined ? {} : { context }),
  });
  try {
    await work({ client, namespace: namespaceOf(options, terminal) });
  } catch (error) {
    throw explainMissingKinds(error);
  } finally {
    await client.close();
  }
}

/** The object, or an error that says which ones there are. */
export async function getNamed<T extends KubeObject>(client: KubeClient, type: ResourceType<T>, key: ObjectKey, signal: AbortSignal): Promise<T> {
  const found = await client.find(type, key, signal);
  if (found !== undefined) return found;
  const others: string[] = [];
  for await (const other of client.listAll(type, { namespace: key.namespace, signal })) {
    if (others.length >= 10) break;
    others.push(other.metadata.name ?? "");
  }
  const context: ErrorContext = { kind: type.kind, name: key.name };
  throw new DrayError(
    type.kind === "Backup" ? "BACKUP_NOT_FOUND" : "KUBE_NOT_FOUND",
    `Cannot find ${type.kind} "${key.name}" in namespace "${key.namespace}"`,
    {
      context,
      hint: others.length === 0 ? `There is none in that namespace; -n names another one.` : `There are: ${others.join(", ")}.`,
    },
  );
}

/** Turns "the server does not know this kind" into what to do about it. */
function explainMissingKinds(error: unknown): unknown {
  if (!hasCode(error, "KUBE_NOT_FOUND") || error.context["resourceMissing"] !== true || !error.message.includes("velero.io")) return error;
  return new DrayError("KUBE_NOT_FOUND", "Cannot find Drayage in this cluster: its kinds are not installed", {
    cause: error,
    hint: "Install it with dray install, or name another cluster with --context.",
  });
}

/** Parses `a=b,c=d` and repeated flags of that form. Throws USAGE. */
export function parsePairs(values: readonly string[] | undefined, flag: string, separator = "="): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const entry of (values ?? []).flatMap((value) => value.split(","))) {
    const at = entry.indexOf(separator);
    if (at <= 0) throw new DrayError("USAGE", `Cannot read ${flag} "${entry}": name${separator}value is wanted`);
    pairs[entry.slice(0, at)] = entry.slice(at + separator.length);
  }
  return pairs;
}

/** Splits comma lists of a flag that may be given more than once. */
export function parseList(values: readonly string[] | undefined): string[] | undefined {
  const parts = (values ?? [])
    .flatMap((value) => value.split(","))
    .map((value) => value.trim())
    .filter((value) => value !== "");
  return parts.length === 0 ? undefined : parts;
}

/** commander collector for flags that may be repeated. */
export const collect = (value: string, previous: readonly string[] | undefined): string[] => [...(previous ?? []), value];

/** A boolean flag that takes an optional value, as Velero's CLI has them: `--snapshot-volumes`, `--snapshot-volumes=false`. Throws USAGE. */
export function parseOptionalBoolean(flag: string): (value: string | boolean) => boolean {
  return (value) => {
    if (value === true || value === "true" || value === "1") return true;
    if (value === false || value === "false" || value === "0") return false;
    throw new DrayError("USAGE", `Cannot read ${flag}=${value}: true or false is wanted`);
  };
}

/** `a=b,c!=d` and set-based selectors go to the server as text; the parts Velero stores in objects are matchLabels and matchExpressions. Throws USAGE. */
export function parseLabelSelector(text: string): {
  matchLabels?: Record<string, string>;
  matchExpressions?: { key: string; operator: string; values?: string[] }[];
} {
  const matchLabels: Record<string, string> = {};
  const matchExpressions: { key: string; operator: string; values?: string[] }[] = [];
  for (const part of text.split(/,(?![^(]*\))/).map((value) => value.trim())) {
    const set = /^(\S+)\s+(in|notin)\s*\(([^)]*)\)$/.exec(part);
    const equal = /^([^=!\s]+)\s*==?\s*([^=!\s]*)$/.exec(part);
    const unequal = /^([^=!\s]+)\s*!=\s*([^=!\s]*)$/.exec(part);
    const exists = /^(!?)([^=!\s(),]+)$/.exec(part);
    if (set !== null)
      matchExpressions.push({ key: set[1] ?? "", operator: set[2] === "in" ? "In" : "NotIn", values: (set[3] ?? "").split(",").map((value) => value.trim()) });
    else if (unequal !== null) matchExpressions.push({ key: unequal[1] ?? "", operator: "NotIn", values: [unequal[2] ?? ""] });
    else if (equal !== null) matchLabels[equal[1] ?? ""] = equal[2] ?? "";
    else if (exists !== null) matchExpressions.push({ key: exists[2] ?? "", operator: exists[1] === "!" ? "DoesNotExist" : "Exists" });
    else
      throw new DrayError("USAGE", `Cannot read label selector "${text}": "${part}" is not understood`, {
        hint: "Write it as kubectl takes it: app=web,tier in (a, b),!canary.",
      });
  }
  return { ...(Object.keys(matchLabels).length > 0 ? { matchLabels } : {}), ...(matchExpressions.length > 0 ? { matchExpressions } : {}) };
}
