import { type EffectivePolicy, encodePolicy, formatPolicyTarget, PolicyStore, type PolicyTarget, valueAt } from "@drayage/repo";
import type { Command } from "commander";
import { policyTarget } from "../engine/policy-target.ts";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly global?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("[target]", "@host, user@host, user@host:/path or a folder")
    .option("--global", "the policy that holds for all")
    .action((target: string | undefined, options: Options) =>
      withRepository(options, terminal, { readOnly: true }, async (repository) => {
        const meant = policyTarget(target, options.global === true, repository, terminal);
        const policy = await new PolicyStore(repository.manifests).effective(meant, terminal.signal);
        terminal.out(options.json === true ? `${encodePolicy(policy.document)}\n` : describe(meant, policy));
      }),
    );
}

/** Each setting that holds, and which policy says so. */
function describe(target: PolicyTarget, { document, definedBy }: EffectivePolicy): string {
  const lines = [`Policy of ${formatPolicyTarget(target)}:\n`];
  for (const path of leaves(document, [])) {
    const value = valueAt(document, path);
    const text = typeof value === "string" ? value : encodePolicy({ value }).slice('{"value":'.length, -1);
    const name = path.join(".");
    lines.push(`  ${name.padEnd(38)}${text.padEnd(24)} ${definedBy.get(name) ?? "default"}\n`);
  }
  return lines.join("");
}

function leaves(value: unknown, path: readonly string[]): (readonly string[])[] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return [path];
  return Object.entries(value).flatMap(([name, below]) => leaves(below, [...path, name]));
}
