import { formatPolicyTarget, PolicyStore } from "@drayage/repo";
import type { Command } from "commander";
import { policyTarget } from "../engine/policy-target.ts";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly global?: boolean;
  readonly dryRun?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("[target]", "@host, user@host, user@host:/path or a folder")
    .option("--global", "the policy that holds for all")
    .option("--dry-run", "say what would be removed, and change nothing")
    .action((target: string | undefined, options: Options) =>
      withRepository(options, terminal, { readOnly: options.dryRun === true }, async (repository) => {
        const meant = policyTarget(target, options.global === true, repository, terminal);
        const policies = new PolicyStore(repository.manifests);
        const isThere = (await policies.get(meant, terminal.signal)) !== undefined;
        if (options.dryRun !== true) {
          await policies.remove(meant, terminal.signal);
          await repository.flush(terminal.signal);
        }
        if (options.json === true) terminal.out(formatJson({ type: "summary", target: meant, dryRun: options.dryRun === true, removed: isThere }));
        else if (!isThere) terminal.out(`There is no policy of ${formatPolicyTarget(meant)}\n`);
        else terminal.out(`${options.dryRun === true ? "Would remove" : "Removed"} the policy of ${formatPolicyTarget(meant)}\n`);
      }),
    );
}
