/**
 * The frame of a mover's run, the same for both directions: wait until the object may start, move, tell, and leave the result in the container's termination message.
 * The process holds nothing that another needs: killed at any point, the repository is as it was and the node-agent sees the pod's end.
 */
import { writeFileSync } from "node:fs";
import { DATA_PATH_CANCELED, MOVER_SECRET_PATH, MOVER_SECRET_PATH_ENV, TERMINATION_MESSAGE_BYTES_MAX } from "@drayage/api";
import { asBuffer, type Clock, DrayError, dispositionOf, errorFields, isDrayError, type Logger, messageOf, type RandomSource, utf8 } from "@drayage/base";
import type { Sha256Ranges } from "@drayage/blob/s3";
import type { OnProgress } from "@drayage/datapath";
import type { KubeClient, KubeObject, ResourceType } from "@drayage/kube";
import { type DeriveFormatKey, rememberingKeys } from "@drayage/repo";
import { DataPathReporter, type TransferProgress } from "./data-path-reporter.ts";
import { Canceled, isSuperseded, type MovementWatch, Superseded, watchMovement } from "./movement-watch.ts";
import { prepareRepository } from "./open-repository.ts";
import { loadClusterAccess, type RepositoryAccess, readMountedAccess, readMountedResultKey } from "./repository-access.ts";
import { progressTeller } from "./transfer-progress.ts";

export interface DataMoverOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Of the installation, in which the object is. */
  readonly namespace: string;
  readonly nodeName: string;
  /** Of the pod that this runs in; not known in one that Velero's own node-agent made. */
  readonly podUid?: string;
  readonly volumePath: string;
  readonly volumeMode: "Filesystem" | "Block";
  /** Where the mover's Secret is mounted; the variable of the pod, else its usual place. */
  readonly secretPath?: string;
  /** `/dev/termination-log` when left out. */
  readonly terminationLogPath?: string;
  /** Of the program; the mover says it of itself. */
  readonly version?: string;
  /** A volume for what is kept of the repository meanwhile. */
  readonly cacheFolder?: string;
  /** Bytes the process may take. */
  readonly memoryBudget?: number;
  /** Makes digests side by side, for stores whose requests carry one of each body. */
  readonly sha256Ranges?: Sha256Ranges | undefined;
  /** Ends the run: the pod is being deleted. */
  readonly signal?: AbortSignal;
}

/** How a transfer ended: the result as it is told, and what is missing from it. */
export interface Outcome {
  readonly result: Readonly<Record<string, unknown>>;
  readonly problem?: string;
}

/** What one direction adds. */
export interface Transfer<T> {
  readonly type: ResourceType<T & KubeObject>;
  readonly name: string;
  readonly run: (context: TransferContext<T>) => Promise<Outcome>;
}

export interface TransferContext<T> {
  readonly object: T;
  readonly access: RepositoryAccess;
  readonly signal: AbortSignal;
  /** Tells how far it is, and the same for a data path. */
  readonly tell: (progress: TransferProgress) => void;
  readonly onProgress: OnProgress;
  /** Throws when this mover is no longer the one that moves the object; called before anything becomes visible. An API server that does not answer is waited for before the end only. */
  readonly fence: (before: "checkpoint" | "snapshot") => Promise<void>;
}

export type MovedObject = KubeObject & {
  readonly spec: {
    readonly cancel?: boolean;
    readonly backupStorageLocation: string;
    readonly sourceNamespace?: string;
    readonly pod?: { readonly namespace?: string };
  };
  readonly status?: { readonly phase?: string; readonly node?: string };
};

const LAST_EVENTS_MS = 60_000;
const FENCE_PATIENCE_MS = 15 * 60_000;
const FENCE_RETRY_MS = 5_000;

