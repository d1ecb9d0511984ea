/** `dray data-mover run OPERATION --module FILE`: the process of one mover pod whose mover is a module. */
import { DrayError } from "@drayage/base";
import { describeMover, type MoverOperation } from "@drayage/mover-sdk";
import { loadMover, runMover } from "@drayage/movers/host";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { type RoleOptions, runRole, withRoleOptions } from "./role.ts";

interface Options extends RoleOptions {
  readonly module: string;
}

const OPERATIONS: readonly string[] = ["backup", "restore", "delete"];

export function define(command: Command, terminal: Terminal): void {
  withRoleOptions(command)
    .argument("<operation>", "backup, restore, delete, or describe")
    .requiredOption("--module <file>", "the file whose default export is the mover")
    .action(async (operation: string, options: Options) => {
      if (operation === "describe") {
        const { mover } = await loadMover(options.module);
        terminal.out(`${JSON.stringify(describeMover(mover))}\n`);
        return;
      }
      if (!OPERATIONS.includes(operation)) throw new DrayError("USAGE", `Cannot carry out "${operation}": backup, restore, delete or describe is wanted`);
      await runRole(`data-mover-${operation}`, options, terminal, async ({ client, clock, random, logger, signal }) => {
        terminal.exitCode = await runMover({
          client,
          clock,
          random,
          logger,
          signal,
          env: terminal.env,
          module: options.module,
          operation: operation as MoverOperation,
        });
      });
    });
}
