/**
 * The built-in mover, by the contract of every mover: a volume into the Kopia repository of its namespace, in the form that Velero writes (velero.md 8.3), and back.
 * `data-mover backup|restore` is its host for DataUploads and DataDownloads, `dray mover validate drayage` for the conformance suite; either says where the repository is (`open`).
 */
import { BLOCK_DATA_MOVER, BUILT_IN_PARAMETERS, builtInMover, LABELS } from "@drayage/api";
import { type Clock, DrayError, hasCode, type Logger, parseBytes } from "@drayage/base";
import {
  type ChangedBlocks,
  deviceBytesOf,
  type LookAhead,
  restoreSnapshot,
  type UploadResult,
  uploadSnapshot,
  verifySnapshots,
  withLookAhead,
} from "@drayage/datapath";
import {
  type BackupContext,
  type DataMover,
  describeMover,
  type MovedData,
  type MoverParameters,
  type MoverSource,
  type MoverTarget,
  type RestoreContext,
} from "@drayage/mover-sdk";
import { type Labels, type Repository, type Snapshot, type SnapshotSource, veleroIdentity } from "@drayage/repo";
import { Superseded } from "./movement-watch.ts";
import { progressTeller } from "./transfer-progress.ts";

/** What Velero calls snapshots of this kind, and looks them up by. */
export const DATA_MOVER_REQUESTER = "snapshot-data-upload-download";
/** What of a snapshot says by which of Velero's two movers it is: its source, its tags, its description, and the form of a device. */
const STYLES = {
  files: { uploader: "kopia", description: "Kopia Uploader", form: "stream" },
  blocks: { uploader: BLOCK_DATA_MOVER, description: "Block Uploader", form: "blocks" },
} as const;
type Style = (typeof STYLES)[keyof typeof STYLES];
const REQUESTER_TAG = { "snapshot-requester": DATA_MOVER_REQUESTER };
const PROBLEMS_SHOWN_MAX = 20;

/** Opens the repository that stands behind a target, and closes it however `work` ends. */
export type OpenTargetRepository = <T>(
  target: MoverTarget,
  options: { readonly logger: Logger; readonly readOnly?: boolean; readonly bandwidth?: number | undefined; readonly signal: AbortSignal },
  work: (repository: Repository) => Promise<T>,
) => Promise<T>;

export interface BuiltInMoverOptions {
  /** Of the program. */
  readonly version: string;
  readonly clock: Clock;
  readonly open: OpenTargetRepository;
  /** Bytes that the process may take. */
  readonly memoryBudget?: number;
  /** As which of Velero's movers it stores: `files` by its file-system mover, `blocks` by its block mover, which takes devices alone. @default "files" */
  readonly style?: keyof typeof STYLES;
  /** Of the device that is backed up, what its storage knows of changes. */
  readonly changedBlocks?: ChangedBlocks;
  /** How often what is there so far is saved, so that another process can go on from it; five minutes when left out. */
  readonly checkpointEveryMs?: number;
  /** Tags that tell the snapshots of a move from others of their volume. @default Velero's label of an operation, with the id of the move */
  readonly tagsOf?: (id: string) => Labels;
}

export function createBuiltInMover(options: BuiltInMoverOptions): DataMover {
  return {
    ...descriptionOf(options.version),
    validate: async ({ kind, name, volume }) => (volume === undefined ? [`${kind} "${name}" has no volume that can be read`] : []),
    backup: (context) => backUp(options, context),
    restore: (context) => restore(options, context),
    delete: (context) =>
      options.open(context.target, openingOf(context), async (repository) => {
        const { id, moved, signal } = context;
        const ofMove = (await snapshotsWith(repository, tagsOf(options, id), signal)).map((snapshot) => snapshot.id);
        await forgetSnapshots(repository, [...new Set([...ofMove, ...(moved === undefined ? [] : [moved.snapshotId])])], signal);
      }),
    list: ({ target, ...context }) =>
      options.open(target, { ...openingOf(context), readOnly: true }, async (repository) =>
        (await snapshotsWith(repository, {}, context.signal)).map(({ id }): MovedData => ({ snapshotId: id })),
      ),
    verify: ({ target, moved, ...context }) =>
      options.open(target, { ...openingOf(context), readOnly: true }, async (repository) => {
        const { signal } = context;
        const snapshot = await repository.snapshots.get(moved.snapshotId, signal);
        const { problems } = await verifySnapshots({ repository, snapshots: [snapshot], mode: "quick", signal, clock: options.clock });
        return problems.map(({ path, message }) => `"${path}": ${message}`);
      }),
  };
}

