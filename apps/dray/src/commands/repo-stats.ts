import { formatBytes } from "@drayage/base";
import { type RepositoryStatistics, repositoryStatistics } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

const CONTENT_KINDS: Readonly<Record<string, string>> = { "": "file data", k: "directories", x: "lists of chunks", m: "manifests" };
const BLOB_KINDS: Readonly<Record<string, string>> = {
  p: "packs of data",
  q: "packs of metadata",
  x: "indexes",
  n: "indexes",
  m: "compaction logs",
  l: "cleanup logs",
  s: "sessions under way",
  _: "kopia's logs",
  kopia: "format",
};

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command).action((options: RepositoryOptions) =>
    withRepository(options, terminal, { readOnly: true, fresh: true }, async (repository) => {
      const statistics = await repositoryStatistics(repository, terminal.signal);
      terminal.out(options.json === true ? formatJson({ type: "summary", repository: repository.description, ...statistics }) : describe(statistics));
    }),
  );
}

function describe({ contents, deletedContents, byPrefix, byCompressor, bySize, blobs, unusedPackBytes }: RepositoryStatistics): string {
  const line = (name: string, count: number, bytes: number, originalBytes?: number): string =>
    `  ${name.padEnd(28)}${String(count).padStart(12)}${formatBytes(bytes).padStart(14)}${originalBytes === undefined ? "" : formatBytes(originalBytes).padStart(14)}\n`;
  const head = (title: string, original: boolean): string =>
    `${title.padEnd(30)}${"NUMBER".padStart(12)}${"STORED".padStart(14)}${original ? "ORIGINAL".padStart(14) : ""}\n`;
  return [
    head("CONTENTS", true),
    line("all", contents.count, contents.bytes, contents.originalBytes),
    ...Object.entries(byPrefix).map(([prefix, { count, bytes, originalBytes }]) =>
      line(CONTENT_KINDS[prefix] ?? `prefix ${prefix}`, count, bytes, originalBytes),
    ),
    ...(deletedContents.count === 0 ? [] : [line("deleted, not yet given back", deletedContents.count, deletedContents.bytes)]),
    head("COMPRESSED WITH", true),
    ...Object.entries(byCompressor).map(([name, { count, bytes, originalBytes }]) => line(name, count, bytes, originalBytes)),
    head("CONTENTS UP TO", false),
    ...bySize.map(({ upTo, count, bytes }) => line(formatBytes(upTo), count, bytes)),
    head("BLOBS", false),
    ...Object.entries(blobs).map(([letter, { count, bytes }]) => line(BLOB_KINDS[letter] ?? `beginning with "${letter}"`, count, bytes)),
    `Unused in packs: ${formatBytes(unusedPackBytes)}\n`,
  ].join("");
}
