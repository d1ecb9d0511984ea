import { schedules } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { describeSchedule } from "../describe/schedule.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "schedules")
    .action((names: string[], options: ClusterOptions) =>
      withCluster(options, terminal, async ({ client, namespace }) => {
        const texts: string[] = [];
        for (const name of names) texts.push(describeSchedule(await getNamed(client, schedules, { namespace, name }, terminal.signal)));
        terminal.out(texts.join("\n\n"));
      }),
    );
}
