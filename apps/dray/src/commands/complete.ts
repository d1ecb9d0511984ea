import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { commandTable, groupSummaries } from "./table.ts";

/** Cobra's directive 4: no file names. */
const NO_FILES = ":4";
/** Let the shell offer file names. */
const FILES = ":0";

/** Candidates for the last word, in Cobra's wire format: `word TAB description` lines, then a directive. kubectl's plug-in completion reads the same. */
export function candidates(words: readonly string[]): string[] {
  const given = words.slice(0, -1).filter((word) => !word.startsWith("-"));
  const start = words.at(-1) ?? "";
  const next = new Map<string, string>();
  for (const entry of commandTable) {
    if (entry.hidden === true || !given.every((word, index) => entry.words[index] === word)) continue;
    const word = entry.words[given.length];
    if (word === undefined || !word.startsWith(start)) continue;
    next.set(word, given.length + 1 === entry.words.length ? entry.summary : (groupSummaries[[...given, word].join(" ")] ?? ""));
  }
  return next.size === 0 ? [FILES] : [...[...next].map(([word, summary]) => `${word}\t${summary}`), NO_FILES];
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument("[words...]")
    .allowUnknownOption()
    .action((words: string[]) => terminal.out(`${candidates(words).join("\n")}\n`));
}
