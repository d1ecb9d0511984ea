import { DrayError, invariant, type Logger, nullLogger, utf8 } from "@drayage/base";
import { compressorByHeader } from "@drayage/kernels";
import { Contents } from "../content/contents.ts";
import { JsonReader, parseJsonObject } from "../format/go-json.ts";
import type { Repository } from "../repository.ts";
import { defaultLogRetention, type LogRetention } from "./log-cleanup.ts";
import { type MaintenanceCycle, type MaintenanceReport, runMaintenance } from "./maintenance.ts";
import { maintenanceLabels, maintenanceParameters } from "./maintenance-parameters.ts";
import type { MaintenanceSafety } from "./safety.ts";

/** No splitter makes larger chunks. */
const CHUNK_BYTES_MAX = 16 << 20;
const DOCUMENT = "the maintenance parameters";

export interface MaintainOptions {
  /** `auto`: what is due, if anything. @default auto */
  readonly mode?: "auto" | "quick" | "full";
  readonly safety?: MaintenanceSafety;
  readonly dryRun?: boolean;
  readonly logger?: Logger;
  readonly signal?: AbortSignal;
}

/** Who maintains a repository, and how often: what the manifest of type `maintenance` says. */
export interface LoadedMaintenanceParameters {
  /** `user@host`; empty: nobody. */
  readonly owner: string;
  readonly quick: MaintenanceCycle;
  readonly full: MaintenanceCycle;
  readonly logRetention: LogRetention;
  readonly extendObjectLocks: boolean;
}

/**
 * Maintains an open repository as its owner. The caller sees to it that nobody else does so at the same time.
 * Throws NOT_PERMITTED when the owner is somebody else, REPO_READ_ONLY, and what `runMaintenance` throws.
 */
export async function maintainRepository(repository: Repository, options: MaintainOptions = {}): Promise<MaintenanceReport> {
  const { mode = "auto", logger = nullLogger, signal } = options;
  const { contents, snapshots, clock, random, identity } = repository;
  invariant(contents instanceof Contents, "Cannot maintain a repository whose contents are not stored");
  if (repository.readOnly) throw new DrayError("REPO_READ_ONLY", `Cannot maintain repository at "${repository.description}": it was opened to be read only`);
  // What others saved since the repository was opened must count as used.
  await repository.manifests.refresh(signal);
  const { owner, ...parameters } = await loadMaintenanceParameters(repository, signal);
  const self = `${identity.userName}@${identity.host}`;
  if (owner !== self) {
    throw new DrayError(
      "NOT_PERMITTED",
      `Cannot maintain repository at "${repository.description}" as "${self}": its owner is ${owner === "" ? "nobody" : `"${owner}"`}`,
      {
        hint: "Only one identity may maintain a repository; let the owner do it, or make yourself the owner.",
      },
    );
  }
  return runMaintenance({
    ...{ contents, snapshots, clock, random, logger, mode },
    ...parameters,
    decompress: (headerId, payload) => compressorByHeader(headerId).decompress(payload, CHUNK_BYTES_MAX),
    ...(options.safety === undefined ? {} : { safety: options.safety }),
    ...(options.dryRun === undefined ? {} : { dryRun: options.dryRun }),
    ...(signal === undefined ? {} : { signal }),
  });
}

/** The parameters; of several manifests the latest. Defaults, with no owner, where there is none. Throws REPO_CORRUPT. */
export async function loadMaintenanceParameters(repository: Repository, signal?: AbortSignal): Promise<LoadedMaintenanceParameters> {
  const found = (await repository.manifests.find(maintenanceLabels, signal)).at(-1);
  const text = found === undefined ? maintenanceParameters({ owner: "" }) : (await repository.manifests.get(found.id, signal)).data;
  return decodeMaintenanceParameters(text);
}

/** Throws REPO_CORRUPT. What is left out counts as off or without limit. */
export function decodeMaintenanceParameters(text: string): LoadedMaintenanceParameters {
  const json = new JsonReader(parseJsonObject(utf8(text), DOCUMENT), DOCUMENT);
  const cycle = (key: string): MaintenanceCycle => ({
    enabled: json.object(key)?.flag("enabled") ?? false,
    intervalMs: json.object(key)?.durationMs("interval") ?? 0,
  });
  const logs = json.object("logRetention");
  return {
    owner: json.text("owner"),
    quick: cycle("quick"),
    full: cycle("full"),
    logRetention: {
      maxTotalBytes: logs?.count("maxTotalSize") || defaultLogRetention.maxTotalBytes,
      maxCount: logs?.count("maxCount") || defaultLogRetention.maxCount,
      maxAgeMs: logs?.durationMs("maxAge") || defaultLogRetention.maxAgeMs,
    },
    extendObjectLocks: json.flag("extendObjectLocks"),
  };
}
