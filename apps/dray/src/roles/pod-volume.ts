/** `dray pod-volume backup|restore`: the process of one pod that reads or fills a volume of another pod, with the arguments of Velero's. */
import { sideBySideSha256 } from "@drayage/kernels";
import { runPodVolumeBackup, runPodVolumeRestore } from "@drayage/movers/builtin";
import type { Command } from "commander";
import { parseCount } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";
import { podUidOf, type RoleOptions, runRole, withRoleOptions } from "./role.ts";

interface Options extends RoleOptions {
  readonly volumePath: string;
  readonly podVolumeBackup?: string;
  readonly podVolumeRestore?: string;
  readonly cacheVolumePath?: string;
  readonly memoryBudget?: string;
}

const MIB = 1 << 20;

/** The command of either direction. */
export function definePodVolume(command: Command, terminal: Terminal, direction: "backup" | "restore"): void {
  withRoleOptions(command)
    .requiredOption("--volume-path <path>", "where the volume is")
    .requiredOption(direction === "backup" ? "--pod-volume-backup <name>" : "--pod-volume-restore <name>", "the object whose data is moved")
    .option("--resource-timeout <duration>", "accepted; every wait of the mover has its own limit")
    .option("--cache-volume-path <path>", "where the repository may keep what it has read")
    .option("--memory-budget <MiB>", "memory of the process")
    .action((options: Options) =>
      runRole(`pod-volume-${direction}`, options, terminal, async ({ client, clock, random, logger, namespace, signal }) => {
        const shared = {
          client,
          clock,
          random,
          logger,
          namespace,
          signal,
          nodeName: terminal.env["NODE_NAME"] ?? "",
          ...podUidOf(terminal),
          volumePath: options.volumePath,
          sha256Ranges: sideBySideSha256(),
          ...(options.cacheVolumePath === undefined || options.cacheVolumePath === "" ? {} : { cacheFolder: options.cacheVolumePath }),
          ...(options.memoryBudget === undefined ? {} : { memoryBudget: parseCount("--memory-budget", options.memoryBudget) * MIB }),
        };
        terminal.exitCode =
          direction === "backup"
            ? await runPodVolumeBackup({ ...shared, podVolumeBackupName: options.podVolumeBackup ?? "" })
            : await runPodVolumeRestore({ ...shared, podVolumeRestoreName: options.podVolumeRestore ?? "" });
      }),
    );
}
