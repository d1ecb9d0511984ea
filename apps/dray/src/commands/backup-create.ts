import { type Backup, type BackupSpec, backups, type DataUpload, dataUploads } from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import type { KubeClient } from "@drayage/kube";
import { type Command, Option } from "commander";
import {
  type ClusterAccess,
  type ClusterOptions,
  collect,
  parseLabelSelector,
  parseList,
  parseOptionalBoolean,
  parsePairs,
  withCluster,
  withClusterOptions,
} from "../cluster/access.ts";
import { checkDuration, parseTimeout } from "../cluster/timeout.ts";
import { formatProgress, reasonsOf, waitForObject } from "../cluster/wait.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly includeNamespaces?: string[];
  readonly excludeNamespaces?: string[];
  readonly includeResources?: string[];
  readonly excludeResources?: string[];
  readonly includeClusterResources?: boolean;
  readonly selector?: string;
  readonly orSelector?: string;
  readonly labels?: string[];
  readonly annotations?: string[];
  readonly storageLocation?: string;
  readonly ttl?: string;
  readonly snapshotMoveData?: boolean;
  readonly snapshotVolumes?: boolean;
  readonly defaultVolumesToFsBackup?: boolean;
  readonly dataMover?: string;
  readonly csiSnapshotTimeout?: string;
  readonly itemOperationTimeout?: string;
  readonly orderedResources?: string;
  readonly parallelFilesUpload?: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  const boolean = (flag: string, text: string): Option => new Option(`--${flag} [true|false]`, text).preset(true).argParser(parseOptionalBoolean(`--${flag}`));
  withClusterOptions(command)
    .argument("<name>", "name of the backup")
    .option("--include-namespaces <names>", "namespaces to back up, all when left out", collect)
    .option("--exclude-namespaces <names>", "namespaces to leave out", collect)
    .option("--include-resources <names>", "resources to back up, as deployments.apps; all when left out", collect)
    .option("--exclude-resources <names>", "resources to leave out", collect)
    .addOption(boolean("include-cluster-resources", "back up cluster-scoped resources"))
    .option("-l, --selector <labels>", "only resources with these labels")
    .option("--or-selector <labels>", "resources that match any of these, separated by ' or '")
    .option("--labels <pairs>", "labels of the backup", collect)
    .option("--annotations <pairs>", "annotations of the backup", collect)
    .option("--storage-location <name>", "backup location, the default one when left out")
    .option("--ttl <duration>", "how long the backup is kept, as 720h")
    .addOption(boolean("snapshot-move-data", "move the data of volume snapshots to the backup location"))
    .addOption(boolean("snapshot-volumes", "take snapshots of volumes"))
    .addOption(boolean("default-volumes-to-fs-backup", "back up volumes through the file system"))
    .option("--data-mover <name>", "the mover of the data, the built-in one when left out")
    .option("--csi-snapshot-timeout <duration>", "how long a snapshot may take, 10m when left out")
    .option("--item-operation-timeout <duration>", "how long moving data may take, 4h when left out")
    .option("--ordered-resources <lists>", "order within a kind: 'pods=ns/a,ns/b;persistentvolumeclaims=ns/c'")
    .option("--parallel-files-upload <n>", "files read at once")
    .option("-w, --wait", "wait until the backup has ended")
    .option("--timeout <duration>", "with --wait: how long to wait")
    .option("--json", "print what happened as JSON")
    .action((name: string, options: Options) => {
      // What is wrong with the command line is said before a cluster is asked for.
      const asked: Asked = { metadata: metadataFrom(name, options), spec: backupSpecFrom(options), timeoutMs: parseTimeout(options.timeout) };
      return withCluster(options, terminal, (access) => create(name, asked, options, access, terminal));
    });
}

interface Asked {
  readonly metadata: Backup["metadata"];
  readonly spec: BackupSpec;
  readonly timeoutMs: number | undefined;
}

async function create(name: string, { metadata, spec, timeoutMs }: Asked, options: Options, access: ClusterAccess, terminal: Terminal): Promise<void> {
  const { client, namespace } = access;
  const backup = await client
    .create(backups, { apiVersion: "velero.io/v1", kind: "Backup", metadata: { ...metadata, namespace }, spec }, { signal: terminal.signal })
    .catch((error: unknown) => {
      throw explainTaken(error, "backup", name);
    });
  if (options.json !== true) terminal.out(`Backup request "${name}" submitted successfully.\n`);
  if (options.wait !== true) {
    if (options.json === true) terminal.out(`${JSON.stringify({ type: "summary", schema: 1, backup: name, phase: backup.status?.phase ?? "New" })}\n`);
    else terminal.out(`Run \`dray backup describe ${name}\` or \`dray backup logs ${name}\` for more details.\n`);
    return;
  }
  if (options.json !== true) terminal.err("Waiting for the backup to end. Ctrl-C stops the waiting only: the backup goes on in the cluster.\n");
  const ended = await waitForBackup(client, namespace, name, terminal, timeoutMs);
  const phase = ended.status?.phase ?? "";
  const reasons = reasonsOf(ended.status);
  if (options.json === true) {
    const counts = { errors: ended.status?.errors ?? 0, warnings: ended.status?.warnings ?? 0 };
    terminal.out(`${JSON.stringify({ type: "summary", schema: 1, backup: name, phase, ...counts, ...(reasons.length === 0 ? {} : { reasons }) })}\n`);
  } else {
    for (const reason of reasons) terminal.err(`  ${reason}\n`);
    terminal.out(
      `Backup completed with status: ${phase}. You may check for more information using the commands \`dray backup describe ${name}\` and \`dray backup logs ${name}\`.\n`,
    );
  }
  terminal.exitCode = exitCodeOfPhase(phase);
}

