import { restores } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "restores")
    .option("--confirm", "yes, delete")
    .action((names: string[], options: ClusterOptions & { confirm?: boolean }) =>
      withCluster(options, terminal, async ({ client, namespace }) => {
        for (const name of names) await getNamed(client, restores, { namespace, name }, terminal.signal);
        if (options.confirm !== true)
          throw new DrayError("USAGE", `Cannot delete ${names.map((name) => `"${name}"`).join(", ")} without --confirm`, {
            hint: "Only the record of the restore goes, not what was restored.",
          });
        for (const name of names) {
          await client.delete(restores, { namespace, name }, { signal: terminal.signal });
          terminal.out(`Restore "${name}" deleted\n`);
        }
      }),
    );
}
