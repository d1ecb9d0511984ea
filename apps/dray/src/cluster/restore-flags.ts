/** The flags that say what a restore is to be: for making one, and for planning it. */
import { DRAYAGE_ANNOTATIONS, type Restore, type RestoreSpec } from "@drayage/api";
import { DrayError, formatTime } from "@drayage/base";
import { type Command, Option } from "commander";
import type { Terminal } from "../terminal.ts";
import { type ClusterOptions, collect, parseLabelSelector, parseList, parseOptionalBoolean, parsePairs } from "./access.ts";
import { metadataFrom } from "./backup-flags.ts";
import { checkDuration } from "./timeout.ts";

export interface RestoreFlags extends ClusterOptions {
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
}

export function withRestoreFlags(command: Command): Command {
  const boolean = (flag: string, text: string): Option => new Option(`--${flag} [true|false]`, text).preset(true).argParser(parseOptionalBoolean(`--${flag}`));
  return command
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
    .option("--parallel-files-download <n>", "files written at once");
}

/** The Restore that the flags mean. Throws USAGE. */
export function restoreFrom(given: string | undefined, options: RestoreFlags, { clock }: Pick<Terminal, "clock">): Restore {
  if ((options.fromBackup === undefined) === (options.fromSchedule === undefined))
    throw new DrayError("USAGE", "Cannot create restore: one of --from-backup and --from-schedule is wanted");
  const name = given ?? `${options.fromBackup ?? options.fromSchedule}-${formatTime(clock.nowMs()).replaceAll(/\D/g, "")}`;
  return { apiVersion: "velero.io/v1", kind: "Restore", metadata: restoreMetadata(name, options), spec: restoreSpecFrom(options) };
}

function restoreMetadata(name: string, options: RestoreFlags): Restore["metadata"] {
  const metadata = metadataFrom(name, options);
  return options.dataFirst === true ? { ...metadata, annotations: { ...metadata.annotations, [DRAYAGE_ANNOTATIONS.dataFirst]: "true" } } : metadata;
}

/** The spec that these flags mean. Throws USAGE. */
export function restoreSpecFrom(options: RestoreFlags): RestoreSpec {
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
