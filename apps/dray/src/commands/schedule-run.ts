import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";
import { createFromSchedule } from "./backup-create.ts";

interface Options extends ClusterOptions {
  readonly name?: string;
  readonly wait?: boolean;
  readonly timeout?: string;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<schedule>", "the schedule")
    .option("--name <name>", "name of the backup, made from the time when left out")
    .option("-w, --wait", "wait until the backup has ended")
    .option("--timeout <duration>", "with --wait: how long to wait")
    .option("--json", "print what happened as JSON")
    .action((schedule: string, options: Options) => {
      const timeoutMs = parseTimeout(options.timeout);
      return withCluster(options, terminal, (access) => createFromSchedule(access, schedule, { name: options.name, timeoutMs }, options, terminal));
    });
}
