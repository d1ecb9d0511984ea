#!/usr/bin/env node
/**
 * The program: joins command line, roles and packages. Reading order: this file → commands/table.ts → one file a verb → the package it calls.
 *
 * Grammar: `dray NOUN VERB` and `dray VERB NOUN` are the same; roles (`server`, `node-agent server`, `data-mover backup`) are commands too, and the image answers to `/velero` with the same words.
 */
import { Command, CommanderError, type Option } from "commander";
import { type CommandEntry, type CommandModule, commandTable, groupSummaries } from "./commands/table.ts";
import { EXIT, exitCodeOf, renderError } from "./exit-codes.ts";
import { keepHeapSmall } from "./heap-growth.ts";
import { processTerminal, type Terminal } from "./terminal.ts";
import { programVersion } from "./version.ts";

/** Runs one command line and returns its exit code. Nothing is thrown. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  const words = arrange(args);
  const debug = words.includes("--debug");
  terminal.debug = debug;
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

/** The flags of kubectl and Velero that people also write before the verb: `dray -n velero backup get`. Each takes a value. */
const LEADING_FLAGS: ReadonlySet<string> = new Set(["-n", "--namespace", "--kubeconfig", "--context", "--kubecontext"]);

/** The words in the order that commands are defined in: noun, verb, arguments; cluster flags last; `help` as the flag it stands for. */
export function arrange(args: readonly string[], table: readonly CommandEntry[] = commandTable): readonly string[] {
  let verbAt = 0;
  while (args[verbAt]?.startsWith("-") === true) {
    const [flag = ""] = (args[verbAt] ?? "").split("=", 1);
    if (!LEADING_FLAGS.has(flag)) break;
    verbAt += args[verbAt]?.includes("=") === true ? 1 : 2;
  }
  const rest = args.slice(verbAt);
  const leading = args.slice(0, verbAt);
  const isKnown = (word: string | undefined): boolean => table.some(({ words }) => words[0] === word);
  if (rest[0] === "help") {
    const wanted = nounFirst(rest.slice(1), table);
    return wanted.length === 0 || isKnown(wanted[0]) ? [...wanted, "--help"] : wanted;
  }
  if (rest[1] === "help" && isKnown(rest[0])) return [rest[0] ?? "", ...rest.slice(2), "--help"];
  const ordered = nounFirst(rest, table);
  const end = ordered.indexOf("--");
  return end < 0 ? [...ordered, ...leading] : [...ordered.slice(0, end), ...leading, ...ordered.slice(end)];
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
    .version(`dray ${programVersion()}`, "--version", "print the version")
    .option("--debug", "show where an error comes from, and what was asked of the store")
    .helpCommand(true);
  const groups = new Map<string, Command>([["", program]]);
  for (const entry of commandTable) {
    const parent = entry.words.slice(0, -1).reduce((above, word, depth) => group(groups, above, entry.words.slice(0, depth + 1), word, terminal), program);
    const name = entry.words.at(-1) ?? "";
    const command = configure(parent.command(name, { hidden: entry.hidden === true }), terminal).description(entry.summary);
    const isMeant = entry.words.every((word, index) => args.filter((arg) => !arg.startsWith("-"))[index] === word);
    if (isMeant) (await loadCommand(entry)).define(command, terminal);
    else command.allowUnknownOption();
  }
  return program;
}

/** The module of a command; what its entry wants of the heap holds before anything of it is loaded. */
export function loadCommand({ smallHeap, load }: CommandEntry, keepSmall: () => void = keepHeapSmall): Promise<CommandModule> {
  if (smallHeap === true) keepSmall();
  return load();
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
    .configureHelp({ optionDescription })
    .configureOutput({
      writeOut: (text) => terminal.out(text),
      writeErr: (text) => terminal.err(text),
      outputError: (text, write) => write(text.replace(/^error: /, "dray: ")),
    });
}

/** Defaults that say something; that a flag without its value means true goes without saying. */
function optionDescription({ description, defaultValue }: Option): string {
  const says = defaultValue !== undefined && typeof defaultValue !== "boolean" && !(Array.isArray(defaultValue) && defaultValue.length === 0);
  return says ? `${description} (default: ${String(defaultValue)})` : description;
}

/** The entry of the process. */
export async function main(): Promise<void> {
  process.exitCode = await run(process.argv.slice(2), processTerminal());
}

if (import.meta.main) await main();
