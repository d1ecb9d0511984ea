import { type DataMover, DRAYAGE_DATA_MOVER, dataMovers } from "@drayage/api";
import { missingFiles } from "@drayage/controllers";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parameterFacts } from "../describe/mover-parameters.ts";
import { describeInstallations, installationsOf, UNKNOWN_INSTALLATION } from "../movers/installations.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the mover")
    .action((name: string, options: ClusterOptions) =>
      withCluster(options, terminal, async ({ client, namespace }) => {
        const mover = await getNamed(client, dataMovers, { name }, terminal.signal);
        const { spec, status } = mover;
        const installations = installationsOf(mover);
        const missing = await missingFiles(client, namespace, mover, terminal.signal);
        const { kinds, ...flags } = spec.capabilities;
        const can = Object.entries(flags).filter(([, holds]) => holds === true);
        const runs =
          name === DRAYAGE_DATA_MOVER
            ? "the node-agents of this installation"
            : spec.controller === true
              ? "a controller of its vendor"
              : (spec.module ?? (spec.command ?? []).join(" "));
        const lines = [
          `Name:         ${name}`,
          `Version:      ${spec.version}`,
          `Description:  ${spec.description}`,
          `Moves:        ${kinds.join(", ")}`,
          `Can:          ${can.length === 0 ? "<none of cancel, progress, block, incremental>" : can.map(([flag]) => flag).join(", ")}`,
          `Targets:      ${(spec.targets ?? ["BackupStorageLocation"]).join(", ")}`,
          `Runs:         ${runs}${spec.image === undefined ? "" : ` in ${spec.image}`}`,
          ...(installations.every((namespace) => namespace === UNKNOWN_INSTALLATION) ? [] : [`Added in:     ${describeInstallations(installations)}`]),
          ...(missing === undefined ? acceptedLines(status) : [`Accepted:     no: ${missing}`]),
          "Parameters:",
          ...parameterLines(spec.parameters),
        ];
        terminal.out(`${lines.join("\n")}\n`);
      }),
    );
}

/** Nothing before a server has looked at it. */
function acceptedLines(status: DataMover["status"]): string[] {
  const accepted = status?.conditions?.find(({ type }) => type === "Accepted");
  if (accepted === undefined) return [];
  return [`Accepted:     ${accepted.status === "True" ? "yes" : `no: ${accepted.message}`}`];
}

function parameterLines(schema: Readonly<Record<string, unknown>>): string[] {
  const lines = parameterFacts(schema).flatMap(({ name, facts, description }) => [`  ${name}  <${facts.join(", ")}>`, `    ${description}`]);
  return lines.length === 0 ? ["  <none>"] : lines;
}