/** 0 for Completed, 3 for PartiallyFailed, 1 for anything else. */
export function exitCodeOfPhase(phase: string): number {
  if (phase === "Completed") return EXIT.ok;
  return phase === "PartiallyFailed" ? EXIT.partiallyFailed : EXIT.failed;
}

const ENDED: ReadonlySet<string> = new Set(["Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting"]);

/** Waits until the backup has ended, showing what it does and how far its volumes are. */
export async function waitForBackup(client: KubeClient, namespace: string, name: string, terminal: Terminal, timeoutMs?: number): Promise<Backup> {
  const uploads = new Map<string, DataUpload>();
  const watching = new AbortController();
  const following = followUploads(client, namespace, name, uploads, AbortSignal.any([terminal.signal, watching.signal]));
  try {
    return await waitForObject(
      client,
      backups,
      { namespace, name },
      {
        terminal,
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        done: (backup) => ENDED.has(backup.status?.phase ?? ""),
        line: (backup) => {
          const items = backup.status?.progress;
          const moved = [...uploads.values()].reduce(
            (sum, { status }) => ({ done: sum.done + (status?.progress?.bytesDone ?? 0), total: sum.total + (status?.progress?.totalBytes ?? 0) }),
            { done: 0, total: 0 },
          );
          return `${name}: ${backup.status?.phase ?? "New"}${items === undefined || items === null ? "" : `, ${items.itemsBackedUp ?? 0} of ${items.totalItems ?? 0} items`}${uploads.size === 0 ? "" : `, ${uploads.size} volumes, ${formatProgress(moved.done, moved.total)}`}`;
        },
      },
    );
  } finally {
    watching.abort();
    await following;
  }
}

/** Keeps the DataUploads of a backup fresh for the progress line; it is decoration, so a failure only means less to show. */
async function followUploads(client: KubeClient, namespace: string, name: string, uploads: Map<string, DataUpload>, signal: AbortSignal): Promise<void> {
  try {
    for await (const event of client.watch(dataUploads, { namespace, labelSelector: `velero.io/backup-name=${name}`, signal })) {
      if (event.type !== "BOOKMARK") uploads.set(event.object.metadata.name ?? "", event.object);
    }
  } catch {
    return;
  }
}

/** What the flags say of an object's metadata. Throws USAGE. */
export function metadataFrom(name: string, { labels, annotations }: { readonly labels?: string[]; readonly annotations?: string[] }): Backup["metadata"] {
  return {
    name,
    ...(labels === undefined ? {} : { labels: parsePairs(labels, "--labels") }),
    ...(annotations === undefined ? {} : { annotations: parsePairs(annotations, "--annotations") }),
  };
}

/** A name that is taken already is the reader's to change. */
export function explainTaken(error: unknown, noun: string, name: string): unknown {
  if (!hasCode(error, "KUBE_ALREADY_EXISTS")) return error;
  return new DrayError("KUBE_ALREADY_EXISTS", `Cannot create ${noun} "${name}": there is one of that name`, {
    cause: error,
    hint: `Choose another name, or look at it with dray ${noun} describe ${name}.`,
  });
}

/** The spec that these flags mean; what was not given is left to the server's defaults. Throws USAGE. */
export function backupSpecFrom(options: Options): BackupSpec {
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
    ...set("includeClusterResources", options.includeClusterResources),
    ...set("labelSelector", options.selector === undefined ? undefined : (parseLabelSelector(options.selector) as BackupSpec["labelSelector"])),
    ...set(
      "orLabelSelectors",
      options.orSelector === undefined ? undefined : (options.orSelector.split(" or ").map(parseLabelSelector) as BackupSpec["orLabelSelectors"]),
    ),
    ...set("storageLocation", options.storageLocation),
    ...set("ttl", checkDuration("--ttl", options.ttl)),
    ...set("snapshotMoveData", options.snapshotMoveData),
    ...set("snapshotVolumes", options.snapshotVolumes),
    ...set("defaultVolumesToFsBackup", options.defaultVolumesToFsBackup),
    ...set("datamover", options.dataMover),
    ...set("csiSnapshotTimeout", checkDuration("--csi-snapshot-timeout", options.csiSnapshotTimeout)),
    ...set("itemOperationTimeout", checkDuration("--item-operation-timeout", options.itemOperationTimeout)),
    ...set("orderedResources", options.orderedResources === undefined ? undefined : parseOrdered(options.orderedResources)),
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
