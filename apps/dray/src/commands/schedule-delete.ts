import { schedules } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type ChoiceOptions, checkChoice, chosenSchedules, withChoice } from "../cluster/chosen-schedules.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions, ChoiceOptions {
  readonly confirm?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withChoice(withClusterOptions(command))
    .option("--confirm", "yes, delete")
    .action((names: string[], options: Options) => {
      checkChoice("delete", names, options);
      return withCluster(options, terminal, async (access) => {
        const chosen = await chosenSchedules(access, names, options, terminal);
        if (chosen.length === 0) return;
        if (options.confirm !== true) {
          throw new DrayError("USAGE", `Cannot delete ${chosen.map(({ metadata }) => `"${metadata.name}"`).join(", ")} without --confirm`, {
            hint: "Backups stay, unless the schedule was made with --use-owner-references-in-backup: then their objects go with it.",
          });
        }
        for (const { metadata } of chosen) {
          await access.client.delete(schedules, { namespace: access.namespace, name: metadata.name ?? "" }, { signal: terminal.signal });
          terminal.out(`Schedule deleted: ${metadata.name}\n`);
        }
      });
    });
}