/** What the mover says of itself: the registration of it, without what only the cluster needs. */
function descriptionOf(version: string): ReturnType<typeof describeMover> {
  const { metadata, spec } = builtInMover(version);
  const { kinds, cancel = false, progress = false, block = false, incremental = false } = spec.capabilities;
  return describeMover({ ...spec, name: metadata.name ?? "", capabilities: { kinds, cancel, progress, block, incremental }, targets: spec.targets ?? [] });
}

async function backUp(options: BuiltInMoverOptions, context: BackupContext): ReturnType<DataMover["backup"]> {
  const { clock, memoryBudget, checkpointEveryMs, changedBlocks } = options;
  const style = STYLES[options.style ?? "files"];
  const { id, source, target, parameters, signal, log, fence } = context;
  const { path, mode } = volumeOf(source);
  const parallel = parameters[BUILT_IN_PARAMETERS.parallelUpload] as number | undefined;
  const compressor = parameters[BUILT_IN_PARAMETERS.compression] as string | undefined;
  const tags = tagsOf(options, id);
  const reading = {
    source: {
      kind: mode === "Block" ? ("block" as const) : ("directory" as const),
      path,
      form: style.form,
      ...(changedBlocks === undefined ? {} : { changedBlocks }),
    },
    ...(parallel === undefined ? {} : { parallel }),
  };
  const upload = async (repository: Repository, scan: LookAhead | undefined): Promise<UploadResult> => {
    const uploaded = await uploadSnapshot({
      repository,
      ...reading,
      scan,
      snapshotSource: snapshotSourceOf(source, style),
      description: style.description,
      tags: { ...REQUESTER_TAG, "snapshot-uploader": style.uploader, ...tags },
      pins: ["velero-pin"],
      policy: "velero",
      signal,
      onProgress: progressTeller((progress) => context.progress(progress), clock),
      clock,
      logger: log,
      ...(fence === undefined ? {} : { fence: (before) => fence(before) }),
      ...(compressor === undefined ? {} : { compressor }),
      ...(memoryBudget === undefined ? {} : { memoryBudget }),
      ...(checkpointEveryMs === undefined ? {} : { checkpointEveryMs }),
    });
    await keepOne(repository, uploaded.snapshotId, { source: snapshotSourceOf(source, style), tags }, context);
    return uploaded;
  };
  const result = await withLookAhead(reading, (scan) =>
    options.open(target, { ...openingOf(context), bandwidth: bandwidthOf(parameters) }, (repository) => upload(repository, scan)),
  );
  for (const { path: entry, message } of result.warnings) log.warn("An entry was not kept as it is", { path: entry, message });
  const { snapshotId, stats, problems } = result;
  return {
    snapshotId,
    totalBytes: stats.totalSize,
    incrementalBytes: incrementalBytesOf(result, mode),
    ...(stats.errorCount === 0 ? {} : { problem: describeProblems(problems, stats.errorCount, "read") }),
  };
}

/** Of files, those that the parent did not have, whole, as Velero counts; a device is always read whole, so of it what the repository did not have. */
export function incrementalBytesOf({ changedBytes, progress }: UploadResult, mode: "Filesystem" | "Block"): number {
  return mode === "Block" ? progress.bytesHashed - progress.bytesDeduplicated : changedBytes;
}

/**
 * Of the processes of one move only one leaves a snapshot. Between a fence and the manifest that it lets pass lies a moment in which a successor may have been named: who finds that
 * out takes its own away, and a successor takes away what one before it left.
 */
async function keepOne(
  repository: Repository,
  snapshotId: string,
  move: { readonly source: SnapshotSource; readonly tags: Labels },
  { isRepeated = true, fence, log }: BackupContext,
): Promise<void> {
  try {
    await fence?.("snapshot");
  } catch (error) {
    // A cancel comes too late, and of an API server that does not answer nothing is known.
    if (!(error instanceof Superseded)) return;
    await forgetSnapshots(repository, [snapshotId], undefined);
    throw error;
  }
  if (!isRepeated) return;
  const { snapshots } = await repository.snapshots.list(move);
  const others = snapshots.filter(({ id, incomplete }) => id !== snapshotId && incomplete === undefined).map(({ id }) => id);
  for (const snapshot of others) log.warn("Deleting the snapshot of a mover that was taken for dead", { snapshot });
  if (others.length > 0) await forgetSnapshots(repository, others, undefined);
}

async function restore(options: BuiltInMoverOptions, context: RestoreContext): ReturnType<DataMover["restore"]> {
  const { source, target, moved, parameters, signal, log, progress } = context;
  const settings = {
    parallel: parameters[BUILT_IN_PARAMETERS.parallelDownload] as number | undefined,
    sparse: parameters[BUILT_IN_PARAMETERS.sparse] === true,
  };
  const volume = volumeOf(source);
  return options.open(target, { ...openingOf(context), bandwidth: bandwidthOf(parameters), readOnly: true }, (repository) =>
    restoreVolume(repository, moved.snapshotId, { ...options, volume, settings, signal, log, onProgress: progressTeller(progress, options.clock) }),
  );
}

