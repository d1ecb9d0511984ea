/** `dray embedded control-plane`: API server, controllers and object store of the embedded cluster in one process. Started by `dray cluster up`. */
import { runControlPlane } from "@drayage/embedded/cluster-control-plane";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { keepCompiledCode } from "./compiled-code.ts";
import { parseLogLevel, processLogger } from "./process-logger.ts";

interface Options {
  readonly dir: string;
  readonly logLevel: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .requiredOption("--dir <folder>", "the cluster")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .action(async ({ dir, logLevel }: Options) => {
      const { clock, random, signal } = terminal;
      await runControlPlane({
        directory: dir,
        clock,
        random,
        signal,
        onReady: keepCompiledCode,
        logger: processLogger(parseLogLevel(logLevel), "control-plane"),
      });
    });
}
