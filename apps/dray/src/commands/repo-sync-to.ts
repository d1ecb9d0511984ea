import { formatBytes, hasCode } from "@drayage/base";
import { absentStorage, planRepositorySync, type Repository, type SyncProgress, type SyncReport, syncRepository } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson, parseCount } from "../engine/values.ts";
import { storageFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly delete?: boolean;
  readonly dryRun?: boolean;
  readonly parallel?: string;
  readonly readBack: boolean;
}

const TELL_EVERY_MS = 10_000;

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<url>", "where the copy is, or is to be")
    .option("--delete", "delete from the copy what the repository no longer has")
    .option("--dry-run", "say what would be copied, and change nothing")
    .option("--parallel <number>", "blobs copied side by side (default: 8)")
    .option("--no-read-back", "do not read every blob back from the copy")
    .action((url: string, options: Options) => {
      const parallel = options.parallel === undefined ? undefined : parseCount("--parallel", options.parallel);
      return withRepository(options, terminal, { readOnly: true, fresh: true }, async (repository) => {
        if (options.dryRun === true) return await plan(repository, url, options, terminal);
        const target = await storageFromUrl(url, terminal, { create: true });
        try {
          const report = await syncRepository(repository, target, {
            ...{ delete: options.delete === true, readBack: options.readBack, signal: terminal.signal, onProgress: teller(options, terminal) },
            ...(parallel === undefined ? {} : { parallel }),
          });
          print(report, repository, target.description, options, terminal);
        } finally {
          await target.close();
        }
      });
    });
}

async function plan(repository: Repository, url: string, options: Options, terminal: Terminal): Promise<void> {
  const target = await storageFromUrl(url, terminal).catch((error: unknown) => {
    // A folder that is made when something is copied.
    if (hasCode(error, "BLOB_BUCKET_NOT_FOUND")) return undefined;
    throw error;
  });
  try {
    const listed = target ?? absentStorage(url);
    print(
      await planRepositorySync(repository, listed, { delete: options.delete === true, signal: terminal.signal }),
      repository,
      listed.description,
      options,
      terminal,
    );
  } finally {
    await target?.close();
  }
}

function print(report: SyncReport, repository: Repository, target: string, options: Options, terminal: Terminal): void {
  const dryRun = options.dryRun === true;
  if (options.json === true) {
    terminal.out(formatJson({ type: "summary", repository: repository.description, target, dryRun, ...report }));
    return;
  }
  const { copiedBlobs, copiedBytes, deletedBlobs, unchangedBlobs } = report;
  const deleted = deletedBlobs === 0 ? "" : `, ${deletedBlobs} ${dryRun ? "to be deleted" : "deleted"}`;
  terminal.out(
    `${dryRun ? "Would copy" : "Copied"} ${copiedBlobs} blobs (${formatBytes(copiedBytes)}) to ${target}; ${unchangedBlobs} were there already${deleted}\n`,
  );
}

function teller(options: Options, terminal: Terminal): (progress: SyncProgress) => void {
  let toldMs = terminal.clock.monotonicMs();
  return ({ blobsDone, blobsTotal, bytesDone, bytesTotal }) => {
    if (options.json === true || terminal.clock.monotonicMs() - toldMs < TELL_EVERY_MS) return;
    toldMs = terminal.clock.monotonicMs();
    terminal.err(`Copying: ${blobsDone} of ${blobsTotal} blobs, ${formatBytes(bytesDone)} of ${formatBytes(bytesTotal)}\n`);
  };
}
