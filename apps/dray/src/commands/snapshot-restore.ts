import { statSync } from "node:fs";
import { basename, resolve } from "node:path";
import { formatBytes } from "@drayage/base";
import {
  blockFileOf,
  deviceBytesOf,
  findInSnapshot,
  isBlockSnapshot,
  type RestoreResult,
  type RestoreSnapshotOptions,
  type RestoreTarget,
  restoreSnapshot,
} from "@drayage/datapath";
import { prepareNativeInBackground } from "@drayage/kernels";
import type { DirectoryEntry, Repository, Snapshot } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withBandwidthOption, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { parseCount, parseCpu } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import { keepYoungGenerationSmall } from "../heap-growth.ts";
import { counted } from "../output/counted.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly overwrite?: boolean;
  readonly parallel?: string;
  readonly cpu?: string;
  readonly memoryBudget?: string;
  readonly verify?: boolean;
  readonly keepGoing?: boolean;
  readonly sparse?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withBandwidthOption(withRepositoryOptions(command))
    .argument("<id>", "a snapshot, or a part of one: ID/sub/path; latest is the newest")
    .argument("<target>", "an empty or a new directory; for a device's snapshot, a device or the path of an image file")
    .option("--overwrite", "into a directory that is not empty, replacing what has the same name")
    .option("--parallel <number>", "threads that decode and write (default: the CPUs, at most 4)")
    .option("--cpu <number>", "processors that the command may take, in parts of one, as 0.5 (default: all)")
    .option("--memory-budget <MiB>", "memory that the process may take (default: 352, or 90 % of what the container may take)")
    .option("--verify", "read back what was written")
    .option("--keep-going", "go on after a file that cannot be restored")
    .option("--sparse", "leave all zeros as holes, not only what was a hole")
    .action(async (id: string, target: string, options: Options) => {
      prepareNativeInBackground(terminal.env);
      keepYoungGenerationSmall();
      if (isResticRepository(options, terminal))
        return await (await import("../restic/restore.ts")).restoreResticSnapshot(id, target, settingsOf(options), options, terminal);
      await withRepository(options, terminal, { readOnly: true }, (repository) => restore(repository, id, target, options, terminal));
    });
}

async function restore(repository: Repository, id: string, target: string, options: Options, terminal: Terminal): Promise<void> {
  const wanted = parseSnapshotPath(id);
  const { signal, clock } = terminal;
  const snapshot = await repository.snapshots.resolve(wanted.id, signal);
  const entry = await findInSnapshot(repository, snapshot, wanted.path, signal);
  const view = new TransferView(terminal, "Restoring", options.json === true);
  const startedMs = clock.monotonicMs();
  const chosen = await chooseTarget(repository, snapshot, entry, resolve(terminal.cwd, target), signal);
  const wayBytes = repository.contents.packed?.bytesFetched ?? 0;
  const result = await view.run(() => restoreSnapshot({ repository, clock, signal, onProgress: view.onProgress, ...settingsOf(options), ...chosen }));
  const { progress, problems, problemCount, warnings, warningCount, read } = result;
  view.problems(warnings, warningCount, "warning");
  view.problems(problems, problemCount, "error");
  const elapsedMs = clock.monotonicMs() - startedMs;
  const failed = problemCount === 0 ? "" : `, ${problemCount} could not be restored`;
  view.summary(
    {
      snapshotID: snapshot.id,
      target,
      files: progress.filesDone,
      bytes: progress.bytesDone,
      errors: problemCount,
      warnings: warningCount,
      elapsedMs: Math.round(elapsedMs),
      ...readingOf(read, wayBytes),
    },
    `Restored ${counted(progress.filesDone, "file")} (${formatBytes(progress.bytesDone)})${failed} to ${target} in ${(elapsedMs / 1000).toFixed(1)} s\n`,
  );
  if (problemCount > 0) terminal.exitCode = EXIT.partiallyFailed;
}

/**
 * What was fetched, with the way to what was restored: of a small part of a large repository that is nearly all. More than 1 for each byte that was wanted are the indexes, manifests and
 * listings, and what lay between.
 */
function readingOf({ requests, bytesFetched, bytesNeeded }: RestoreResult["read"], wayBytes: number): object {
  const fetched = wayBytes + bytesFetched;
  return { ...(bytesNeeded === 0 ? {} : { readAmplification: Number((fetched / bytesNeeded).toFixed(3)) }), requests, bytesFetched: fetched, bytesNeeded };
}

/** What the flags say of the restore. */
function settingsOf(options: Options): Pick<RestoreSnapshotOptions, "sparse" | "overwrite" | "verify" | "keepGoing" | "parallel" | "cpu" | "memoryBudget"> {
  return {
    sparse: options.sparse === true,
    overwrite: options.overwrite === true,
    verify: options.verify === true,
    keepGoing: options.keepGoing === true,
    ...(options.parallel === undefined ? {} : { parallel: parseCount("--parallel", options.parallel) }),
    ...(options.cpu === undefined ? {} : { cpu: parseCpu(options.cpu) }),
    ...(options.memoryBudget === undefined ? {} : { memoryBudget: parseCount("--memory-budget", options.memoryBudget) * 1_048_576 }),
  };
}

/** A device's snapshot goes to a device, or to a file where the target is none. */
async function chooseTarget(
  repository: Repository,
  snapshot: Snapshot,
  entry: DirectoryEntry,
  path: string,
  signal: AbortSignal,
): Promise<Pick<RestoreSnapshotOptions, "root" | "target" | "sparse" | "deviceBytes">> {
  const deviceBytes = deviceBytesOf(snapshot);
  if (statSync(path, { throwIfNoEntry: false })?.isBlockDevice() === true)
    return { root: entry, target: { kind: "block", path }, ...(deviceBytes === undefined ? {} : { deviceBytes }) };
  const target: RestoreTarget = { kind: "directory", path };
  const isDevice = deviceBytes === undefined ? await isBlockSnapshot(repository, entry, signal) : entry.type === "directory";
  if (!isDevice) return { root: entry, target };
  const file = (await blockFileOf(repository, entry.objectId, signal)) as DirectoryEntry;
  // An image takes no more space than what is in it.
  return { root: { ...file, name: basename(file.name), mode: 0o600 }, target, sparse: true };
}