/** Runs a transfer and returns the exit code: 0 when all of it succeeded. Never throws. */
export async function runDataMover<T extends MovedObject>(options: DataMoverOptions, transfer: Transfer<T>): Promise<number> {
  const { client, clock, random, logger, namespace, nodeName } = options;
  const type = transfer.type as unknown as ResourceType<T>;
  const watch = watchMovement(type, transfer.name, { client, clock, random, logger, namespace, podUid: options.podUid });
  const signal = options.signal === undefined ? watch.ended : AbortSignal.any([watch.ended, options.signal]);
  let reporter: DataPathReporter | undefined;
  const deriveKey = rememberingKeys();
  const preparing = new AbortController();
  const prepared = prepare(options, watch, deriveKey, AbortSignal.any([signal, preparing.signal]));
  try {
    const reporterOf = (about: T): DataPathReporter => new DataPathReporter({ client, clock, random, logger, about, nodeName, podUid: options.podUid });
    let early: DataPathReporter | undefined;
    const object = await watch.started(options.signal, (waiting) => {
      // Without the pod it would say nothing.
      if (options.podUid === undefined) return;
      early = reporterOf(waiting);
      early.up();
    });
    const telling = early ?? reporterOf(object);
    reporter = telling;
    telling.started();
    const onCancel = (): void => {
      if (watch.ended.reason instanceof Canceled) telling.canceling();
    };
    watch.ended.addEventListener("abort", onCancel, { once: true });
    const outcome = await transfer.run({
      object,
      access: { ...(await accessFor(options, object)), deriveKey },
      signal,
      tell: (progress) => telling.progress(progress),
      onProgress: progressTeller((progress) => telling.progress(progress), clock),
      fence: (before) => fence(options, { type, started: object, before, signal }),
    });
    return await end(options, telling, outcome);
  } catch (error) {
    const isCanceled = error instanceof Canceled || watch.ended.reason instanceof Canceled;
    const message = isCanceled ? `${transfer.name}: ${DATA_PATH_CANCELED}` : failure(error);
    if (isCanceled) logger.info("The data path was canceled", { name: transfer.name });
    else
      logger.error("The data path failed", {
        name: transfer.name,
        ...errorFields(error),
        stack: isDrayError(error) ? undefined : (error as Error | undefined)?.stack,
      });
    if (isCanceled) reporter?.canceled(message);
    else reporter?.failed(message);
    writeTerminationMessage(options, message);
    return 1;
  } finally {
    preparing.abort();
    await reporter?.stop(LAST_EVENTS_MS);
    watch.stop();
    await prepared;
  }
}

/** While the object waits for its turn, and the kubelet tells that this pod runs. What fails here fails once more when it counts, and is told then. */
async function prepare(options: DataMoverOptions, watch: Pick<MovementWatch<unknown>, "seen">, deriveKey: DeriveFormatKey, signal: AbortSignal): Promise<void> {
  const { clock, random, logger } = options;
  try {
    // Deriving a key lets nothing else happen for a while, and that this pod runs is to be told first.
    await watch.seen(signal);
    const mounted = await readMountedAccess(secretFolder(options));
    if (mounted === undefined) return;
    // A store that refuses these credentials is not waited for.
    const { reread: _, ...access } = mounted;
    await prepareRepository({ ...access, deriveKey }, { clock, random, logger, signal });
  } catch (error) {
    logger.debug("The repository could not be prepared for", errorFields(error));
  }
}

async function end(options: DataMoverOptions, reporter: DataPathReporter, { result, problem }: Outcome): Promise<number> {
  const text = terminationText(result, problem);
  writeTerminationMessage(options, text);
  if (problem === undefined) {
    options.logger.info("The data path completed", { result: text });
    reporter.completed(text, await resultKeyOf(options));
    return 0;
  }
  options.logger.warn("The data path ended with some entries missing", { problem });
  reporter.failed(problem);
  return 1;
}

/** Without it the node-agent hears of the end from the kubelet, which is no failure. */
async function resultKeyOf(options: DataMoverOptions): Promise<Uint8Array | undefined> {
  try {
    return await readMountedResultKey(secretFolder(options));
  } catch (error) {
    options.logger.warn("The key of the result cannot be read", errorFields(error));
    return undefined;
  }
}

