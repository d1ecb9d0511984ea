import { readFileSync } from "node:fs";
import { DrayError } from "@drayage/base";
import { systemCalls } from "@drayage/kernels";
import type { Command } from "commander";
import { change, quiesce, readSettings, resume, runApplication } from "../demo/application.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly volume?: string;
  readonly device?: string;
  readonly data?: string;
  readonly seed: string;
}

/** The application of the demo, and the commands of its hooks. */
export function define(command: Command, terminal: Terminal): void {
  command
    .argument("<verb>", "run, quiesce, resume or change")
    .option("--volume <dir>", "its filesystem volume")
    .option("--device <path>", "its block volume")
    .option("--data <dir>", "what to fill the volume with")
    .option("--seed <n>", "of the sample data", "1")
    .action(async (verb: string, options: Options) => {
      const system = systemCalls;
      const { clock, signal } = terminal;
      const settings = () => readSettings((path) => readFileSync(path, "utf8"));
      if (verb === "run") {
        if (options.volume === undefined) throw new DrayError("USAGE", "Cannot run the demo application: --volume is wanted");
        const device = options.device === undefined ? {} : { device: options.device };
        const data = options.data === undefined ? {} : { data: options.data };
        await runApplication(
          { volume: options.volume, seed: Number(options.seed), ...device, ...data },
          { clock, system, signal, asRoot: process.getuid?.() === 0 && canChangeOwners() },
        );
      } else if (verb === "quiesce") await quiesce(settings(), { clock, system });
      else if (verb === "resume") resume();
      else if (verb === "change") await change(clock);
      else throw new DrayError("USAGE", `Cannot do "${verb}": run, quiesce, resume or change is wanted`);
    });
}

/** In a user namespace with one mapped owner, root may not give files away. */
function canChangeOwners(): boolean {
  try {
    return readFileSync("/proc/self/uid_map", "utf8").trim().split(/\s+/)[2] !== "1";
  } catch {
    return true;
  }
}
