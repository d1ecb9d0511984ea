import { type Command, Option } from "commander";
import { type ClusterOptions, parseOptionalBoolean, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type ChoiceOptions, checkChoice, withChoice } from "../cluster/chosen-schedules.ts";
import type { Terminal } from "../terminal.ts";
import { setPaused } from "./schedule-pause.ts";

interface Options extends ClusterOptions, ChoiceOptions {
  readonly skipImmediately?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withChoice(withClusterOptions(command))
    .addOption(
      new Option("--skip-immediately [true|false]", "leave out what came while it was paused")
        .preset(true)
        .argParser(parseOptionalBoolean("--skip-immediately")),
    )
    .action((names: string[], options: Options) => {
      checkChoice("unpause", names, options);
      return withCluster(options, terminal, (access) => setPaused(access, names, false, options, terminal));
    });
}
