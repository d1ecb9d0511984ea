import { existsSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { DrayError } from "@drayage/base";
import { prepareNativeInBackground } from "@drayage/kernels";
import type { Command } from "commander";
import { runDemo } from "../demo/demo.ts";
import { createLocalWorld } from "../demo/local-world.ts";
import { parseCount } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly keep?: boolean;
  readonly data?: string;
  readonly json?: boolean;
  readonly nodes: string;
}

const VOLUME_BYTES = 2 * 1024 ** 3;

export function define(command: Command, terminal: Terminal): void {
  command
    .option("--keep", "leave the second cluster up")
    .option("--data <dir>", "your own directory in place of the sample data")
    .option("--json", "print events as lines of JSON, the summary last")
    .option("--nodes <n>", "nodes of each cluster", "2")
    .action(async (options: Options) => {
      const data = options.data === undefined ? undefined : resolve(terminal.cwd, options.data);
      if (data !== undefined && !(existsSync(data) && statSync(data).isDirectory()))
        throw new DrayError("PATH_NOT_FOUND", `Cannot use "${data}" for the demo: it is not a directory`);
      const nodes = parseCount("--nodes", options.nodes);
      prepareNativeInBackground(terminal.env);
      const world = await createLocalWorld(terminal, nodes);
      const keep = options.keep === true;
      let finished = false;
      try {
        await runDemo(
          {
            json: options.json === true,
            keep,
            asRoot: process.getuid?.() === 0,
            recoveryFile: join(world.folder, "recovery.json"),
            volumeBytes: VOLUME_BYTES,
            ...(data === undefined ? {} : { data }),
          },
          world,
          terminal,
        );
        finished = true;
      } finally {
        if (!finished && keep) terminal.err(`What happened can be looked at in ${world.folder}\n`);
        await world.close({ keep });
      }
    });
}
