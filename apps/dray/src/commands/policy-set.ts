import { emptyPolicy, formatPolicyTarget, PolicyStore } from "@drayage/repo";
import type { Command } from "commander";
import { changePolicy, type PolicyFlagValues, withPolicyFlags } from "../engine/policy-flags.ts";
import { policyTarget } from "../engine/policy-target.ts";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly global?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withPolicyFlags(
    withRepositoryOptions(command).argument("[target]", "@host, user@host, user@host:/path or a folder").option("--global", "the policy that holds for all"),
  ).action((target: string | undefined, options: Options & PolicyFlagValues) =>
    withRepository(options, terminal, { readOnly: false }, async (repository) => {
      const meant = policyTarget(target, options.global === true, repository, terminal);
      const policies = new PolicyStore(repository.manifests);
      const before = await policies.get(meant, terminal.signal);
      const id = await policies.set(meant, changePolicy(before?.document ?? emptyPolicy, options), terminal.signal);
      await repository.flush(terminal.signal);
      if (options.json === true) terminal.out(formatJson({ type: "summary", id, target: meant }));
      else terminal.out(`Set the policy of ${formatPolicyTarget(meant)}\n`);
    }),
  );
}
