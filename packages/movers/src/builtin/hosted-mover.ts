/** The built-in mover as the pod of a DataUpload or a DataDownload has it: its target is the repository that the pod was given the Secret of. */
import { LOCATION_TARGET, MOVER_SECRET_PATH } from "@drayage/api";
import { errorFields, type Logger } from "@drayage/base";
import { type DataMover, MemoryMoverStore, type MoverContext, type MoverParameters, parseTextParameters, resolveParameters } from "@drayage/mover-sdk";
import { type BuiltInMoverOptions, createBuiltInMover } from "./built-in-mover.ts";
import { withRepository } from "./open-repository.ts";
import type { DataMoverOptions, TransferContext } from "./run-data-mover.ts";

/** The mover, and the part of its context that is the same for both directions. */
export function hostedMover<T>(
  { clock, random, logger, memoryBudget, cacheFolder, sha256Ranges, version = "0.0.0", secretPath = MOVER_SECRET_PATH }: DataMoverOptions,
  { access, signal, tell }: TransferContext<T>,
  backup: Pick<BuiltInMoverOptions, "tagsOf" | "checkpointEveryMs" | "changedBlocks">,
): { readonly mover: DataMover } & Omit<MoverContext, "source" | "parameters"> {
  const mover = createBuiltInMover({
    version,
    clock,
    ...backup,
    open: (_target, options, work) => withRepository(access, { clock, random, cacheFolder, sha256Ranges, ...options }, work),
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
  });
  // It brings a client of its own, as the contract allows, and has no use for single objects or a folder.
  const target = { kind: LOCATION_TARGET, name: access.location.metadata.name ?? "", store: new MemoryMoverStore(), credentials: secretPath };
  return { mover, target, workspace: "", signal, log: logger, progress: tell };
}

/**
 * What a DataUpload or a DataDownload sets, as far as it fits the published parameters. Whoever asked Drayage's server has been told at once what does not; Velero's server hands on
 * anything, and a volume is not lost over it.
 */
export function parametersOf(mover: DataMover, config: Readonly<Record<string, string>> | null | undefined, logger: Logger): MoverParameters {
  const fitting: Record<string, unknown> = {};
  for (const [name, value] of Object.entries(parseTextParameters(mover.parameters, config ?? {}))) {
    try {
      resolveParameters(mover, { [name]: value }, "spec.dataMoverConfig");
      fitting[name] = value;
    } catch (error) {
      logger.warn("A parameter is not heeded", { name, ...errorFields(error) });
    }
  }
  return resolveParameters(mover, fitting, "spec.dataMoverConfig");
}
