/** The flags that say what a backup takes; `backup create` and `schedule create` have them. */
import type { BackupSpec } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { ObjectMeta } from "@drayage/kube";
import { type Command, Option } from "commander";
import { collect, parseLabelSelector, parseList, parseOptionalBoolean, parsePairs } from "./access.ts";
import { checkDuration } from "./timeout.ts";

export interface BackupFlags {
  readonly includeNamespaces?: string[];
  readonly excludeNamespaces?: string[];
  readonly includeResources?: string[];
  readonly excludeResources?: string[];
  readonly includeClusterScopedResources?: string[];
  readonly excludeClusterScopedResources?: string[];
  readonly includeNamespaceScopedResources?: string[];
  readonly excludeNamespaceScopedResources?: string[];
  readonly includeClusterResources?: boolean;
  readonly selector?: string;
  readonly orSelector?: string;
  readonly storageLocation?: string;
  readonly volumeSnapshotLocations?: string[];
  readonly ttl?: string;
  readonly snapshotMoveData?: boolean;
  readonly snapshotVolumes?: boolean;
  readonly defaultVolumesToFsBackup?: boolean;
  readonly dataMover?: string;
  readonly csiSnapshotTimeout?: string;
  readonly itemOperationTimeout?: string;
  readonly orderedResources?: string;
  readonly resourcePoliciesConfigmap?: string;
  readonly parallelFilesUpload?: string;
}

export function withBackupFlags(command: Command): Command {
  const boolean = (flag: string, text: string): Option => new Option(`--${flag} [true|false]`, text).preset(true).argParser(parseOptionalBoolean(`--${flag}`));
  return command
    .option("--include-namespaces <names>", "namespaces to back up, all when left out; patterns as team-* are understood", collect)
    .option("--exclude-namespaces <names>", "namespaces to leave out", collect)
    .option("--include-resources <names>", "resources to back up, as deployments.apps; all when left out", collect)
    .option("--exclude-resources <names>", "resources to leave out", collect)
    .option("--include-cluster-scoped-resources <names>", "cluster-scoped resources to back up; not together with the three flags for any scope", collect)
    .option("--exclude-cluster-scoped-resources <names>", "cluster-scoped resources to leave out", collect)
    .option("--include-namespace-scoped-resources <names>", "namespaced resources to back up", collect)
    .option("--exclude-namespace-scoped-resources <names>", "namespaced resources to leave out", collect)
    .addOption(boolean("include-cluster-resources", "back up cluster-scoped resources"))
    .option("-l, --selector <labels>", "only resources with these labels")
    .option("--or-selector <labels>", "resources that match any of these, separated by ' or '")
    .option("--storage-location <name>", "backup location, the default one when left out")
    .option("--volume-snapshot-locations <names>", "volume snapshot locations, at most one a provider", collect)
    .option("--ttl <duration>", "how long the backup is kept, as 720h")
    .addOption(boolean("snapshot-move-data", "move the data of volume snapshots to the backup location"))
    .addOption(boolean("snapshot-volumes", "take snapshots of volumes"))
    .addOption(boolean("default-volumes-to-fs-backup", "back up volumes through the file system"))
    .option("--data-mover <name>", "the mover of the data, the built-in one when left out")
    .option("--csi-snapshot-timeout <duration>", "how long a snapshot may take, 10m when left out")
    .option("--item-operation-timeout <duration>", "how long moving data may take, 4h when left out")
    .option("--ordered-resources <lists>", "order within a kind: 'pods=ns/a,ns/b;persistentvolumeclaims=ns/c'")
    .option("--resource-policies-configmap <name>", "the ConfigMap that says what happens to which volume")
    .option("--parallel-files-upload <n>", "files read at once");
}

/** The spec that these flags mean; what was not given is left to the server's defaults. Throws USAGE. */
export function backupSpecFrom(options: BackupFlags): BackupSpec {
  const set = <K extends keyof BackupSpec>(key: K, value: BackupSpec[K] | undefined): Partial<BackupSpec> =>
    value === undefined ? {} : ({ [key]: value } as unknown as Partial<BackupSpec>);
  if (options.selector !== undefined && options.orSelector !== undefined)
    throw new DrayError("USAGE", "Cannot create backup: --selector and --or-selector exclude each other");
  const parallel = options.parallelFilesUpload === undefined ? undefined : Number(options.parallelFilesUpload);
  if (parallel !== undefined && !(Number.isInteger(parallel) && parallel > 0))
    throw new DrayError("USAGE", `Cannot read --parallel-files-upload "${options.parallelFilesUpload}": a whole number above 0 is wanted`);
  return {
    ...set("includedNamespaces", parseList(options.includeNamespaces)),
    ...set("excludedNamespaces", parseList(options.excludeNamespaces)),
    ...set("includedResources", parseList(options.includeResources)),
    ...set("excludedResources", parseList(options.excludeResources)),
    ...set("includedClusterScopedResources", parseList(options.includeClusterScopedResources)),
    ...set("excludedClusterScopedResources", parseList(options.excludeClusterScopedResources)),
    ...set("includedNamespaceScopedResources", parseList(options.includeNamespaceScopedResources)),
    ...set("excludedNamespaceScopedResources", parseList(options.excludeNamespaceScopedResources)),
    ...set("includeClusterResources", options.includeClusterResources),
    ...set("labelSelector", options.selector === undefined ? undefined : (parseLabelSelector(options.selector) as BackupSpec["labelSelector"])),
    ...set(
      "orLabelSelectors",
      options.orSelector === undefined ? undefined : (options.orSelector.split(" or ").map(parseLabelSelector) as BackupSpec["orLabelSelectors"]),
    ),
    ...set("storageLocation", options.storageLocation),
    ...set("volumeSnapshotLocations", parseList(options.volumeSnapshotLocations)),
    ...set("ttl", checkDuration("--ttl", options.ttl)),
    ...set("snapshotMoveData", options.snapshotMoveData),
    ...set("snapshotVolumes", options.snapshotVolumes),
    ...set("defaultVolumesToFsBackup", options.defaultVolumesToFsBackup),
    ...set("datamover", options.dataMover),
    ...set("csiSnapshotTimeout", checkDuration("--csi-snapshot-timeout", options.csiSnapshotTimeout)),
    ...set("itemOperationTimeout", checkDuration("--item-operation-timeout", options.itemOperationTimeout)),
    ...set("orderedResources", options.orderedResources === undefined ? undefined : parseOrdered(options.orderedResources)),
    ...set(
      "resourcePolicy",
      options.resourcePoliciesConfigmap === undefined ? undefined : { apiGroup: "", kind: "configmap", name: options.resourcePoliciesConfigmap },
    ),
    ...set("uploaderConfig", parallel === undefined ? undefined : { parallelFilesUpload: parallel }),
  };
}

function parseOrdered(text: string): Record<string, string> {
  return Object.fromEntries(
    text.split(";").map((part) => {
      const at = part.indexOf("=");
      if (at <= 0) throw new DrayError("USAGE", `Cannot read --ordered-resources "${part}": kind=ns/name,ns/name is wanted`);
      return [part.slice(0, at).trim(), part.slice(at + 1).trim()];
    }),
  );
}

/** What the flags say of an object's metadata. Throws USAGE. */
export function metadataFrom(name: string, { labels, annotations }: { readonly labels?: string[]; readonly annotations?: string[] }): ObjectMeta {
  return {
    name,
    ...(labels === undefined ? {} : { labels: parsePairs(labels, "--labels") }),
    ...(annotations === undefined ? {} : { annotations: parsePairs(annotations, "--annotations") }),
  };
}
