/** docs/cli.md, from the table of commands, the options that each command defines, and the table of exit codes. */
import { type Code, systemClock, systemRandom } from "@drayage/base";
import { Command, type Option } from "commander";
import { withClusterOptions } from "../apps/dray/src/cluster/access.ts";
import { type CommandEntry, commandTable, groupSummaries } from "../apps/dray/src/commands/table.ts";
import { EXIT, EXIT_MEANINGS, EXIT_OF_CODE } from "../apps/dray/src/exit-codes.ts";
import type { Terminal } from "../apps/dray/src/terminal.ts";

/** Commands only keep it for when they run. */
const nobody: Terminal = {
  out: () => undefined,
  write: () => Promise.resolve(),
  err: () => undefined,
  outIsTerminal: false,
  errIsTerminal: false,
  columns: 80,
  env: {},
  cwd: "/",
  clock: systemClock,
  random: systemRandom,
  signal: new AbortController().signal,
  exitCode: 0,
  askSecret: () => Promise.resolve(""),
  readInput: () => Promise.resolve(new Uint8Array()),
};

const INTRODUCTION = `# The command line

Written by \`tools/docs.ts\` from the table of commands, the options they define, and the table of exit codes.

Noun and verb go in either order (\`dray backup create\`, \`dray create backup\`), and nouns may be plural. \`dray help backup create\` and \`dray backup create --help\` are the same.
\`--debug\` shows where an error comes from. Results go to standard output; messages, warnings and progress to standard error: a live line on a terminal, otherwise a line every ten seconds.
\`--json\` prints one JSON object a line, \`{"type": "progress" | "summary" | "error", …, "schema": 1}\`, the summary last; lists are one JSON array.
An error says what failed, on what, why, and what to do next. Secrets are never taken from, or written to, a command line or a log.`;

/** The page. */
export async function cliPage(): Promise<string> {
  const shown = commandTable.filter((entry) => entry.hidden !== true);
  const groups = Map.groupBy(shown, ({ words }) => (words.length > 1 ? (words[0] ?? "") : ""));
  const sections: string[] = [];
  for (const [group, entries] of groups) {
    if (group !== "") sections.push(`## ${group}\n\n${groupSummaries[group] ?? ""}.`);
    for (const entry of entries) sections.push(await commandSection(entry, group === "" ? "##" : "###"));
  }
  return `${[INTRODUCTION, exitCodes(), clusterFlags(), ...sections].join("\n\n")}\n`;
}

function exitCodes(): string {
  const codesOf = (exit: number): string =>
    (Object.entries(EXIT_OF_CODE) as [Code, number][])
      .filter(([, its]) => its === exit)
      .map(([code]) => `\`${code}\``)
      .join(" ");
  const rows = (Object.keys(EXIT) as (keyof typeof EXIT)[]).map((name) => {
    const codes = EXIT[name] === EXIT.failed ? "every other one" : codesOf(EXIT[name]);
    return `| ${EXIT[name]} | ${EXIT_MEANINGS[name]} | ${codes} |`;
  });
  return ["## Exit codes", "", "| exit code | meaning | [error codes](errors.md) |", "|---|---|---|", ...rows].join("\n");
}

const optionRow = ({ flags, description }: Option): string => `| \`${flags.replaceAll("|", "\\|")}\` | ${description.replaceAll("|", "\\|")} |`;
const shownOptions = (command: Command): Option[] => command.options.filter(({ hidden }) => !hidden);
const clusterOptions = shownOptions(withClusterOptions(new Command()));

function clusterFlags(): string {
  return [
    "## Flags of every command that talks to a cluster",
    "",
    "They may also stand before the noun: `dray -n velero backup get`.",
    "",
    "| flag | meaning |",
    "|---|---|",
    ...clusterOptions.map(optionRow),
  ].join("\n");
}

async function commandSection(entry: CommandEntry, heading: string): Promise<string> {
  const command = new Command();
  (await entry.load()).define(command, nobody);
  const words = command.registeredArguments.map((argument) => {
    const word = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? `<${word}>` : `[${word}]`;
  });
  const shared = new Set(clusterOptions.map(({ flags }) => flags));
  const own = shownOptions(command).filter(({ flags }) => !shared.has(flags));
  const talksToCluster = own.length < shownOptions(command).length;
  const args = command.registeredArguments
    .filter(({ description }) => description !== "")
    .map((argument) => `- \`${argument.name()}\`: ${argument.description}`);
  return [
    `${heading} dray ${[...entry.words, ...words].join(" ").replaceAll("<", "\\<")}`,
    "",
    `${entry.summary}.${talksToCluster ? " Talks to a cluster." : ""}`,
    ...(args.length === 0 ? [] : ["", ...args]),
    ...(own.length === 0 ? [] : ["", "| flag | meaning |", "|---|---|", ...own.map(optionRow)]),
  ].join("\n");
}
