/** `dray embedded object-store`: the bucket of the demo as a process of its own, which outlives the clusters. Prints where it listens as one line of JSON. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { startObjectStore } from "@drayage/embedded/object-store";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { processLogger } from "./process-logger.ts";
import { untilAborted } from "./role.ts";

/** `{ "accessKeyId", "secretAccessKey" }`, mode 0600. */
export const KEYS_FILE = "keys.json";

export function define(command: Command, terminal: Terminal): void {
  command
    .requiredOption("--dir <folder>", "buckets and keys")
    .requiredOption("--bucket <name>", "made when it is not there")
    .action(async ({ dir, bucket }: { dir: string; bucket: string }) => {
      const keys = join(dir, KEYS_FILE);
      if (!existsSync(keys)) throw new DrayError("PATH_NOT_FOUND", `Cannot start the object store: "${keys}" is not there`);
      const credentials = JSON.parse(readFileSync(keys, "utf8")) as { accessKeyId: string; secretAccessKey: string };
      const { clock, random, signal } = terminal;
      const store = await startObjectStore({
        directory: join(dir, "buckets"),
        buckets: [bucket],
        credentials,
        clock,
        random,
        logger: processLogger("warn", "object-store"),
      });
      terminal.out(`${JSON.stringify({ url: store.url })}\n`);
      await untilAborted(signal);
      await store.close();
    });
}
