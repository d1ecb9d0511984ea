/** How engine commands reach a restic repository: `restic+file:///path`, `restic+s3://bucket/prefix?…`, read only, with the password that restic's own variables hold. */
import type { ObjectStore } from "@drayage/blob";
import type { ResticRepository } from "@drayage/restic";
import { bandwidthOf, passwordFromFile, type RepositoryOptions, repositoryPassword } from "../engine/repository-access.ts";
import { objectStoreFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";

const SCHEME = "restic+";

/** Whether a restic repository is meant. Says no where nothing says which repository: that is told by whoever opens one. */
export function isResticRepository(options: RepositoryOptions, terminal: Terminal): boolean {
  return (options.repository ?? terminal.env["DRAY_REPOSITORY"] ?? "").startsWith(SCHEME);
}

/** Opens the repository, runs `work` and closes it again. What is amiss with its locks and its index is told first. */
export async function withResticRepository(
  options: RepositoryOptions,
  terminal: Terminal,
  work: (repository: ResticRepository) => Promise<void>,
): Promise<void> {
  const url = options.repository ?? terminal.env["DRAY_REPOSITORY"] ?? "";
  const store = await objectStoreFromUrl(url.slice(SCHEME.length), terminal, bandwidthOf(options));
  try {
    const repository = await openIt(store, options, terminal);
    try {
      await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await store.close();
  }
}

async function openIt(store: ObjectStore, options: RepositoryOptions, terminal: Terminal): Promise<ResticRepository> {
  const password = await resticPassword(options, terminal);
  const { openResticRepository } = await import("@drayage/restic");
  return await openResticRepository(store, { password, signal: terminal.signal });
}

/** Ours where it is given; restic's variables before our own, since who reads its repository has them at hand. */
async function resticPassword(options: RepositoryOptions, terminal: Terminal): Promise<string> {
  const { RESTIC_PASSWORD: password = "", RESTIC_PASSWORD_FILE: file = "" } = terminal.env;
  if (options.passwordFile === undefined && password !== "") return password;
  if (options.passwordFile === undefined && file !== "") return await passwordFromFile(file, terminal);
  return await repositoryPassword(options, terminal);
}

/** Says that somebody may be removing data while it is read. Locks that were left behind keep nobody from reading. */
export async function warnOfLocks(repository: ResticRepository, terminal: Terminal): Promise<void> {
  const { isStaleLock } = await import("@drayage/restic");
  for (const lock of await repository.listLocks(terminal.signal)) {
    if (!lock.exclusive || isStaleLock(lock, terminal.clock.nowMs())) continue;
    terminal.err(
      `dray: warning: ${lock.userName}@${lock.hostName} (process ${lock.pid}) has locked the repository for itself: what it removes cannot be read\n`,
    );
  }
}

/** Says what was wrong with the index: what it says is then learned from the packs. */
export async function warnOfIndex(repository: ResticRepository, terminal: Terminal): Promise<void> {
  const { unreadable, unreadablePacks, packsRead } = await repository.indexReport(terminal.signal);
  for (const { error } of [...unreadable, ...unreadablePacks]) terminal.err(`dray: warning: ${error instanceof Error ? error.message : String(error)}\n`);
  if (packsRead > 0) terminal.err(`dray: warning: ${packsRead} packs were asked themselves what they hold, since no index says it\n`);
}
