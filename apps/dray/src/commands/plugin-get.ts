import { type Command, Option } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { pluginsOfServer } from "../cluster/server-plugins.ts";
import { formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly output: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .addOption(new Option("-o, --output <format>", "how they are shown").choices(["table", "json"]).default("table"))
    .action(({ output, ...options }: Options) =>
      withCluster(options, terminal, async (access) => {
        const plugins = [...(await pluginsOfServer(access, terminal))].sort((a, b) => (`${a.kind}/${a.name}` < `${b.kind}/${b.name}` ? -1 : 1));
        terminal.out(
          output === "json"
            ? `${JSON.stringify(plugins, null, 2)}\n`
            : formatTable(plugins, [
                { header: "NAME", value: ({ name }) => name },
                { header: "KIND", value: ({ kind }) => kind },
              ]),
        );
      }),
    );
}
