/** `dray embedded csi-driver`: the CSI driver of the embedded cluster alone, on a node of any cluster, beside the ordinary sidecars. It registers itself with the node's kubelet. */
import { registerDriver, startCsiDriver } from "@drayage/embedded/csi-driver";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { parseLogLevel, processLogger } from "./process-logger.ts";
import { untilAborted } from "./role.ts";

interface Options {
  readonly socket: string;
  readonly storage: string;
  readonly name: string;
  readonly registry: string;
  readonly logLevel: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .requiredOption("--socket <path>", "where it listens, as kubelet and sidecars find it")
    .requiredOption("--storage <folder>", "volumes and snapshots")
    .requiredOption("--name <node>", "the node")
    .option("--registry <folder>", "where the kubelet looks for plug-ins", "/var/lib/kubelet/plugins_registry")
    .option("--log-level <level>", "debug, info, warn or error", "info")
    .action(async ({ socket, storage, name, registry, logLevel }: Options) => {
      const { clock, random, signal } = terminal;
      const logger = processLogger(parseLogLevel(logLevel), "csi-driver");
      const driver = await startCsiDriver({ socketPath: socket, stateDirectory: storage, nodeName: name, clock, random, logger });
      try {
        const registration = await registerDriver(driver, registry, logger);
        await untilAborted(signal);
        await registration.stop();
      } finally {
        await driver.stop();
      }
    });
}
