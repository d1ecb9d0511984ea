import { restores } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { downloadText } from "../cluster/download.ts";
import type { Terminal } from "../terminal.ts";

const WITHOUT_LOGS: ReadonlySet<string> = new Set(["", "New", "InProgress", "FailedValidation"]);

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the restore")
    .action((name: string, options: ClusterOptions) =>
      withCluster(options, terminal, async (access) => {
        const restore = await getNamed(access.client, restores, { namespace: access.namespace, name }, terminal.signal);
        const phase = restore.status?.phase ?? "New";
        if (WITHOUT_LOGS.has(phase))
          throw new DrayError(
            "BLOB_NOT_FOUND",
            `Cannot show the log of restore "${name}": it is ${phase}, ${phase === "FailedValidation" ? "so it never began" : "and the log is stored when it ends"}`,
            {
              hint: `dray restore describe ${name} shows ${phase === "FailedValidation" ? "why" : "where it is"}.`,
            },
          );
        terminal.out(await downloadText(access, "RestoreLog", name, terminal));
      }),
    );
}
