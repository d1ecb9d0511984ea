/** `dray hold-volume`: the process of a pod that has a volume bound and mounted until somebody else has read it. It does nothing; the kubelet ends it with its pod. */
import { isAbort } from "@drayage/base";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

const LONG_MS = 3_600_000;

export function define(command: Command, terminal: Terminal): void {
  command.action(async () => {
    const { clock, signal } = terminal;
    terminal.out("Holding the volume\n");
    try {
      while (!signal.aborted) await clock.sleep(LONG_MS, signal);
    } catch (error) {
      if (!isAbort(error, signal)) throw error;
    }
  });
}
