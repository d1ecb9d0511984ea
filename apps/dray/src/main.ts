#!/usr/bin/env node
/**
 * The program: joins command line, roles and packages. Reading order: this file → commands/table.ts → one file a verb → the package it calls.
 *
 * Grammar: `dray NOUN VERB` and `dray VERB NOUN` are the same; roles (`server`, `node-agent server`, `data-mover backup`) are commands too, and the image answers to `/velero` with the same words.
 */
import { Command, CommanderError } from "commander";
import { type CommandEntry, commandTable, groupSummaries } from "./commands/table.ts";
import { EXIT, exitCodeOf, renderError } from "./exit-codes.ts";
import { processTerminal, type Terminal } from "./terminal.ts";

/** Runs one command line and returns its exit code. Nothing is thrown. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const words = nounFirst(args);
  const debug = words.includes("--debug");
  try {
    const program = await buildProgram(words, terminal);
    await program.parseAsync(words.filter((word) => word !== "--debug") as string[], { from: "user" });
    return terminal.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    terminal.err(renderError(error, { debug, signal: terminal.signal }));
    return exitCodeOf(error, terminal.signal);
  }
}

/** `create backup x` → `backup create x`, where that is a command and the given order is not. */
export function nounFirst(args: readonly string[], table: readonly CommandEntry[] = commandTable): readonly string[] {
  const [first, second, ...rest] = args;
  if (first === undefined || second === undefined) return args;
  const noun = second.replace(/s$/, "");
  const has = (a: string, b: string): boolean => table.some(({ words }) => words[0] === a && words[1] === b);
  if (has(first, second) || table.some(({ words }) => words.length === 1 && words[0] === first)) return args;
  for (const candidate of [second, noun]) if (has(candidate, first)) return [candidate, first, ...rest];
  const singular = first.replace(/s$/, "");
  return singular !== first && has(singular, second) ? [singular, second, ...rest] : args;
}

/** The tree of commands; only the one that is meant gets its options, from its own module. */
async function buildProgram(args: readonly string[], terminal: Terminal): Promise<Command> {
  const program = configure(new Command("dray"), terminal)
    .description("Moves the data of Kubernetes volumes to object storage and brings stateful applications back")
    .option("--debug", "show where an error comes from")
    .helpCommand(true);
  const groups = new Map<string, Command>([["", program]]);
  for (const entry of commandTable) {
    const parent = entry.words.slice(0, -1).reduce((above, word, depth) => group(groups, above, entry.words.slice(0, depth + 1), word, terminal), program);
    const name = entry.words.at(-1) ?? "";
    const command = configure(parent.command(name, { hidden: entry.hidden === true }), terminal).description(entry.summary);
    const isMeant = entry.words.every((word, index) => args.filter((arg) => !arg.startsWith("-"))[index] === word);
    if (isMeant || helpIsFor(args, entry.words)) (await entry.load()).define(command, terminal);
    else command.allowUnknownOption();
  }
  return program;
}

function helpIsFor(args: readonly string[], words: readonly string[]): boolean {
  return args[0] === "help" && words.every((word, index) => args[index + 1] === word);
}

function group(groups: Map<string, Command>, parent: Command, path: readonly string[], word: string, terminal: Terminal): Command {
  const key = path.join(" ");
  const known = groups.get(key);
  if (known !== undefined) return known;
  const hidden = commandTable.filter(({ words }) => path.every((part, index) => words[index] === part)).every((entry) => entry.hidden === true);
  const created = configure(parent.command(word, { hidden }), terminal).description(groupSummaries[key] ?? "");
  groups.set(key, created);
  return created;
}

function configure(command: Command, terminal: Terminal): Command {
  return command
    .exitOverride()
    .showHelpAfterError("(add --help for what is possible)")
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "dray: ")),
    });
}

/** The entry of the process. */
export async function main(): Promise<void> {
  process.exitCode = await run(process.argv.slice(2), processTerminal());
}

if (import.meta.main) await main();
