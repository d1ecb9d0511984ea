/** How `dray snapshot diff` and `dray fs diff` show what differs: `+` added, `-` removed, `M` other content, `m` other attributes. */
import { formatBytes } from "@drayage/base";
import { type Difference, diffTrees, type TreeDifference } from "@drayage/datapath";
import { type DirectoryEntry, type Repository, textOfByteString } from "@drayage/repo";
import type { Terminal } from "../terminal.ts";
import { formatJson } from "./values.ts";

const SIGNS: Readonly<Record<Difference, string>> = { added: "+", removed: "-", content: "M", attributes: "m" };

/** Prints as it finds: trees of millions of entries are not gathered first. */
export async function printDifferences(
  repository: Repository,
  roots: { readonly before: DirectoryEntry; readonly after: DirectoryEntry },
  { json, facts }: { readonly json: boolean; readonly facts: Readonly<Record<string, unknown>> },
  terminal: Terminal,
): Promise<void> {
  const counts: Record<Difference, number> = { added: 0, removed: 0, content: 0, attributes: 0 };
  const side = (root: DirectoryEntry): { repository: Repository; root: DirectoryEntry } => ({ repository, root });
  for await (const found of diffTrees(side(roots.before), side(roots.after), terminal.signal)) {
    terminal.signal.throwIfAborted();
    counts[found.difference]++;
    terminal.out(json ? formatJson(eventOf(found)) : `${lineOf(found)}\n`);
  }
  if (json) terminal.out(formatJson({ type: "summary", ...facts, ...counts }));
  else terminal.out(`${counts.added} added, ${counts.removed} removed, ${counts.content} with other content, ${counts.attributes} with other attributes\n`);
}

function eventOf({ difference, path, kind, before, after, attributes }: TreeDifference): Record<string, unknown> {
  return {
    ...{ type: "difference", difference, path: `/${textOfByteString(path)}`, kind },
    ...(attributes.length === 0 ? {} : { attributes }),
    ...(before === undefined ? {} : { sizeBefore: sizeOf(before) }),
    ...(after === undefined ? {} : { sizeAfter: sizeOf(after) }),
  };
}

function lineOf({ difference, path, kind, before, after, attributes }: TreeDifference): string {
  const sizes = [before, after].filter((entry) => entry !== undefined && kind === "file").map((entry) => formatBytes(sizeOf(entry as DirectoryEntry)));
  const size = difference === "attributes" || sizes.length === 0 ? "" : ` (${sizes.join(" -> ")})`;
  return `${SIGNS[difference]} ${kind.padEnd(9)} /${textOfByteString(path)}${size}${attributes.length === 0 ? "" : ` ${attributes.join(",")}`}`;
}

function sizeOf(entry: DirectoryEntry): number {
  return entry.summary?.size ?? entry.size;
}
