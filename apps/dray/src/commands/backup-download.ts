import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { backups } from "@drayage/api";
import { DrayError, formatBytes, messageOf } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { downloadFile } from "../cluster/download.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the backup")
    .option("-o, --output <file>", "where to, NAME-data.tar.gz when left out")
    .option("--force", "replace a file that is there")
    .action((name: string, options: ClusterOptions & { output?: string; force?: boolean }) =>
      withCluster(options, terminal, async (access) => {
        await getNamed(access.client, backups, { namespace: access.namespace, name }, terminal.signal);
        const path = resolve(terminal.cwd, options.output ?? `${name}-data.tar.gz`);
        const bytes = await downloadFile(access, "BackupContents", name, terminal);
        try {
          writeFileSync(path, bytes, { flag: options.force === true ? "w" : "wx", mode: 0o600 });
        } catch (error) {
          throw new DrayError("PATH_IO", `Cannot write "${path}": ${messageOf(error)}`, { cause: error, hint: "--force replaces a file that is there." });
        }
        terminal.out(`Backup ${name} has been successfully downloaded to ${path} (${formatBytes(bytes.length)})\n`);
      }),
    );
}
