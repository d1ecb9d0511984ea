import { type Command, Option } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { addPlugin } from "../cluster/server-plugins.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly imagePullPolicy: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<image>", "image of a plug-in made for Velero")
    .addOption(new Option("--image-pull-policy <policy>", "when it is fetched").choices(["Always", "IfNotPresent", "Never"]).default("IfNotPresent"))
    .action((image: string, { imagePullPolicy, ...options }: Options) =>
      withCluster(options, terminal, async (access) => {
        const name = await addPlugin(access, image, imagePullPolicy, terminal);
        terminal.out(`Plug-in ${name} added; the server starts anew with it. dray plugin get shows what it offers.\n`);
      }),
    );
}
