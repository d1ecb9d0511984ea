import { clusterUp } from "@drayage/embedded/cluster";
import type { Command } from "commander";
import { clusterFolder, parseImageMap, roleCommand } from "../cluster/embedded.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly dir?: string;
  readonly nodes?: string;
  readonly port?: string;
  readonly bucket?: readonly string[];
  readonly imageMap?: readonly string[];
  readonly timeout?: string;
}

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

export function define(command: Command, terminal: Terminal): void {
  command
    .option("--dir <folder>", "where the cluster is kept ($XDG_STATE_HOME/drayage/cluster)")
    .option("--nodes <n>", "how many nodes it has (2)")
    .option("--port <n>", "of the API server; a free one otherwise")
    .option("--bucket <name>", "start an object store with this bucket; may be given again", collect)
    .option("--image-map <pattern=path>", "host programs that stand behind an image; may be given again", collect)
    .option("--timeout <duration>", "how long it may take (60s)")
    .action(async (options: Options) => {
      const { clock, random, signal, env } = terminal;
      const startedMs = clock.monotonicMs();
      const timeoutMs = parseTimeout(options.timeout);
      const cluster = await clusterUp({
        directory: clusterFolder(options.dir, terminal),
        launch: (role) => roleCommand(role, env),
        clock,
        random,
        signal,
        ...(options.nodes === undefined ? {} : { nodes: Number(options.nodes) }),
        ...(options.port === undefined ? {} : { port: Number(options.port) }),
        ...(options.bucket === undefined ? {} : { buckets: options.bucket }),
        ...(options.imageMap === undefined ? {} : { imageMap: options.imageMap.map(parseImageMap) }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
      const seconds = ((clock.monotonicMs() - startedMs) / 1000).toFixed(1);
      terminal.out(`The cluster in "${cluster.directory}" is up after ${seconds} s: ${cluster.nodes.join(", ")}; API server ${cluster.server}\n`);
      if (cluster.objectStore !== undefined) {
        terminal.out(
          `Object store ${cluster.objectStore.url}, buckets ${cluster.objectStore.buckets.join(", ")}, keys in "${cluster.objectStore.credentialsPath}"\n`,
        );
      }
      terminal.out(`\n  export KUBECONFIG=${cluster.kubeconfigPath}\n  kubectl get nodes\n`);
    });
}
