import { schedules } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { type ChoiceOptions, checkChoice, chosenSchedules, withChoice } from "../cluster/chosen-schedules.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions, ChoiceOptions {
  readonly skipImmediately?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withChoice(withClusterOptions(command)).action((names: string[], options: Options) => {
    checkChoice("pause", names, options);
    return withCluster(options, terminal, (access) => setPaused(access, names, true, options, terminal));
  });
}

/** Pauses schedules, or lets them go on. With `skipImmediately` what came while they were paused is left out. */
export async function setPaused(access: ClusterAccess, names: readonly string[], paused: boolean, options: Options, terminal: Terminal): Promise<void> {
  const verb = paused ? "paused" : "unpaused";
  for (const { metadata, spec } of await chosenSchedules(access, names, options, terminal)) {
    const name = metadata.name ?? "";
    if ((spec.paused ?? false) === paused) {
      terminal.out(`Schedule ${name} is already ${verb}, skip\n`);
      continue;
    }
    const change = { paused, ...(options.skipImmediately === undefined ? {} : { skipImmediately: options.skipImmediately }) };
    await access.client.patch(schedules, { namespace: access.namespace, name }, "merge", { spec: change }, { signal: terminal.signal });
    terminal.out(`Schedule ${name} ${verb} successfully\n`);
  }
}
