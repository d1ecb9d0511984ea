import { formatBytes, toHex } from "@drayage/base";
import type { Repository } from "@drayage/repo";
import type { Command } from "commander";
import { copiesInUse, type LocalCopies } from "../engine/local-copies.ts";
import { type RepositoryOptions, repositoryUrl, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command).action(async (options: RepositoryOptions) => {
    if (isResticRepository(options, terminal)) return await (await import("../restic/repository.ts")).showResticStatus(options, terminal);
    await withRepository(options, terminal, { readOnly: true }, (repository) => showStatus(repository, options, terminal));
  });
}

async function showStatus(repository: Repository, options: RepositoryOptions, terminal: Terminal): Promise<void> {
  const { snapshots, unreadable } = await repository.snapshots.list({ signal: terminal.signal });
  let contents = 0;
  let packedBytes = 0;
  let originalBytes = 0;
  for (const info of repository.contents.list()) {
    contents++;
    packedBytes += info.packedLength;
    originalBytes += info.originalLength;
  }
  const { format } = repository;
  const copies = copiesInUse(repositoryUrl(options, terminal), repository.description, terminal);
  if (options.json === true) {
    terminal.out(
      formatJson({
        type: "summary",
        repository: repository.description,
        uniqueID: toHex(repository.uniqueId),
        format,
        snapshots: snapshots.length,
        unreadableSnapshots: unreadable.length,
        contents,
        originalBytes,
        packedBytes,
        localCopies: copies,
      }),
    );
    return;
  }
  const lines: readonly (readonly [string, string])[] = [
    ["Repository", repository.description],
    ["Unique ID", toHex(repository.uniqueId)],
    ["Format", `version ${format.version}, index version ${format.indexVersion}, ${format.usesEpochs ? "epochs" : "no epochs"}`],
    ["Hash", format.hash],
    ["Encryption", format.encryption],
    ["Splitter", format.splitter],
    ["Password", format.keyAlgorithm],
    ["Pack size", formatBytes(format.maxPackBytes)],
    ...(format.ecc === undefined ? [] : [["Correction", `${format.ecc.algorithm}, ${format.ecc.overheadPercent} %`] as const]),
    ["Snapshots", `${snapshots.length}${unreadable.length === 0 ? "" : `, and ${unreadable.length} that cannot be read`}`],
    ["Contents", `${contents}, ${formatBytes(originalBytes)} in ${formatBytes(packedBytes)}`],
    ["Copies", copiesLine(copies)],
  ];
  terminal.out(lines.map(([name, value]) => `${`${name}:`.padEnd(13)}${value}\n`).join(""));
}

function copiesLine({ indexBytes, blobs }: LocalCopies): string {
  const indexes = `${formatBytes(indexBytes)} of indexes`;
  if (blobs === undefined) return `${indexes}; no blobs`;
  const others = blobs.bytesOfAll === blobs.bytes ? "" : `, ${formatBytes(blobs.bytesOfAll)} with other repositories`;
  return `${indexes}; ${formatBytes(blobs.bytes)} of blobs${others}, of at most ${formatBytes(blobs.bytesMax)} in ${blobs.folder}`;
}
