import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { defineDirection } from "./data-mover.ts";

export function define(command: Command, terminal: Terminal): void {
  defineDirection(command, terminal, "backup");
}
