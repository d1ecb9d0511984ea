/** `dray node-agent server`: the DataUploads and DataDownloads of this node. Also answers to `velero node-agent server` with its arguments. */

import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError, errorFields, hasCode, makeFolders, randomHex } from "@drayage/base";
import {
  dataMoverClaims,
  inheritedSettings,
  type MoverPodSettings,
  type NodeAgentConfig,
  parseNodeAgentConfig,
  startMovedSnapshotRecordsController,
  startNodeAgent,
} from "@drayage/controllers";
import { MOVER_SERVICE_ACCOUNT, NODE_AGENT_NAME } from "@drayage/install";
import { configMaps, daemonSets, runAsLeader } from "@drayage/kube";
import type { Command } from "commander";
import { checkDuration, parseTimeout } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { LocationStores } from "./backup-stores.ts";
import { type MeteredRole, type Role, type RoleOptions, runMeteredRole, untilAborted, withRoleOptions } from "./role.ts";

/** The lease of the one node-agent that keeps records for a Velero server. */
const GUEST_LEASE = "drayage-guest";

interface Options extends RoleOptions {
  readonly nodeName?: string;
  readonly nodeAgentConfigmap?: string;
  readonly dataMoverPrepareTimeout?: string;
  readonly checkpointInterval?: string;
  readonly kubeletRootDir: string;
  readonly guest?: boolean;
  readonly claimBuiltin?: boolean;
  readonly daemonsetName: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRoleOptions(command)
    .option("--node-name <name>", "this node (NODE_NAME)")
    .option("--node-agent-configmap <name>", "ConfigMap with concurrency, affinity and the like")
    .option("--data-mover-prepare-timeout <duration>", "how long a volume may take to be ready for its mover")
    .option("--checkpoint-interval <duration>", "how often an upload saves what is there so far, for another node to go on from (5m)")
    .option("--kubelet-root-dir <path>", "the kubelet's folder on the nodes", "/var/lib/kubelet")
    .option("--guest", "a Velero server decides: take only what names drayage as its mover")
    .option("--daemonset-name <name>", "the DaemonSet whose image the movers run", NODE_AGENT_NAME)
    .option("--claim-builtin", "with --guest: also take what Velero's own node-agent would; that one must not run")
    .action((options: Options) => runMeteredRole("node-agent", options, terminal, (role) => serve(role, options, terminal)));
}

async function serve(role: MeteredRole, options: Options, terminal: Terminal): Promise<void> {
  const { client, namespace, signal } = role;
  const nodeName = options.nodeName ?? terminal.env["NODE_NAME"];
  if (nodeName === undefined || nodeName === "") throw new DrayError("USAGE", "Cannot run the node-agent: NODE_NAME is not set and --node-name not given");
  const { checkpointInterval } = options;
  // Refused here rather than by every mover.
  checkDuration("--checkpoint-interval", checkpointInterval);
  const extraArgs = [`--log-level=${options.logLevel}`, ...(checkpointInterval === undefined ? [] : [`--checkpoint-interval=${checkpointInterval}`])];
  const prepareTimeoutMs = parseTimeout(options.dataMoverPrepareTimeout);
  const agent = await startNodeAgent({
    ...role,
    nodeName,
    claims: dataMoverClaims({ mode: options.guest === true ? "guest" : "standalone", claimBuiltin: options.claimBuiltin === true }),
    pod: { ...(await ownSettings(role, options.daemonsetName)), serviceAccount: MOVER_SERVICE_ACCOUNT, extraArgs },
    kubeletRoot: options.kubeletRootDir,
    config: await loadConfig(role, options.nodeAgentConfigmap),
    ...(prepareTimeoutMs === undefined ? {} : { prepareTimeoutMs }),
  });
  role.logger.info("Taking data movements", { nodeName, namespace });
  if (options.guest === true) await keepRecords(role, terminal);
  else await untilAborted(signal);
  await agent.stop();
  await client.close();
}

/** One of the guest's node-agents keeps what a Velero server deletes moved data by. Returns when the process is to end; a lost lease is tried for again. */
async function keepRecords(role: MeteredRole, terminal: Terminal): Promise<void> {
  const { client, clock, random, logger, namespace, signal } = role;
  const pod = terminal.env["POD_NAME"];
  const identity = `${pod ?? "node-agent"}_${randomHex(random, 4)}`;
  const hasEnded = (holder: string): boolean => pod !== undefined && holder.startsWith(`${pod}_`);
  const temporaryFolder = join(terminal.env["SCRATCH_DIR"] ?? tmpdir(), "dray-node-agent");
  makeFolders(temporaryFolder, 0o700);
  while (!signal.aborted) {
    try {
      await runAsLeader({ client, lease: { namespace, name: GUEST_LEASE }, identity, hasEnded, clock, random, logger, signal }, async (leading) => {
        const stores = new LocationStores({ client, namespace, temporaryFolder, clock, random });
        const keeper = startMovedSnapshotRecordsController({ client, clock, random, logger, namespace, stores });
        await untilAborted(leading);
        await keeper.stop();
      });
    } catch (error) {
      if (!hasCode(error, "KUBE_CONFLICT")) throw error;
      logger.warn("No longer the one that records moved snapshots", errorFields(error));
    }
  }
}

/** Movers run the image that the node-agents run, with what else they take over from them. */
async function ownSettings({ client, namespace, signal }: Role, name: string): Promise<Omit<MoverPodSettings, "serviceAccount">> {
  const template = (await client.find(daemonSets, { namespace, name }, signal))?.spec.template;
  const image = template?.spec.containers[0]?.image ?? `drayage/dray:${programVersion()}`;
  return { image, ...(template === undefined ? {} : inheritedSettings(template)) };
}

async function loadConfig({ client, namespace, signal }: Role, name: string | undefined): Promise<NodeAgentConfig> {
  if (name === undefined) return {};
  return parseNodeAgentConfig(await client.get(configMaps, { namespace, name }, signal));
}
