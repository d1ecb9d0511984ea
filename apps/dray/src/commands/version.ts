import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";

export function define(command: Command, terminal: Terminal): void {
  command.option("--json", "print as JSON").action((options: { json?: boolean }) => {
    const version = programVersion();
    terminal.out(
      options.json === true
        ? `${JSON.stringify({ client: { version, node: process.versions.node } })}\n`
        : `dray ${version} (Node ${process.versions.node}, ${process.platform}/${process.arch})\n`,
    );
  });
}
