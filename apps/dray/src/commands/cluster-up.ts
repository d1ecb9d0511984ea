import { DrayError } from "@drayage/base";
import { CSI_PROFILES, type CsiProfile, clusterUp, type RunningCluster, shellQuote } from "@drayage/embedded/cluster";
import { prepareNativeInBackground } from "@drayage/kernels";
import type { Command } from "commander";
import { clusterFolder, parseImageMap, roleCommand } from "../cluster/embedded.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import { parseCount } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly dir?: string;
  readonly nodes?: string;
  readonly port?: string;
  readonly bucket?: readonly string[];
  readonly imageMap?: readonly string[];
  readonly csiProfile?: readonly string[];
  readonly timeout?: string;
}

const PORT_MAX = 65_535;

const collect = (value: string, before: readonly string[] = []): readonly string[] => [...before, value];

export function define(command: Command, terminal: Terminal): void {
  command
    .option("--dir <folder>", "where the cluster is kept ($XDG_STATE_HOME/drayage/cluster)")
    .option("--nodes <n>", "how many nodes it has (2)")
    .option("--port <n>", "of the API server; a free one otherwise")
    .option("--bucket <name>", "start an object store with this bucket; may be given again", collect)
    .option("--image-map <pattern=path>", "host programs that stand behind an image; may be given again", collect)
    .option("--csi-profile <name>", `a CSI driver beside the cluster's own, with its classes: ${CSI_PROFILES.join(" or ")}; may be given again`, collect)
    .option("--timeout <duration>", "how long it may take (60s)")
    .action(async (options: Options) => {
      const { clock, random, signal, env } = terminal;
      const nodes = options.nodes === undefined ? undefined : parseCount("--nodes", options.nodes);
      const port = options.port === undefined ? undefined : parseCount("--port", options.port);
      if (port !== undefined && port > PORT_MAX) throw new DrayError("USAGE", `Cannot read --port "${port}": a port up to ${PORT_MAX} is wanted`);
      const startedMs = clock.monotonicMs();
      prepareNativeInBackground(env);
      const timeoutMs = parseTimeout(options.timeout);
      const cluster = await clusterUp({
        directory: clusterFolder(options.dir, terminal),
        launch: (role) => roleCommand(role, env),
        clock,
        random,
        signal,
        ...(nodes === undefined ? {} : { nodes }),
        ...(port === undefined ? {} : { port }),
        ...(options.bucket === undefined ? {} : { buckets: options.bucket }),
        ...(options.imageMap === undefined ? {} : { imageMap: options.imageMap.map(parseImageMap) }),
        ...(options.csiProfile === undefined ? {} : { csiProfiles: options.csiProfile.map(parseProfile) }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
      });
      const seconds = ((clock.monotonicMs() - startedMs) / 1000).toFixed(1);
      terminal.out(`The cluster in "${cluster.directory}" is up after ${seconds} s: ${cluster.nodes.join(", ")}; API server ${cluster.server}\n`);
      if (cluster.objectStore !== undefined) {
        terminal.out(
          `Object store ${cluster.objectStore.url}, buckets ${cluster.objectStore.buckets.join(", ")}, keys in "${cluster.objectStore.credentialsPath}"\n`,
        );
      }
      terminal.out(`\n  export KUBECONFIG=${shellQuote(cluster.kubeconfigPath)}\n  kubectl get nodes\n`);
      if (cluster.objectStore !== undefined) terminal.out(`  ${installCommand(cluster.objectStore)}\n`);
    });
}

function parseProfile(name: string): CsiProfile {
  const profile = CSI_PROFILES.find((one) => one === name);
  if (profile === undefined) throw new DrayError("USAGE", `Cannot read --csi-profile "${name}": one of ${CSI_PROFILES.join(", ")} is wanted`);
  return profile;
}

/** What installs Drayage on the cluster's own object store. The recovery file goes where the reader is, never into the cluster's folder: it has to outlive it. */
function installCommand({ url, buckets, credentialsPath }: NonNullable<RunningCluster["objectStore"]>): string {
  const config = `region=us-east-1,s3ForcePathStyle=true,s3Url=${url}`;
  return `dray install --provider aws --bucket ${buckets[0]} --backup-location-config ${config} --secret-file ${credentialsPath} --recovery-file recovery.json --wait`;
}
