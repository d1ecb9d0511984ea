import { DrayError } from "@drayage/base";
import { fullSafety, type MaintenanceReport, maintainRepository, noSafety } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { keepYoungGenerationSmall } from "../heap-growth.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly full?: boolean;
  readonly quick?: boolean;
  readonly dryRun?: boolean;
  readonly safety: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--full", "also give back the space of what is no longer needed")
    .option("--quick", "keep the index small, whether or not it is due")
    .option("--dry-run", "say what would be done, and change nothing")
    .option("--safety <level>", "full; none leaves out every waiting time, and is only safe while nobody else uses the repository", "full")
    .action((options: Options) =>
      withRepository(options, terminal, { readOnly: false, fresh: true }, async (repository) => {
        keepYoungGenerationSmall();
        if (options.safety !== "full" && options.safety !== "none")
          throw new DrayError("USAGE", `Cannot maintain with --safety "${options.safety}": full or none is wanted`);
        if (options.full === true && options.quick === true) throw new DrayError("USAGE", "Cannot maintain: --full and --quick exclude each other");
        const report = await maintainRepository(repository, {
          mode: options.full === true ? "full" : options.quick === true ? "quick" : "auto",
          safety: options.safety === "none" ? noSafety : fullSafety,
          dryRun: options.dryRun === true,
          signal: terminal.signal,
        });
        terminal.out(
          options.json === true
            ? `${JSON.stringify({ type: "summary", schema: 1, dryRun: options.dryRun === true, ...report })}\n`
            : formatReport(report, options.dryRun === true),
        );
      }),
    );
}

/** One line a task: what was done, or why it was left out. */
export function formatReport({ mode, tasks }: MaintenanceReport, dryRun: boolean): string {
  if (mode === "none") return "Nothing is due; --quick or --full does it now.\n";
  const lines = tasks.map(({ task, skipped, figures }) => {
    const numbers = Object.entries(figures).map(([name, value]) => `${name} ${value}`);
    return `  ${task}: ${skipped === undefined ? numbers.join(", ") || "nothing to do" : `left out, ${skipped}`}\n`;
  });
  return `${dryRun ? `A ${mode} maintenance would do this` : `Maintenance (${mode}) is done`}:\n${lines.join("")}`;
}
