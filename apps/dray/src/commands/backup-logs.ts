import { backups } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { downloadText } from "../cluster/download.ts";
import type { Terminal } from "../terminal.ts";

const HAVE_LOGS: ReadonlySet<string> = new Set([
  "Completed",
  "PartiallyFailed",
  "Failed",
  "WaitingForPluginOperations",
  "WaitingForPluginOperationsPartiallyFailed",
  "Finalizing",
  "FinalizingPartiallyFailed",
]);

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the backup")
    .action((name: string, options: ClusterOptions) =>
      withCluster(options, terminal, async (access) => {
        const backup = await getNamed(access.client, backups, { namespace: access.namespace, name }, terminal.signal);
        const phase = backup.status?.phase ?? "New";
        if (!HAVE_LOGS.has(phase))
          throw new DrayError(
            "BLOB_NOT_FOUND",
            `Cannot show the log of backup "${name}": it is ${phase}, ${phase === "FailedValidation" ? "so it never began" : "and the log is stored when it ends"}`,
            {
              hint: `dray backup describe ${name} shows ${phase === "FailedValidation" ? "why" : "where it is"}.`,
            },
          );
        terminal.out(await downloadText(access, "BackupLog", name, terminal));
      }),
    );
}
