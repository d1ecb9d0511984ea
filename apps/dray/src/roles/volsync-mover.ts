/** `dray volsync-mover`: what runs in the pod of a ReplicationSource or ReplicationDestination. What it is to do is in its environment. */
import { runVolSyncMover } from "@drayage/movers/volsync";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { parseLogLevel, processLogger } from "./process-logger.ts";
import { type RoleOptions, withRoleOptions } from "./role.ts";

export function define(command: Command, terminal: Terminal): void {
  withRoleOptions(command).action(async (options: RoleOptions) => {
    const { clock, random, signal, env } = terminal;
    terminal.exitCode = await runVolSyncMover({ clock, random, signal, env, logger: processLogger(parseLogLevel(options.logLevel), "volsync-mover") });
  });
}
