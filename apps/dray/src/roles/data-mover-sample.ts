/** `dray data-mover sample write|compare FOLDER`: the volume that `dray mover validate IMAGE` has a mover move, written into one pod's volume and compared in another's. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { treeDifferences, writeSampleVolume } from "@drayage/mover-sdk/conformance";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  command
    .argument("<verb>", "write or compare")
    .argument("<folder>", "the volume")
    .action((verb: string, folder: string) => {
      if (verb === "write") return writeSampleVolume(folder);
      if (verb !== "compare") throw new DrayError("USAGE", `Cannot ${verb} the sample: write or compare is wanted`);
      const wanted = mkdtempSync(join(tmpdir(), "dray-sample-"));
      try {
        writeSampleVolume(wanted);
        const differences = treeDifferences(wanted, folder);
        for (const line of differences) terminal.out(`${line}\n`);
        if (differences.length > 0) terminal.exitCode = 1;
      } finally {
        rmSync(wanted, { recursive: true, force: true });
      }
      return undefined;
    });
}