/** The result within what the kubelet keeps, still JSON: what is missing is told as far as there is room. */
function terminationText(result: Readonly<Record<string, unknown>>, problem: string | undefined): string {
  if (problem === undefined) return JSON.stringify(result);
  for (let room = problem.length; ; room = Math.floor(room / 2)) {
    const text = JSON.stringify({ ...result, error: room < problem.length ? `${problem.slice(0, room)}…` : problem });
    if (utf8(text).length <= TERMINATION_MESSAGE_BYTES_MAX || room === 0) return text;
  }
}

function failure(error: unknown): string {
  const message = messageOf(error);
  return isDrayError(error) && error.hint !== undefined ? `${message}. ${error.hint}` : message;
}

function writeTerminationMessage({ terminationLogPath = "/dev/termination-log", logger }: DataMoverOptions, text: string): void {
  const bytes = asBuffer(utf8(text));
  // The end says more than the beginning: that the data path was canceled is told there.
  const kept = bytes.length <= TERMINATION_MESSAGE_BYTES_MAX ? bytes : bytes.subarray(bytes.length - TERMINATION_MESSAGE_BYTES_MAX);
  try {
    writeFileSync(terminationLogPath, kept);
  } catch (error) {
    logger.warn("The termination message cannot be written", { path: terminationLogPath, ...errorFields(error) });
  }
}

async function accessFor(options: DataMoverOptions, { spec }: MovedObject): Promise<RepositoryAccess> {
  const mounted = await readMountedAccess(secretFolder(options));
  if (mounted !== undefined) return mounted;
  // A pod that Velero's own node-agent made has no such Secret, and a service account that may read them.
  const load = (): Promise<RepositoryAccess> =>
    loadClusterAccess(options.client, {
      namespace: options.namespace,
      locationName: spec.backupStorageLocation,
      volumeNamespace: spec.sourceNamespace ?? spec.pod?.namespace ?? "",
    });
  return { ...(await load()), reread: load };
}

function secretFolder({ secretPath }: DataMoverOptions): string {
  return secretPath ?? process.env[MOVER_SECRET_PATH_ENV] ?? MOVER_SECRET_PATH;
}

interface FenceOptions<T> {
  readonly type: ResourceType<T & KubeObject>;
  readonly started: T & KubeObject;
  readonly before: "checkpoint" | "snapshot";
  readonly signal: AbortSignal;
}

/** A mover whose object was given to another, or has ended, must leave no trace (docs/design/0010). */
async function fence<T extends MovedObject>(options: DataMoverOptions, { type, started, before, signal }: FenceOptions<T>): Promise<void> {
  // What is there when it is canceled, the next movement of the volume goes on from: Kopia leaves the same.
  if (before === "checkpoint" && signal.reason instanceof Canceled) return;
  const { name = "" } = started.metadata;
  const look = (): Promise<T | undefined> => options.client.find(type, { namespace: options.namespace, name }, signal);
  const current = await (before === "checkpoint" ? look() : patiently(look, options.clock, signal));
  if (current?.spec.cancel === true) throw new Canceled(`${type.kind} "${name}" is canceled`);
  if (current !== undefined && isSuperseded(current, options.podUid)) throw new Superseded(type.kind, name);
  const phase = current?.status?.phase;
  const sameObject = current?.metadata.uid === started.metadata.uid;
  const sameNode = current?.status?.node === started.status?.node;
  if (sameObject && sameNode && (phase === "InProgress" || phase === "Canceling")) return;
  throw new DrayError(
    "DATA_MOVEMENT_FAILED",
    `Cannot finish the data path: ${type.kind} "${name}" ${current === undefined ? "is gone" : `is ${phase ?? "New"} on node "${current.status?.node ?? ""}"`}`,
  );
}

/** An API server may be away for as long as an upgrade of it takes; hours of work must not be lost for that. Throws the last error when the time is up. */
async function patiently<R>(look: () => Promise<R>, clock: Clock, signal: AbortSignal): Promise<R> {
  const deadlineMs = clock.monotonicMs() + FENCE_PATIENCE_MS;
  for (;;) {
    try {
      return await look();
    } catch (error) {
      if (dispositionOf(error) !== "retry" || clock.monotonicMs() >= deadlineMs) throw error;
      await clock.sleep(FENCE_RETRY_MS, signal);
    }
  }
}
