import { dataMovers } from "@drayage/api";
import type { Command } from "commander";
import { type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import type { Terminal } from "../terminal.ts";

interface Property {
  readonly type?: string | readonly string[];
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly unknown[];
  readonly minimum?: number;
  readonly maximum?: number;
}

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<name>", "the mover")
    .action((name: string, options: ClusterOptions) =>
      withCluster(options, terminal, async ({ client }) => {
        const { spec } = await getNamed(client, dataMovers, { name }, terminal.signal);
        const { kinds, ...flags } = spec.capabilities;
        const can = Object.entries(flags).filter(([, holds]) => holds === true);
        const runs = spec.controller === true ? "a controller of its vendor" : (spec.module ?? (spec.command ?? []).join(" "));
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
  const { properties = {}, required = [] } = schema as { readonly properties?: Readonly<Record<string, Property>>; readonly required?: readonly string[] };
  const lines = Object.entries(properties).flatMap(([name, property]) => {
    const facts = [
      [property.type ?? "any"].flat().join(" or "),
      ...(required.includes(name) ? ["required"] : []),
      ...(property.enum === undefined ? [] : [`one of ${property.enum.map((value) => JSON.stringify(value)).join(", ")}`]),
      ...(property.minimum === undefined ? [] : [`at least ${property.minimum}`]),
      ...(property.maximum === undefined ? [] : [`at most ${property.maximum}`]),
      ...(property.default === undefined ? [] : [`default ${JSON.stringify(property.default)}`]),
    ];
    return [`  ${name}  <${facts.join(", ")}>`, `    ${property.description ?? ""}`];
  });
  return lines.length === 0 ? ["  <none>"] : lines;
}
