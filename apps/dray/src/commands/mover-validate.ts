import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { conformance, type MoverSample } from "@drayage/mover-sdk/conformance";
import { loadMover } from "@drayage/movers/host";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  command
    .argument("<module>", "the file whose default export is the mover; `sample` beside it is what is moved, a small volume when left out")
    .action(async (file: string) => {
      const { mover, module } = await loadMover(resolve(terminal.cwd, file));
      const folder = mkdtempSync(join(tmpdir(), "dray-mover-"));
      try {
        const sample = module["sample"] as MoverSample | undefined;
        const report = await conformance(mover, {
          folder,
          clock: terminal.clock,
          ...(sample === undefined ? {} : { sample }),
          onResult: ({ name, ok, message }) => terminal.out(`${ok ? "pass" : "FAIL"}  ${name}${message === undefined ? "" : `: ${message}`}\n`),
        });
        const failed = report.filter(({ ok }) => !ok).length;
        terminal.out(failed === 0 ? `Mover "${mover.name}" passes.\n` : `Mover "${mover.name}" fails ${failed} of ${report.length} checks.\n`);
        if (failed > 0) terminal.exitCode = 1;
      } finally {
        rmSync(folder, { recursive: true, force: true });
      }
    });
}
