import { backups, type DataDownload, DRAYAGE_ANNOTATIONS, dataDownloads, type Restore, type RestoreSpec, restores, schedules } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { type Command, Option } from "commander";
import {
  type ClusterAccess,
  type ClusterOptions,
  collect,
  getNamed,
  parseLabelSelector,
  parseList,
  parseOptionalBoolean,
  parsePairs,
  withCluster,
  withClusterOptions,
} from "../cluster/access.ts";
import { checkDuration, parseTimeout } from "../cluster/timeout.ts";
import { formatProgress, reasonsOf, waitForObject } from "../cluster/wait.ts";
import type { Terminal } from "../terminal.ts";
import { exitCodeOfPhase, explainTaken, metadataFrom } from "./backup-create.ts";

interface Options extends ClusterOptions {
  readonly fromBackup?: string;
  readonly fromSchedule?: string;
  readonly includeNamespaces?: string[];
  readonly excludeNamespaces?: string[];
  readonly includeResources?: string[];
  readonly excludeResources?: string[];
  readonly namespaceMappings?: string[];
  readonly selector?: string;
  readonly orSelector?: string;
  readonly statusIncludeResources?: string[];
  readonly statusExcludeResources?: string[];
  readonly resourceModifierConfigmap?: string;
  readonly dataFirst?: boolean;
  readonly labels?: string[];
  readonly annotations?: string[];
  readonly restoreVolumes?: boolean;
  readonly includeClusterResources?: boolean;
  readonly preserveNodeports?: boolean;
  readonly existingResourcePolicy?: string;
  readonly itemOperationTimeout?: string;
  readonly writeSparseFiles?: boolean;
  readonly parallelFilesDownload?: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  const boolean = (flag: string, text: string): Option => new Option(`--${flag} [true|false]`, text).preset(true).argParser(parseOptionalBoolean(`--${flag}`));
  withClusterOptions(command)
    .argument("[name]", "name of the restore; the backup's name and the time when left out")
    .option("--from-backup <name>", "the backup")
    .option("--from-schedule <name>", "the newest backup of this schedule")
    .option("--include-namespaces <names>", "namespaces of the backup, all when left out", collect)
    .option("--exclude-namespaces <names>", "namespaces to leave out", collect)
    .option("--include-resources <names>", "resources, as deployments.apps; all when left out", collect)
    .option("--exclude-resources <names>", "resources to leave out", collect)
    .option("--namespace-mappings <pairs>", "restore into other namespaces, as old:new", collect)
    .option("-l, --selector <labels>", "only resources with these labels")
    .option("--or-selector <selectors>", 'only resources that one of these fits, as "a=b or c=d"')
    .option("--status-include-resources <names>", "resources whose status comes back, * for all", collect)
    .option("--status-exclude-resources <names>", "resources whose status does not come back", collect)
    .option("--resource-modifier-configmap <name>", "a ConfigMap that says what is changed in resources on their way back")
    .option("--data-first", "create workloads only when their volumes have their data")
    .option("--labels <pairs>", "labels of the restore", collect)
    .option("--annotations <pairs>", "annotations of the restore", collect)
    .addOption(boolean("restore-volumes", "restore volumes and their data"))
    .addOption(boolean("include-cluster-resources", "restore cluster-scoped resources"))
    .addOption(boolean("preserve-nodeports", "keep the node ports of services"))
    .option("--existing-resource-policy <policy>", "none or update")
    .option("--item-operation-timeout <duration>", "how long moving data may take, 4h when left out")
    .addOption(boolean("write-sparse-files", "leave runs of zeros as holes"))
    .option("--parallel-files-download <n>", "files written at once")
    .option("-w, --wait", "wait until the restore has ended")
    .option("--timeout <duration>", "with --wait: how long to wait")
    .option("--json", "print what happened as JSON")
    .action((given: string | undefined, options: Options) => {
      if ((options.fromBackup === undefined) === (options.fromSchedule === undefined))
        throw new DrayError("USAGE", "Cannot create restore: one of --from-backup and --from-schedule is wanted");
      const name = given ?? `${options.fromBackup ?? options.fromSchedule}-${formatTime(terminal.clock.nowMs()).replaceAll(/\D/g, "")}`;
      const asked: Asked = { metadata: restoreMetadata(name, options), spec: restoreSpecFrom(options), timeoutMs: parseTimeout(options.timeout) };
      return withCluster(options, terminal, (access) => create(name, asked, options, access, terminal));
    });
}

