import { type Command, Option } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { addPlugin, rejectWhileBusy } from "../cluster/server-plugins.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly confirm?: boolean;
  readonly imagePullPolicy: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<image>", "image of a plug-in made for Velero")
    .addOption(new Option("--image-pull-policy <policy>", "when it is fetched").choices(["Always", "IfNotPresent", "Never"]).default("IfNotPresent"))
    .option("--confirm", "yes, also while backups or restores run, which end with the server")
    .action((image: string, { confirm, imagePullPolicy, ...options }: Options) =>
      withCluster(options, terminal, async (access) => {
        if (confirm !== true) await rejectWhileBusy(access, `add plug-in "${image}"`, terminal);
        const name = await addPlugin(access, image, imagePullPolicy, terminal);
        terminal.out(`Plug-in ${name} added; the server starts anew with it. dray plugin get shows what it offers.\n`);
      }),
    );
}
