import { DrayError } from "@drayage/base";
import { planUpgrade, rollBackUpgrade, type UpgradeOptions, type UpgradePlan, upgradeRepository } from "@drayage/repo";
import type { Command } from "commander";
import { localIdentity, type RepositoryOptions, repositoryPassword, repositoryUrl, withRepositoryOptions } from "../engine/repository-access.ts";
import { formatJson, parseCount } from "../engine/values.ts";
import { storageFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends RepositoryOptions {
  readonly dryRun?: boolean;
  readonly rollback?: boolean;
  readonly safety: string;
  readonly ioDrainTimeout: string;
}

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .option("--dry-run", "say what would be done, and change nothing")
    .option("--rollback", "take back an upgrade that was not finished")
    .option("--io-drain-timeout <minutes>", "how long a call to the storage may take; twice that, and 5 minutes, is waited", "15")
    .option("--safety <level>", "full; none does not wait, and is only safe while nobody else uses the repository", "full")
    .action((options: Options) => upgrade(options, terminal));
}

async function upgrade(options: Options, terminal: Terminal): Promise<void> {
  const { safety } = options;
  if (safety !== "full" && safety !== "none") throw new DrayError("USAGE", `Cannot upgrade with --safety "${safety}": full or none is wanted`);
  const ioDrainTimeoutMs = parseCount("--io-drain-timeout", options.ioDrainTimeout) * 60_000;
  const { userName, host } = localIdentity();
  const storage = await storageFromUrl(repositoryUrl(options, terminal), terminal);
  try {
    const settings: UpgradeOptions = {
      ...{ password: await repositoryPassword(options, terminal), ownerId: `${userName}@${host}`, safety, ioDrainTimeoutMs },
      ...{ clock: terminal.clock, random: terminal.random, signal: terminal.signal },
      onWait: (remainingMs) => terminal.err(`Waiting until every client has noticed: ${Math.ceil(remainingMs / 60_000)} minutes left\n`),
    };
    if (options.rollback === true) {
      await rollBackUpgrade(storage, settings);
      terminal.out(options.json === true ? formatJson({ type: "summary", rolledBack: true }) : `Took the upgrade of ${storage.description} back\n`);
      return;
    }
    const plan = options.dryRun === true ? await planUpgrade(storage, settings) : await upgradeRepository(storage, settings);
    terminal.out(
      options.json === true ? formatJson({ type: "summary", dryRun: options.dryRun === true, ...plan }) : describe(plan, storage.description, options),
    );
  } finally {
    await storage.close();
  }
}

function describe({ fromVersion, toVersion, steps }: UpgradePlan, repository: string, options: Options): string {
  if (steps.length === 0) return `Nothing to upgrade: ${repository} has format version ${fromVersion}\n`;
  if (options.dryRun !== true) return `Upgraded ${repository} to format version ${toVersion}\n`;
  return `An upgrade from format version ${fromVersion} to ${toVersion} would\n${steps.map((step) => `  ${step}\n`).join("")}`;
}