interface Asked {
  readonly metadata: Restore["metadata"];
  readonly spec: RestoreSpec;
  readonly timeoutMs: number | undefined;
}

async function create(name: string, { metadata, spec, timeoutMs }: Asked, options: Options, access: ClusterAccess, terminal: Terminal): Promise<void> {
  const { client, namespace } = access;
  if (options.fromBackup !== undefined) await getNamed(client, backups, { namespace, name: options.fromBackup }, terminal.signal);
  if (options.fromSchedule !== undefined) await getNamed(client, schedules, { namespace, name: options.fromSchedule }, terminal.signal);
  await client
    .create(restores, { apiVersion: "velero.io/v1", kind: "Restore", metadata: { ...metadata, namespace }, spec }, { signal: terminal.signal })
    .catch((error: unknown) => {
      throw explainTaken(error, "restore", name);
    });
  if (options.json !== true) terminal.out(`Restore request "${name}" submitted successfully.\n`);
  if (options.wait !== true) {
    if (options.json === true) terminal.out(`${JSON.stringify({ type: "summary", schema: 1, restore: name, phase: "New" })}\n`);
    else terminal.out(`Run \`dray restore describe ${name}\` or \`dray restore logs ${name}\` for more details.\n`);
    return;
  }
  if (options.json !== true) terminal.err("Waiting for the restore to end. Ctrl-C stops the waiting only: the restore goes on in the cluster.\n");
  const ended = await waitForRestore(client, namespace, name, terminal, timeoutMs);
  const phase = ended.status?.phase ?? "";
  const reasons = reasonsOf(ended.status);
  if (options.json === true) {
    const counts = { errors: ended.status?.errors ?? 0, warnings: ended.status?.warnings ?? 0 };
    terminal.out(`${JSON.stringify({ type: "summary", schema: 1, restore: name, phase, ...counts, ...(reasons.length === 0 ? {} : { reasons }) })}\n`);
  } else {
    for (const reason of reasons) terminal.err(`  ${reason}\n`);
    terminal.out(
      `Restore completed with status: ${phase}. You may check for more information using the commands \`dray restore describe ${name}\` and \`dray restore logs ${name}\`.\n`,
    );
  }
  terminal.exitCode = exitCodeOfPhase(phase);
}

const ENDED: ReadonlySet<string> = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation"]);

/** Waits until the restore has ended, showing what it does and how far its volumes are. */
export async function waitForRestore(client: KubeClient, namespace: string, name: string, terminal: Terminal, timeoutMs?: number): Promise<Restore> {
  const downloads = new Map<string, DataDownload>();
  const watching = new AbortController();
  const following = follow(client, namespace, name, downloads, AbortSignal.any([terminal.signal, watching.signal]));
  try {
    return await waitForObject(
      client,
      restores,
      { namespace, name },
      {
        terminal,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        done: (restore) => ENDED.has(restore.status?.phase ?? ""),
        line: (restore) => {
          const items = restore.status?.progress;
          const moved = [...downloads.values()].reduce(
            (sum, { status }) => ({ done: sum.done + (status?.progress?.bytesDone ?? 0), total: sum.total + (status?.progress?.totalBytes ?? 0) }),
            { done: 0, total: 0 },
          );
          return `${name}: ${restore.status?.phase ?? "New"}${items === undefined || items === null ? "" : `, ${items.itemsRestored ?? 0} of ${items.totalItems ?? 0} items`}${downloads.size === 0 ? "" : `, ${downloads.size} volumes, ${formatProgress(moved.done, moved.total)}`}`;
        },
      },
    );
  } finally {
    watching.abort();
    await following;
  }
}

