import { formatBytes } from "@drayage/base";
import type { ThrottleLimits } from "@drayage/blob";
import type { Command } from "commander";
import { type RepositoryOptions, repositoryUrl, withPlaceOptions } from "../engine/repository-access.ts";
import { limitsJson, loadThrottle, THROTTLE_SETTINGS } from "../engine/throttle-settings.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withPlaceOptions(command).action((options: RepositoryOptions) => {
    printLimits(loadThrottle(repositoryUrl(options, terminal), terminal), options, terminal);
  });
}

export function printLimits(limits: ThrottleLimits, options: RepositoryOptions, terminal: Terminal): void {
  if (options.json === true) {
    terminal.out(formatJson({ type: "summary", ...limitsJson(limits) }));
    return;
  }
  for (const { limit, title, unit } of THROTTLE_SETTINGS) {
    const value = limits[limit] ?? 0;
    const shown = value === 0 ? "(unlimited)" : unit === "bytes" ? `${formatBytes(value)}/s` : String(value);
    terminal.out(`${`${title}:`.padEnd(31)}${shown}\n`);
  }
}
