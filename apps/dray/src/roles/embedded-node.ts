/** `dray embedded node`: the process of one node of the embedded cluster. Started by `dray cluster up`. */
import { join } from "node:path";
import { runNode } from "@drayage/embedded/cluster-node";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { keepCompiledCode } from "./compiled-code.ts";
import { programImage } from "./embedded-image.ts";
import { parseLogLevel, processLogger } from "./process-logger.ts";

interface Options {
  readonly dir: string;
  readonly name: string;
  readonly logLevel: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .requiredOption("--dir <folder>", "the cluster")
    .requiredOption("--name <node>", "the node")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .action(async ({ dir, name, logLevel }: Options) => {
      const { clock, random, signal, env } = terminal;
      const logger = processLogger(parseLogLevel(logLevel), name);
      const image = programImage(join(dir, "program", name), env["NODE_COMPILE_CACHE"] ?? join(dir, "compile-cache"));
      await runNode({ directory: dir, nodeName: name, imageMap: [image], clock, random, logger, signal, onReady: keepCompiledCode });
    });
}