/** As for backups: decoration of the progress line. */
async function follow(client: KubeClient, namespace: string, name: string, downloads: Map<string, DataDownload>, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of client.watch(dataDownloads, { namespace, labelSelector: `velero.io/restore-name=${name}`, signal })) {
      if (event.type !== "BOOKMARK") downloads.set(event.object.metadata.name ?? "", event.object);
    }
  } catch {
    return;
  }
}

function restoreMetadata(name: string, options: Options): Restore["metadata"] {
  const metadata = metadataFrom(name, options);
  return options.dataFirst === true ? { ...metadata, annotations: { ...metadata.annotations, [DRAYAGE_ANNOTATIONS.dataFirst]: "true" } } : metadata;
}

/** The spec that these flags mean. Throws USAGE. */
export function restoreSpecFrom(options: Options): RestoreSpec {
  const set = <K extends keyof RestoreSpec>(key: K, value: RestoreSpec[K] | undefined): Partial<RestoreSpec> =>
    value === undefined ? {} : ({ [key]: value } as unknown as Partial<RestoreSpec>);
  if (options.existingResourcePolicy !== undefined && !["none", "update"].includes(options.existingResourcePolicy)) {
    throw new DrayError("USAGE", `Cannot read --existing-resource-policy "${options.existingResourcePolicy}": none or update is wanted`);
  }
  const parallel = options.parallelFilesDownload === undefined ? undefined : Number(options.parallelFilesDownload);
  if (parallel !== undefined && !(Number.isInteger(parallel) && parallel > 0))
    throw new DrayError("USAGE", `Cannot read --parallel-files-download "${options.parallelFilesDownload}": a whole number above 0 is wanted`);
  const uploader = {
    ...(options.writeSparseFiles === undefined ? {} : { writeSparseFiles: options.writeSparseFiles }),
    ...(parallel === undefined ? {} : { parallelFilesDownload: parallel }),
  };
  if (options.selector !== undefined && options.orSelector !== undefined)
    throw new DrayError("USAGE", "Cannot use --selector and --or-selector together: one of them is wanted");
  const status = {
    ...(options.statusIncludeResources === undefined ? {} : { includedResources: parseList(options.statusIncludeResources) ?? [] }),
    ...(options.statusExcludeResources === undefined ? {} : { excludedResources: parseList(options.statusExcludeResources) ?? [] }),
  };
  return {
    ...set("backupName", options.fromBackup),
    ...set("scheduleName", options.fromSchedule),
    ...set("includedNamespaces", parseList(options.includeNamespaces)),
    ...set("excludedNamespaces", parseList(options.excludeNamespaces)),
    ...set("includedResources", parseList(options.includeResources)),
    ...set("excludedResources", parseList(options.excludeResources)),
    ...set("namespaceMapping", options.namespaceMappings === undefined ? undefined : parsePairs(options.namespaceMappings, "--namespace-mappings", ":")),
    ...set("labelSelector", options.selector === undefined ? undefined : (parseLabelSelector(options.selector) as RestoreSpec["labelSelector"])),
    ...set(
      "orLabelSelectors",
      options.orSelector === undefined ? undefined : (options.orSelector.split(/ +or +/).map(parseLabelSelector) as unknown as RestoreSpec["orLabelSelectors"]),
    ),
    ...set("restoreStatus", options.statusIncludeResources === undefined && options.statusExcludeResources === undefined ? undefined : status),
    ...set("resourceModifier", options.resourceModifierConfigmap === undefined ? undefined : { kind: "ConfigMap", name: options.resourceModifierConfigmap }),
    ...set("restorePVs", options.restoreVolumes),
    ...set("includeClusterResources", options.includeClusterResources),
    ...set("preserveNodePorts", options.preserveNodeports),
    ...set("existingResourcePolicy", options.existingResourcePolicy),
    ...set("itemOperationTimeout", checkDuration("--item-operation-timeout", options.itemOperationTimeout)),
    ...set("uploaderConfig", Object.keys(uploader).length === 0 ? undefined : uploader),
  };
}
