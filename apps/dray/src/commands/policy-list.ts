import { encodePolicy, formatPolicyTarget, PolicyStore, type StoredPolicy } from "@drayage/repo";
import type { Command } from "commander";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { type Column, formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

const columns: readonly Column<StoredPolicy>[] = [
  { header: "ID", value: ({ id }) => id },
  { header: "TARGET", value: ({ target }) => formatPolicyTarget(target) },
];

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command).action((options: RepositoryOptions) =>
    withRepository(options, terminal, { readOnly: true }, async (repository) => {
      const policies = await new PolicyStore(repository.manifests).list(terminal.signal);
      // The shape of `kopia policy list --json`.
      if (options.json === true) terminal.out(`[${policies.map(policyJson).join(",\n ")}]\n`);
      else terminal.out(formatTable(policies, columns));
    }),
  );
}

function policyJson({ id, target, document }: StoredPolicy): string {
  return encodePolicy({ id, target: { host: target.host, userName: target.userName, path: target.path }, policy: document });
}
