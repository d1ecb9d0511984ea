/** `dray data-mover backup|restore`: the process of one mover pod, with the arguments of Velero's. Everything it has to say goes into Events and the termination message. */
import { DrayError } from "@drayage/base";
import { sideBySideSha256 } from "@drayage/kernels";
import { runDataMoverBackup, runDataMoverRestore } from "@drayage/movers/builtin";
import type { Command } from "commander";
import { parseTimeout } from "../cluster/timeout.ts";
import { parseCount } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { podUidOf, type RoleOptions, runRole, withRoleOptions } from "./role.ts";

interface Options extends RoleOptions {
  readonly volumePath: string;
  readonly volumeMode: string;
  readonly dataUpload?: string;
  readonly dataDownload?: string;
  readonly cacheVolumePath?: string;
  readonly memoryBudget?: string;
  readonly checkpointInterval?: string;
}

const MIB = 1 << 20;

function volumeMode(text: string): "Filesystem" | "Block" {
  if (text === "Filesystem" || text === "Block") return text;
  throw new DrayError("USAGE", `Cannot move a volume of mode "${text}": Filesystem or Block is wanted`);
}

/** The command of either direction. */
export function defineDirection(command: Command, terminal: Terminal, direction: "backup" | "restore"): void {
  const name = direction === "backup" ? "--data-upload <name>" : "--data-download <name>";
  withRoleOptions(command)
    .requiredOption("--volume-path <path>", "where the volume is")
    .requiredOption("--volume-mode <mode>", "Filesystem or Block")
    .requiredOption(name, "the object whose data is moved")
    .option("--resource-timeout <duration>", "accepted; every wait of the mover has its own limit")
    .option("--cache-volume-path <path>", "where the repository may keep what it has read")
    .option("--memory-budget <MiB>", "memory of the process")
    .option("--checkpoint-interval <duration>", "how often what is there so far is saved, for another node to go on from (5m)")
    .action((options: Options) =>
      runRole(`data-mover-${direction}`, options, terminal, async ({ client, clock, random, logger, namespace, signal }) => {
        const shared = {
          client,
          clock,
          random,
          logger,
          namespace,
          signal,
          nodeName: terminal.env["NODE_NAME"] ?? "",
          version: programVersion(),
          ...podUidOf(terminal),
          volumePath: options.volumePath,
          sha256Ranges: sideBySideSha256(),
          volumeMode: volumeMode(options.volumeMode),
          ...(options.cacheVolumePath === undefined || options.cacheVolumePath === "" ? {} : { cacheFolder: options.cacheVolumePath }),
          ...(options.memoryBudget === undefined ? {} : { memoryBudget: parseCount("--memory-budget", options.memoryBudget) * MIB }),
        };
        const checkpointEveryMs = parseTimeout(options.checkpointInterval);
        terminal.exitCode =
          direction === "backup"
            ? await runDataMoverBackup({
                ...shared,
                dataUploadName: options.dataUpload ?? "",
                ...(checkpointEveryMs === undefined ? {} : { checkpointEveryMs }),
              })
            : await runDataMoverRestore({ ...shared, dataDownloadName: options.dataDownload ?? "" });
      }),
    );
}
