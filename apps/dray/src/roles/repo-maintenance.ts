/** `dray repo-maintenance`: one maintenance of one repository, with the arguments of Velero's. */

import { createKubeClient } from "@drayage/kube";
import { loadClusterAccess, runRepositoryMaintenance } from "@drayage/movers/builtin";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { parseLogLevel, processLogger } from "./process-logger.ts";
import { type RoleOptions, withRoleOptions } from "./role.ts";

interface Options extends RoleOptions {
  readonly repoName: string;
  readonly repoType: string;
  readonly backupStorageLocation: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRoleOptions(command)
    .requiredOption("--repo-name <namespace>", "the namespace whose volumes the repository holds")
    .option("--repo-type <type>", "kopia", "kopia")
    .requiredOption("--backup-storage-location <name>", "the location it is in")
    .action(async (options: Options) => {
      const { clock, random, signal, env } = terminal;
      const logger = processLogger(parseLogLevel(options.logLevel), "repo-maintenance");
      const namespace = options.namespace ?? env["VELERO_NAMESPACE"] ?? "velero";
      // Where everything is mounted no API server is needed, nor a token for one.
      const fallback = async () => {
        const client = createKubeClient({ env, clock, random, logger, userAgent: `dray-repo-maintenance/${programVersion()}` });
        try {
          return await loadClusterAccess(client, { namespace, locationName: options.backupStorageLocation, volumeNamespace: options.repoName, signal });
        } finally {
          await client.close();
        }
      };
      terminal.exitCode = await runRepositoryMaintenance({ clock, random, logger, signal, fallback });
    });
}
