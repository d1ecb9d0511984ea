import { type ClusterStatus, clusterStatus, shellQuote } from "@drayage/embedded/cluster";
import type { Command } from "commander";
import { clusterFolder } from "../cluster/embedded.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly dir?: string;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .option("--dir <folder>", "where the cluster is kept ($XDG_STATE_HOME/drayage/cluster)")
    .option("--json", "as JSON")
    .action(async (options: Options) => {
      const status = await clusterStatus(clusterFolder(options.dir, terminal), terminal.clock);
      terminal.out(options.json === true ? `${JSON.stringify(status)}\n` : render(status));
      if (status.state !== "running") terminal.exitCode = EXIT.failed;
    });
}

function render(status: ClusterStatus): string {
  const roles = status.roles.map(({ role, state, pid, message }) => {
    const facts = [state, ...(pid === undefined ? [] : [`process ${pid}`]), ...(message === undefined ? [] : [message])];
    return `  ${role.padEnd(16)} ${facts.join(", ")}\n`;
  });
  const nodes = status.nodes.map(({ name, ready }) => `  ${name.padEnd(16)} ${ready ? "Ready" : "NotReady"}\n`);
  const problem = status.problem === undefined ? "" : `The API server could not be asked: ${status.problem}\n`;
  return [
    `The cluster in "${status.directory}" is ${status.state}.\n`,
    `Processes\n`,
    ...roles,
    ...(nodes.length === 0 ? [] : ["Nodes\n", ...nodes]),
    problem,
    ...(status.state === "stopped" ? [] : [`\n  export KUBECONFIG=${shellQuote(status.kubeconfigPath)}\n`]),
  ].join("");
}
