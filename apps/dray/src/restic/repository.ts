/** `repo status` and `repo verify` of a restic repository. */
import { formatBytes, formatTime } from "@drayage/base";
import { verifyRestic } from "@drayage/datapath";
import { isStaleLock, type ResticLock } from "@drayage/restic";
import type { RepositoryOptions } from "../engine/repository-access.ts";
import { TransferView } from "../engine/transfer-view.ts";
import { formatJson } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import { counted } from "../output/counted.ts";
import type { Terminal } from "../terminal.ts";
import { warnOfLocks, withResticRepository } from "./restic-access.ts";

export function showResticStatus(options: RepositoryOptions, terminal: Terminal): Promise<void> {
  return withResticRepository(options, terminal, async (repository) => {
    const { signal } = terminal;
    const { config, description, keyId, layout } = repository;
    const { snapshots, unreadable } = await repository.listSnapshots(signal);
    const locks = await repository.listLocks(signal);
    const report = await repository.indexReport(signal);
    const { stored, plain, trees } = report.index.totals();
    const contents = report.index.size;
    const damagedIndexes = report.unreadable.length;
    if (options.json === true) {
      terminal.out(
        formatJson({
          ...{ type: "summary", repository: description, uniqueID: config.id, format: { name: "restic", version: config.version }, key: keyId },
          ...{ snapshots: snapshots.length, unreadableSnapshots: unreadable.length, contents, originalBytes: plain, packedBytes: stored },
          ...{ packs: report.index.packCount, indexFiles: report.files, unreadableIndexFiles: damagedIndexes },
          locks: locks.map((lock) => ({
            ...{ id: lock.id, host: lock.hostName, userName: lock.userName, pid: lock.pid, exclusive: lock.exclusive },
            ...{ time: formatTime(Number(lock.timeNs / 1_000_000n)), stale: isStaleLock(lock, terminal.clock.nowMs()) },
          })),
        }),
      );
      return;
    }
    const lines: readonly (readonly [string, string])[] = [
      ["Repository", description],
      ["Unique ID", config.id],
      ["Format", `restic, version ${config.version}${layout.isOld ? ", in the layout of its first buckets" : ""}`],
      ["Key", keyId],
      ["Snapshots", `${snapshots.length}${unreadable.length === 0 ? "" : `, and ${unreadable.length} that cannot be read`}`],
      ["Contents", `${contents} (${trees} of them directories), ${formatBytes(plain)} in ${formatBytes(stored)}, in ${report.index.packCount} packs`],
      ["Index", `${counted(report.files, "file")}${damagedIndexes === 0 ? "" : `, ${damagedIndexes} of them cannot be read`}`],
      ...locks.map((lock) => ["Lock", lockLine(lock, terminal.clock.nowMs())] as const),
    ];
    terminal.out(lines.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}\n`).join(""));
  });
}

function lockLine(lock: ResticLock, nowMs: number): string {
  const { exclusive, userName, hostName, pid, timeNs } = lock;
  const stale = isStaleLock(lock, nowMs) ? ", left behind" : "";
  return `${exclusive ? "exclusive" : "shared"}, of ${userName}@${hostName} (process ${pid}) since ${formatTime(Number(timeNs / 1_000_000n))}${stale}`;
}

export function verifyResticRepository(isFull: boolean, options: RepositoryOptions, terminal: Terminal): Promise<void> {
  return withResticRepository(options, terminal, async (repository) => {
    const { signal, clock } = terminal;
    const view = new TransferView(terminal, "Verifying", options.json === true);
    await view.run(async () => {
      const { snapshots, unreadable } = await repository.listSnapshots(signal);
      await warnOfLocks(repository, terminal);
      const report = await verifyRestic({ repository, snapshots, mode: isFull ? "full" : "quick", clock, signal, onProgress: view.onProgress });
      view.clear();
      const lost = unreadable.map(({ id, error }) => ({ path: `snapshots/${id}`, message: error instanceof Error ? error.message : String(error) }));
      const count = lost.length + report.problemCount;
      view.problems([...lost, ...report.problems], count, "error");
      const { mode, contents, packs, files, directories, bytes } = report;
      view.summary(
        { repository: repository.description, mode, contents, packs, snapshots: snapshots.length, directories, files, bytes, problems: count },
        `Verified ${counted(contents, "content")} in ${counted(packs, "pack")}, and ${counted(files, "file")} (${formatBytes(bytes)}) of ${counted(snapshots.length, "snapshot")}${isFull ? " to the last byte" : ""}: ${count === 0 ? "no problems" : counted(count, "problem")}\n`,
      );
      if (count > 0) terminal.exitCode = EXIT.failed;
    });
  });
}
