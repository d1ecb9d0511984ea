import { serverStatusRequests } from "@drayage/api";
import { type Clock, hasCode, messageOf, randomSuffix } from "@drayage/base";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";

const POLL_MS = 100;
const SERVER_LIMIT_MS = 5_000;

interface Options extends ClusterOptions {
  readonly json?: boolean;
  readonly clientOnly?: boolean;
  readonly timeout?: string;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .option("--client-only", "do not ask the server")
    .option("--timeout <duration>", "how long the server may take, 5s when left out")
    .option("--json", "print as JSON")
    .action(async (options: Options) => {
      const version = programVersion();
      const limitMs = parseTimeout(options.timeout) ?? SERVER_LIMIT_MS;
      const server = options.clientOnly === true ? undefined : await serverVersion(options, limitMs, terminal);
      if (options.json === true) {
        const client = { version, node: process.versions.node };
        terminal.out(`${JSON.stringify({ client, ...(server?.version === undefined ? {} : { server: { version: server.version } }) })}\n`);
        return;
      }
      terminal.out(`dray ${version} (Node ${process.versions.node}, ${process.platform}/${process.arch})\n`);
      if (server?.version !== undefined) terminal.out(`server ${server.version}\n`);
      else if (server !== undefined) terminal.err(`server: ${server.why}\n`);
    });
}

/** What the server says; undefined where no cluster is configured. That it cannot be asked is no failure of this command. */
async function serverVersion(options: ClusterOptions, limitMs: number, terminal: Terminal): Promise<{ version?: string; why?: string } | undefined> {
  const limit = new AbortController();
  const cancel = terminal.clock.after(limitMs, () => limit.abort());
  const signal = AbortSignal.any([terminal.signal, limit.signal]);
  let answer: { version?: string; why?: string } | undefined;
  try {
    await withCluster(options, terminal, async (access) => {
      const version = await askServer(access, terminal, signal);
      answer = version === undefined ? { why: "it does not say" } : { version };
    });
  } catch (error) {
    terminal.signal.throwIfAborted();
    if (limit.signal.aborted) return { why: `no answer within ${limitMs / 1000} s` };
    return hasCode(error, "KUBE_CONFIG") && !isMeant(options, terminal) ? undefined : { why: messageOf(error) };
  } finally {
    cancel();
  }
  return answer;
}

/** Whether somebody named a cluster, so that not finding it is news. */
function isMeant({ kubeconfig, context, kubecontext }: ClusterOptions, { env }: Terminal): boolean {
  return [kubeconfig, context, kubecontext, env["KUBECONFIG"]].some((value) => value !== undefined && value !== "");
}

async function askServer(
  { client, namespace }: ClusterAccess,
  { clock, random }: { clock: Clock; random: Terminal["random"] },
  signal: AbortSignal,
): Promise<string | undefined> {
  const name = `dray-version-${randomSuffix(random, 8)}`;
  const key = { namespace, name };
  await client.create(serverStatusRequests, { apiVersion: "velero.io/v1", kind: "ServerStatusRequest", metadata: key, spec: {} }, { signal });
  try {
    for (;;) {
      const { status } = await client.get(serverStatusRequests, key, signal);
      if (status?.phase === "Processed") return status.serverVersion;
      await clock.sleep(POLL_MS, signal);
    }
  } finally {
    await client.delete(serverStatusRequests, key).catch(() => undefined);
  }
}