export interface RestoreVolumeOptions extends Pick<BuiltInMoverOptions, "clock" | "memoryBudget"> {
  readonly volume: { readonly path: string; readonly mode: "Filesystem" | "Block" };
  readonly settings: { readonly parallel: number | undefined; readonly sparse: boolean };
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly onProgress: NonNullable<Parameters<typeof restoreSnapshot>[0]["onProgress"]>;
}

/** Writes a snapshot into a volume; what could not be written is in the result. Throws REPO_MANIFEST_NOT_FOUND, REPO_CORRUPT, and what `restoreSnapshot` throws. */
export async function restoreVolume(repository: Repository, snapshotId: string, options: RestoreVolumeOptions): ReturnType<DataMover["restore"]> {
  const { volume, settings, signal, log, onProgress, clock, memoryBudget } = options;
  const snapshot = await repository.snapshots.get(snapshotId, signal);
  const root = snapshot.rootEntry;
  if (root === undefined) throw new DrayError("REPO_CORRUPT", `Cannot restore snapshot "${snapshotId}": its manifest has no root`);
  const deviceBytes = deviceBytesOf(snapshot);
  const { progress, problems, problemCount, warnings } = await restoreSnapshot({
    repository,
    root,
    target: { kind: volume.mode === "Block" ? "block" : "directory", path: volume.path },
    // A volume that a first mover left half written is written over by the second; nobody else has ever seen it.
    overwrite: true,
    // The volume changes hands as soon as this ends.
    flush: true,
    sparse: settings.sparse,
    signal,
    onProgress,
    clock,
    ...(deviceBytes === undefined ? {} : { deviceBytes }),
    ...(settings.parallel === undefined ? {} : { parallel: settings.parallel }),
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
  });
  for (const { path, message } of warnings) log.warn("An entry was not restored as it was", { path, message });
  return { totalBytes: progress.bytesDone, ...(problemCount === 0 ? {} : { problem: describeProblems(problems, problemCount, "restored") }) };
}

/** Deletes manifests; one that is not there counts as deleted. */
export async function forgetSnapshots(repository: Repository, manifestIds: readonly string[], signal: AbortSignal | undefined): Promise<void> {
  for (const id of manifestIds) {
    try {
      await repository.snapshots.delete(id, signal);
    } catch (error) {
      if (!hasCode(error, "REPO_MANIFEST_NOT_FOUND")) throw error;
    }
  }
  await repository.flush(signal);
}

/** `3 entries could not be read: "a": permission denied; "b": …`: as many as a message holds. */
export function describeProblems(problems: UploadResult["problems"], count: number, verb: "read" | "restored"): string {
  const shown = problems.slice(0, PROBLEMS_SHOWN_MAX).map(({ path, message }) => `"${path}": ${message}`);
  const more = count > shown.length ? `; and ${count - shown.length} more` : "";
  return `${count} ${count === 1 ? "entry" : "entries"} could not be ${verb}: ${shown.join("; ")}${more}`;
}

async function snapshotsWith(repository: Repository, tags: Labels, signal: AbortSignal): Promise<readonly Snapshot[]> {
  return (await repository.snapshots.list({ tags: { ...REQUESTER_TAG, ...tags }, signal })).snapshots;
}

function tagsOf({ tagsOf: given }: BuiltInMoverOptions, id: string): Labels {
  return given === undefined ? { [LABELS.asyncOperationId]: id } : given(id);
}

function snapshotSourceOf({ namespace, name }: MoverSource, { uploader }: Style): SnapshotSource {
  return { ...veleroIdentity, path: `${DATA_MOVER_REQUESTER}/${uploader}/${namespace}/${name}` };
}

function openingOf({ log, signal }: { readonly log: Logger; readonly signal: AbortSignal }): { readonly logger: Logger; readonly signal: AbortSignal } {
  return { logger: log, signal };
}

function volumeOf({ kind, name, volume }: MoverSource): NonNullable<MoverSource["volume"]> {
  if (volume === undefined) throw new DrayError("NOT_SUPPORTED", `Cannot move ${kind} "${name}": it has no volume that can be read`);
  return volume;
}

/** Bytes a second; undefined for no limit. */
function bandwidthOf(parameters: MoverParameters): number | undefined {
  const text = parameters[BUILT_IN_PARAMETERS.bandwidth];
  return typeof text === "string" ? parseBytes(text) : undefined;
}
