/** What every long-running role has: a client of the cluster it runs in, a log, the namespace of the installation, and a signal to end. */
import { MOVER_POD_UID_ENV } from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import type { Metrics } from "@drayage/controllers";
import { type ConnectedClient, createKubeClient } from "@drayage/kube";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { parseLogLevel, processLogger } from "./process-logger.ts";

export interface RoleOptions {
  readonly logLevel: string;
  readonly kubeconfig?: string;
  readonly namespace?: string;
  readonly clientQps: string;
  readonly clientBurst: string;
  readonly metricsAddress: string;
}

export interface Role {
  readonly client: ConnectedClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly signal: AbortSignal;
}

/** A role that others ask how it is doing. */
export interface MeteredRole extends Role {
  readonly metrics: Metrics;
}

/** The options of every role. What Velero's programs know and ours does not need is accepted, so that what deploys Velero deploys us. */
export function withRoleOptions(command: Command, { clientQps = "100" }: { readonly clientQps?: string } = {}): Command {
  return (
    command
      .option("--log-level <level>", "debug, info, warn or error", "info")
      .option("--log-format <format>", "accepted; the log is JSON")
      .option("--kubeconfig <file>", "a kubeconfig instead of the pod's service account")
      .option("-n, --namespace <name>", "the namespace of the installation (VELERO_NAMESPACE, else velero)")
      .option("--client-qps <n>", "requests a second to the API server; 0 leaves that to its own priority and fairness", clientQps)
      .option("--client-burst <n>", "requests at once", "100")
      .option("--metrics-address <address>", "where metrics are shown, as host:port or :port; empty for nowhere", ":8085")
      .allowUnknownOption()
      // An option that is not known counts as an argument.
      .allowExcessArguments()
  );
}

/** Runs `work` until it ends or the process is asked to; then closes the client. */
export async function runRole(name: string, options: RoleOptions, terminal: Terminal, work: (role: Role) => Promise<void>): Promise<void> {
  const logger = processLogger(parseLogLevel(options.logLevel), name);
  const client = createKubeClient({
    env: terminal.env,
    clock: terminal.clock,
    random: terminal.random,
    logger,
    userAgent: `dray-${name}/${programVersion()}`,
    qps: Number(options.clientQps),
    burst: Number(options.clientBurst),
    ...(options.kubeconfig === undefined ? {} : { kubeconfigPath: options.kubeconfig }),
  });
  const namespace = options.namespace ?? terminal.env["VELERO_NAMESPACE"] ?? "velero";
  logger.info("Starting", { version: programVersion(), namespace, node: process.versions.node });
  try {
    await work({ client, clock: terminal.clock, random: terminal.random, logger, namespace, signal: terminal.signal });
  } finally {
    await client.close();
    logger.info("Ended");
  }
}

/** Runs `work` as `runRole` does, with metrics that are shown while it runs. */
export async function runMeteredRole(name: string, options: RoleOptions, terminal: Terminal, work: (role: MeteredRole) => Promise<void>): Promise<void> {
  await runRole(name, options, terminal, async (role) => {
    const { startMetricsServer } = await import("./metrics-server.ts");
    const shown = await startMetricsServer({ address: options.metricsAddress, podAddress: terminal.env["POD_IP"], logger: role.logger });
    try {
      await work({ ...role, metrics: shown.metrics });
    } finally {
      await shown.close();
    }
  });
}

/** Resolves when the signal is aborted. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

/** Which pod a mover runs in, where that is told. */
export function podUidOf({ env }: Terminal): { readonly podUid?: string } {
  const podUid = env[MOVER_POD_UID_ENV];
  return podUid === undefined || podUid === "" ? {} : { podUid };
}
