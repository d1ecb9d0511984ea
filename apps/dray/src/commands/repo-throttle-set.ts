import { DrayError } from "@drayage/base";
import type { ThrottleLimits } from "@drayage/blob";
import type { Command } from "commander";
import { type RepositoryOptions, repositoryUrl, withPlaceOptions } from "../engine/repository-access.ts";
import { loadThrottle, storeThrottle, THROTTLE_SETTINGS, type ThrottleSetting } from "../engine/throttle-settings.ts";
import type { Terminal } from "../terminal.ts";
import { printLimits } from "./repo-throttle-get.ts";

const MEANINGS: Readonly<Record<ThrottleSetting["unit"], string>> = { bytes: "bytes a second", requests: "requests a second", calls: "requests at once" };

export function define(command: Command, terminal: Terminal): void {
  const described = withPlaceOptions(command);
  for (const { flag, unit } of THROTTLE_SETTINGS) described.option(`--${flag} <number>`, `${MEANINGS[unit]}, or "unlimited"`);
  described.action((options: RepositoryOptions & Readonly<Record<string, unknown>>) => {
    const url = repositoryUrl(options, terminal);
    const chosen = THROTTLE_SETTINGS.flatMap((setting) => {
      const text = options[propertyOf(setting.flag)];
      return typeof text === "string" ? [[setting.limit, parseLimit(setting, text)] as const] : [];
    });
    if (chosen.length === 0)
      throw new DrayError("USAGE", "Cannot change the limits: no flag says which", { hint: "For example: --upload-bytes-per-second 10000000" });
    const limits: ThrottleLimits = { ...loadThrottle(url, terminal), ...Object.fromEntries(chosen) };
    storeThrottle(url, limits, terminal);
    printLimits(limits, options, terminal);
  });
}

/** 0 for none. Throws USAGE. */
function parseLimit({ flag, unit }: ThrottleSetting, text: string): number {
  if (text === "unlimited" || text === "-") return 0;
  const isNumber = unit === "calls" ? /^\d{1,6}$/.test(text) : /^\d{1,15}(\.\d{1,6})?$/.test(text);
  if (isNumber) return Number(text);
  throw new DrayError("USAGE", `Cannot read --${flag} "${text}": a ${unit === "calls" ? "whole " : ""}number of at least 0 or "unlimited" is wanted`);
}

/** As commander names the value of a flag. */
function propertyOf(flag: string): string {
  return flag.replaceAll(/-([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
