/** The schedules that a command is about: those named, those with certain labels, or all of them. */
import { type Schedule, schedules } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { type ClusterAccess, getNamed } from "./access.ts";

export interface ChoiceOptions {
  readonly all?: boolean;
  readonly selector?: string;
}

export function withChoice(command: Command): Command {
  return command.argument("[names...]", "schedules").option("--all", "every schedule").option("-l, --selector <labels>", "schedules with these labels");
}

/** Throws USAGE when nothing is chosen. */
export function checkChoice(verb: string, names: readonly string[], options: ChoiceOptions): void {
  const ways = [names.length > 0, options.all === true, options.selector !== undefined].filter(Boolean).length;
  if (ways !== 1) throw new DrayError("USAGE", `Cannot ${verb} schedules: name them, or use --selector or --all${ways > 1 ? ", one of the three" : ""}`);
}

/** Throws KUBE_NOT_FOUND for a name that is not there. */
export async function chosenSchedules(
  { client, namespace }: ClusterAccess,
  names: readonly string[],
  options: ChoiceOptions,
  terminal: Terminal,
): Promise<Schedule[]> {
  const chosen: Schedule[] = [];
  for (const name of names) chosen.push(await getNamed(client, schedules, { namespace, name }, terminal.signal));
  if (names.length === 0)
    for await (const schedule of client.listAll(schedules, { namespace, labelSelector: options.selector, signal: terminal.signal })) chosen.push(schedule);
  if (chosen.length === 0) terminal.err(`No schedules found in namespace ${namespace}.\n`);
  return chosen;
}
