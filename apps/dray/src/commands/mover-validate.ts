import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { DRAYAGE_DATA_MOVER } from "@drayage/api";
import type { DataMover } from "@drayage/mover-sdk";
import { conformance, type MoverSample } from "@drayage/mover-sdk/conformance";
import { createBuiltInMover, openInStore } from "@drayage/movers/builtin";
import { loadMover } from "@drayage/movers/host";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";

/** A check of the built-in mover opens a repository many times. */
const BUILT_IN_LIMIT_MS = 110_000;

export function define(command: Command, terminal: Terminal): void {
  command
    .argument(
      "<module>",
      'the file whose default export is the mover; `sample` beside it is what is moved, a small volume when left out. "drayage" is the built-in mover',
    )
    .action(async (subject: string) => {
      const { mover, sample, limitMs } = await moverOf(subject, terminal);
      const folder = mkdtempSync(join(tmpdir(), "dray-mover-"));
      try {
        const report = await conformance(mover, {
          folder,
          clock: terminal.clock,
          ...(sample === undefined ? {} : { sample }),
          ...(limitMs === undefined ? {} : { limitMs }),
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

interface Subject {
  readonly mover: DataMover;
  readonly sample?: MoverSample | undefined;
  readonly limitMs?: number;
}

async function moverOf(subject: string, { clock, random, cwd }: Terminal): Promise<Subject> {
  if (subject === DRAYAGE_DATA_MOVER)
    return { mover: createBuiltInMover({ version: programVersion(), clock, open: openInStore({ clock, random }) }), limitMs: BUILT_IN_LIMIT_MS };
  const { mover, module } = await loadMover(resolve(cwd, subject));
  return { mover, sample: module["sample"] as MoverSample | undefined };
}
