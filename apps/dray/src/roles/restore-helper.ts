/**
 * `dray restore-helper RESTORE-UID`, also `/velero-restore-helper`: the first init container of a restored pod. It ends when each volume below `/restores` has the file that says
 * that it is whole; the pod's own containers start after it. The kubelet ends it with its pod, so it needs no limit of its own.
 */
import { access, readdir } from "node:fs/promises";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { DONE_FOLDER } from "@drayage/movers/builtin";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

const POLL_MS = 1_000;
const SAY_EVERY_MS = 60_000;

interface Options {
  readonly root: string;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument("<restore-uid>", "the restore that is waited for")
    .option("--root <path>", "where the volumes are", "/restores")
    .action((restoreUid: string, { root }: Options) => {
      if (!/^[\w.-]+$/.test(restoreUid)) throw new DrayError("USAGE", `Cannot wait for restore "${restoreUid}": the UID of a Restore is wanted`);
      return waitForVolumes(root, restoreUid, terminal);
    });
}

/** Resolves when every folder below `root` holds `.velero/<restoreUid>`. Throws the reason of the terminal's signal. */
export async function waitForVolumes(root: string, restoreUid: string, terminal: Pick<Terminal, "clock" | "signal" | "out">): Promise<void> {
  const { clock, signal } = terminal;
  let saidAtMs = Number.NEGATIVE_INFINITY;
  for (;;) {
    const missing = await unfinished(root, restoreUid);
    if (missing.length === 0) break;
    if (clock.monotonicMs() - saidAtMs >= SAY_EVERY_MS) {
      terminal.out(`Waiting for ${missing.join(", ")}\n`);
      saidAtMs = clock.monotonicMs();
    }
    await clock.sleep(POLL_MS, signal);
  }
  terminal.out("All volumes are restored\n");
}

async function unfinished(root: string, restoreUid: string): Promise<string[]> {
  const missing: string[] = [];
  for (const entry of await readdir(root, { withFileTypes: true })) {
    if (!entry.isDirectory()) continue;
    const done = await access(join(root, entry.name, DONE_FOLDER, restoreUid)).then(
      () => true,
      () => false,
    );
    if (!done) missing.push(entry.name);
  }
  return missing;
}
