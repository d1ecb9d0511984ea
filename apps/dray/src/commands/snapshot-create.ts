import { join, resolve } from "node:path";
import { DrayError, formatBytes, isDrayError } from "@drayage/base";
import { type ParentChoice, type UploadResult, type UploadSnapshotOptions, uploadSnapshot, withKnownAttributes, withLookAhead } from "@drayage/datapath";
import { prepareNativeInBackground } from "@drayage/kernels";
import { executeExpiry, formatSnapshotSource, PolicyStore, parseSnapshotSource, planExpiry, type Repository, type SnapshotSource } from "@drayage/repo";
import type { Command } from "commander";
import { compileLate } from "../compile-late.ts";
import { type RepositoryOptions, withBandwidthOption, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { storedTags } from "../engine/snapshot-json.ts";
import { stateFolder } from "../engine/state-folder.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { gather, parseCount, parseCpu, parsePairs } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import { counted } from "../output/counted.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly source?: string;
  readonly tag?: readonly string[];
  readonly description?: string;
  readonly parallel?: string;
  readonly memoryBudget?: string;
  readonly cpu?: string;
  readonly block?: boolean;
  readonly parent: string;
  readonly compression?: string;
  readonly policy: boolean;
  readonly expire: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withBandwidthOption(withRepositoryOptions(command))
    .argument("<path>", "a directory, a file or, with --block, a device")
    .option("--source <user@host:path>", "under which name it is kept (default: you, this machine, the path)")
    .option("--tag <name=value>", "a tag; may be repeated", gather)
    .option("--description <text>", "what it is for")
    .option("--parallel <number>", "threads that read, hash and encrypt, as the memory budget allows; 0 for none (default: one a processor)")
    .option("--cpu <number>", "processors that the command may take, in parts of one, as 0.5 (default: all)")
    .option("--memory-budget <MiB>", "memory that the process may take (default: 352, or 90 % of what the container may take)")
    .option("--block", "read a block device raw")
    .option("--parent <auto|none|ID>", "which snapshot it goes on from", "auto")
    .option("--compression <name>", "compressor of file data, by Kopia's name (default: what the policy says)")
    .option("--no-expire", "keep the older snapshots of the source that its policy lets go")
    .option("--no-policy", "store everything, whatever policies and ignore files say")
    .action((path: string, options: Options) => {
      const reading = readingOf(resolve(terminal.cwd, path), options);
      return withKnownAttributes({ ...reading, folder: join(stateFolder(terminal.env), "attributes") }, () =>
        withLookAhead(reading, (scan) =>
          withRepository(options, terminal, { readOnly: false }, (repository) => createSnapshot(repository, { ...reading, scan }, options, terminal)),
        ),
      );
    });
}

type Reading = Pick<UploadSnapshotOptions, "source" | "parallel" | "cpu" | "scan">;

/** What is read, and how. Throws USAGE. */
function readingOf(path: string, options: Options): Reading {
  return {
    source: { kind: options.block === true ? "block" : "directory", path },
    ...(options.parallel === undefined ? {} : { parallel: options.parallel === "0" ? 0 : parseCount("--parallel", options.parallel) }),
    ...(options.cpu === undefined ? {} : { cpu: parseCpu(options.cpu) }),
  };
}

async function createSnapshot(repository: Repository, reading: Reading, options: Options, terminal: Terminal): Promise<void> {
  prepareNativeInBackground(terminal.env);
  const view = new TransferView(terminal, "Uploading", options.json === true);
  const source = options.source === undefined ? { ...repository.identity, path: reading.source.path } : parseSnapshotSource(options.source);
  const policies = options.policy ? await new PolicyStore(repository.manifests).tree(source, terminal.signal) : undefined;
  const startedMs = terminal.clock.monotonicMs();
  const result = await view.run(() =>
    uploadSnapshot({
      ...{ repository, clock: terminal.clock, signal: terminal.signal, onProgress: view.onProgress },
      ...reading,
      snapshotSource: source,
      tags: storedTags(parsePairs("--tag", options.tag ?? [])),
      parent: parseParent(options.parent),
      onParents: compileLate,
      ...(policies === undefined ? {} : { policies }),
      ...(options.description === undefined ? {} : { description: options.description }),
      ...(options.memoryBudget === undefined ? {} : { memoryBudget: parseCount("--memory-budget", options.memoryBudget) * 1_048_576 }),
      ...(options.compression === undefined ? {} : { compressor: options.compression }),
    }),
  );
  if (result.stats.errorCount > 0) terminal.exitCode = EXIT.partiallyFailed;
  const expired = options.policy && options.expire ? await expireOthers(repository, source, result.snapshotId, terminal) : [];
  report(view, source, result, expired, terminal.clock.monotonicMs() - startedMs);
}

/** Lets go what the source's policy no longer keeps, as kopia does after every snapshot. The new one is safe by then: what goes wrong here is told, and the snapshot counts. */
async function expireOthers(repository: Repository, source: SnapshotSource, createdId: string, terminal: Terminal): Promise<readonly string[]> {
  try {
    const plan = await planExpiry(repository, source, terminal.signal);
    const decisions = plan.decisions.filter(({ snapshot }) => snapshot.id !== createdId);
    return (await executeExpiry(repository, { ...plan, decisions }, terminal.signal)).map(({ id }) => id);
  } catch (error) {
    if (!isDrayError(error)) throw error;
    terminal.err(`dray: warning: no older snapshot has expired: ${error.message}\n`);
    terminal.exitCode = EXIT.partiallyFailed;
    return [];
  }
}

function report(view: TransferView, source: SnapshotSource, result: UploadResult, expired: readonly string[], elapsedMs: number): void {
  const { snapshotId, rootEntry, stats, parentId, isIdentical, progress, problems, warnings, warningCount } = result;
  view.problems(warnings, warningCount, "warning");
  view.problems(problems, stats.errorCount, "error");
  const seconds = elapsedMs / 1000;
  const failed = stats.errorCount === 0 ? "" : `, ${stats.errorCount} could not be read`;
  view.summary(
    {
      snapshotID: snapshotId,
      source: formatSnapshotSource(source),
      rootObjectID: rootEntry.objectId,
      ...(parentId === undefined ? {} : { parentID: parentId }),
      stats,
      bytesHashed: progress.bytesHashed,
      bytesDeduplicated: progress.bytesDeduplicated,
      bytesUploaded: progress.bytesUploaded,
      errors: stats.errorCount,
      warnings: warningCount,
      ...(isIdentical ? { identical: true } : {}),
      expired,
      elapsedMs: Math.round(elapsedMs),
    },
    `${formatBytes(stats.totalSize)} in ${counted(stats.fileCount, "file")}${failed}: ${stats.cachedFiles} unchanged, ${formatBytes(progress.bytesHashed)} read, ${formatBytes(progress.bytesUploaded)} stored in ${seconds.toFixed(1)} s\n` +
      (expired.length === 0 ? "" : `Expired ${counted(expired.length, "older snapshot")}, as the policy says\n`) +
      (isIdentical ? `Nothing has changed since snapshot ${snapshotId}\n` : `Created snapshot ${snapshotId}\n`),
  );
}

function parseParent(text: string): ParentChoice {
  if (text === "auto" || text === "none") return text;
  if (!/^[0-9a-f]{32}$/.test(text)) throw new DrayError("USAGE", `Cannot read --parent "${text}": auto, none or the id of a snapshot is wanted`);
  return { id: text };
}
