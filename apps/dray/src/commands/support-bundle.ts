import { createWriteStream } from "node:fs";
import { rename, rm } from "node:fs/promises";
import { resolve } from "node:path";
import { pipeline } from "node:stream/promises";
import { createGzip } from "node:zlib";
import { DrayError, formatBytes, messageOf, randomSuffix } from "@drayage/base";
import type { Command } from "commander";
import { pack } from "tar-stream";
import { type ClusterOptions, collect, parseList, withCluster, withClusterOptions } from "../cluster/access.ts";
import { counted } from "../output/counted.ts";
import { type BundleFile, collectBundle } from "../support/collect.ts";
import type { Terminal } from "../terminal.ts";

interface SupportOptions extends ClusterOptions {
  readonly output?: string;
  readonly backup?: readonly string[];
  readonly restore?: readonly string[];
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .option("-o, --output <file>", "where to, dray-support-TIME.tar.gz when left out")
    .option("--backup <name>", "a backup whose log and results are wanted too, may be repeated", collect)
    .option("--restore <name>", "a restore whose log and results are wanted too, may be repeated", collect)
    .action((options: SupportOptions) =>
      withCluster(options, terminal, async (access) => {
        const time = new Date(terminal.clock.nowMs()).toISOString().replace(/[-:]|\.\d+/g, "");
        const path = resolve(terminal.cwd, options.output ?? `dray-support-${time}.tar.gz`);
        const request = { backups: parseList(options.backup) ?? [], restores: parseList(options.restore) ?? [] };
        const { files, bytes } = await writeBundle(path, collectBundle(access, request, terminal), terminal);
        terminal.out(`Wrote ${counted(files, "file")} (${formatBytes(bytes)}) to ${path}\n`);
        terminal.out("Secrets are taken out. Names of namespaces, volumes and buckets are in it: look through it before you hand it on.\n");
      }),
    );
}

/** Under its name only once it is whole, readable by its owner alone. Throws PATH_IO. */
async function writeBundle(path: string, files: AsyncIterable<BundleFile>, { clock, random, signal }: Terminal): Promise<{ files: number; bytes: number }> {
  const partial = `${path}.${randomSuffix(random, 8)}.partial`;
  const archive = pack();
  let count = 0;
  let bytes = 0;
  const feed = async (): Promise<void> => {
    for await (const { name, text } of files) {
      await new Promise<void>((done, fail) =>
        archive.entry({ name, mode: 0o600, mtime: new Date(clock.nowMs()) }, text, (error) => (error ? fail(error) : done())),
      );
      count++;
      bytes += Buffer.byteLength(text);
    }
    archive.finalize();
  };
  try {
    const feeding = feed().catch((error: unknown) => {
      archive.destroy(error as Error);
      throw error;
    });
    const writing = pipeline(archive, createGzip(), createWriteStream(partial, { flags: "wx", mode: 0o600 }), { signal });
    const [written, fed] = await Promise.allSettled([writing, feeding]);
    signal.throwIfAborted();
    if (written.status === "rejected" && (written.reason as NodeJS.ErrnoException).syscall !== undefined) throw unwritable(path, written.reason);
    if (fed.status === "rejected") throw fed.reason;
    if (written.status === "rejected") throw unwritable(path, written.reason);
    await rename(partial, path).catch((error: unknown) => {
      throw unwritable(path, error);
    });
    return { files: count, bytes };
  } finally {
    await rm(partial, { force: true });
  }
}

const unwritable = (path: string, error: unknown): DrayError =>
  new DrayError("PATH_IO", `Cannot write "${path}": ${messageOf(error)}`, { cause: error, hint: "Give another file with --output." });
