import { DRAYAGE_DATA_MOVER, dataMovers } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { parameterFacts } from "../describe/mover-parameters.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the mover")
    .action((name: string, options: ClusterOptions) =>
      withCluster(options, terminal, async ({ client }) => {
        const { spec } = await getNamed(client, dataMovers, { name }, terminal.signal);
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
          "Parameters:",
          ...parameterLines(spec.parameters),
        ];
        terminal.out(`${lines.join("\n")}\n`);
      }),
    );
}

function parameterLines(schema: Readonly<Record<string, unknown>>): string[] {
  const lines = parameterFacts(schema).flatMap(({ name, facts, description }) => [`  ${name}  <${facts.join(", ")}>`, `    ${description}`]);
  return lines.length === 0 ? ["  <none>"] : lines;
}
