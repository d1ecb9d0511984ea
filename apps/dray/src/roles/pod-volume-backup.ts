import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { definePodVolume } from "./pod-volume.ts";

export function define(command: Command, terminal: Terminal): void {
  definePodVolume(command, terminal, "backup");
}
