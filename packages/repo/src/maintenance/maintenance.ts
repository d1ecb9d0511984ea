/**
 * Maintenance of a repository (kopia-format.md 8): quick keeps the index small, full also gives back space.
 *
 *   due? ─ schedule written first, so that a crash does not loop ─ clock compared with the storage's ─ refresh ─ tasks, each recorded in the history
 *   quick  indexes: compact one epoch, advance; without epochs: gather short packs of metadata · compact indexes · logs
 *   full   collect garbage · move contents of short packs · make deletions final · delete packs · extend locks · indexes · logs
 *
 * Invariant: exactly one process may do this at a time. The format does not see to it (8.1): the caller holds a lock of its own, a Lease in Kubernetes.
 */
import { type Clock, DrayError, errorFields, forEachLimit, type Logger, messageOf, type RandomSource } from "@drayage/base";
import type { BlobMetadata } from "@drayage/blob";
import type { Contents } from "../content/contents.ts";
import { LOCKED_PREFIXES } from "../format/blob-config.ts";
import { checkOwnClock } from "./clock-check.ts";
import { type IndexTasks, indexTasksOf } from "./index-tasks.ts";
import { type LogRetention, planLogCleanup } from "./log-cleanup.ts";
import { loadSchedule, MAINTENANCE_BLOB_ID, type MaintenanceSchedule, type MaintenanceTask, saveSchedule, withRun } from "./maintenance-schedule.ts";
import {
  applyRewrite,
  checkSessionClocks,
  deleteBlobs,
  followsFullRewrite,
  type MaintenanceTimes,
  mayDeletePacks,
  mayRewrite,
  planPackDeletion,
  planRewrite,
  safeDropTime,
} from "./pack-tasks.ts";
import { fullSafety, type MaintenanceSafety } from "./safety.ts";
import { applyCollection, type CollectionDependencies, planCollection } from "./snapshot-gc.ts";

/** Requests at once that extend object locks. */
const EXTENSIONS_AT_ONCE = 16;
/** Letters of the packs of directories and manifests. */
const METADATA_PACKS: readonly string[] = ["q"];

export interface MaintenanceCycle {
  readonly enabled: boolean;
  readonly intervalMs: number;
}

export interface MaintenanceOptions extends CollectionDependencies {
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** `auto`: what is due, if anything. */
  readonly mode: "auto" | "quick" | "full";
  readonly quick: MaintenanceCycle;
  readonly full: MaintenanceCycle;
  readonly logRetention: LogRetention;
  readonly extendObjectLocks?: boolean;
  readonly safety?: MaintenanceSafety;
  /** Nothing is changed; the report says what would be. */
  readonly dryRun?: boolean;
  readonly signal?: AbortSignal;
}

export interface MaintenanceTaskReport {
  readonly task: MaintenanceTask;
  /** Undefined: done. Otherwise why it was left out. */
  readonly skipped?: string;
  /** What was done, or with a dry run would be, in numbers. */
  readonly figures: Readonly<Record<string, number>>;
}

export interface MaintenanceReport {
  /** `none`: nothing was due. */
  readonly mode: "none" | "quick" | "full";
  readonly tasks: readonly MaintenanceTaskReport[];
}

/**
 * Maintains a repository. The first task that fails ends the run and is recorded; nothing of what came before is lost.
 * Throws REPO_CLOCK_SKEW, REPO_CORRUPT, and what the storage throws.
 */
export async function runMaintenance(options: MaintenanceOptions): Promise<MaintenanceReport> {
  const { contents, signal } = options;
  const schedule = await loadSchedule(contents.storage, contents.format, signal);
  const mode = dueMode(options, schedule);
  if (mode === "none") return { mode, tasks: [] };
  const run = new MaintenanceRunner(options, schedule);
  await run.begin(mode);
  if (mode === "quick") await run.quick();
  else await run.full();
  return { mode, tasks: run.reports };
}

function dueMode({ mode, clock, full, quick }: MaintenanceOptions, schedule: MaintenanceSchedule): MaintenanceReport["mode"] {
  if (mode !== "auto") return mode;
  const nowMs = clock.nowMs();
  if (full.enabled && nowMs >= schedule.nextFullMs) return "full";
  return quick.enabled && nowMs >= schedule.nextQuickMs ? "quick" : "none";
}

class MaintenanceRunner {
  readonly reports: MaintenanceTaskReport[] = [];
  readonly #options: MaintenanceOptions;
  readonly #contents: Contents;
  readonly #indexes: IndexTasks;
  #schedule: MaintenanceSchedule;
  #startedMs = 0;
  /** The schedule blob as we stored it last. */
  #saved: BlobMetadata | undefined;

  constructor(options: MaintenanceOptions, schedule: MaintenanceSchedule) {
    this.#options = options;
    this.#contents = options.contents;
    this.#schedule = schedule;
    this.#indexes = indexTasksOf(options.contents, { random: options.random, logger: options.logger, safety: this.#safety() });
  }

  /** Writes when the next run is due, and learns the storage's time from that. */
  async begin(mode: "quick" | "full"): Promise<void> {
    const { clock, quick, full, dryRun, signal } = this.#options;
    const nowMs = clock.nowMs();
    this.#startedMs = nowMs;
    if (dryRun !== true) {
      const nextQuickMs = nowMs + quick.intervalMs;
      this.#schedule = { ...this.#schedule, nextQuickMs, ...(mode === "full" ? { nextFullMs: nowMs + full.intervalMs } : {}) };
      await this.#save();
      this.#startedMs = this.#saved?.timestampMs ?? nowMs;
      checkOwnClock(this.#contents.storage.description, { storageMs: this.#startedMs, nowMs: clock.nowMs() });
      await this.#contents.flush(signal);
    }
    await this.#contents.refresh(signal);
  }

  async quick(): Promise<void> {
    if (this.#indexes.gathersPacksWhenQuick) {
      await this.#rewrite("quick-rewrite-contents", METADATA_PACKS);
      // What a full run moved is deleted by this one in full: otherwise the next quick run would move more before it is gone.
      if (followsFullRewrite(this.#schedule)) await this.#deletePacks("full-delete-blobs");
      else await this.#deletePacks("quick-delete-blobs", METADATA_PACKS);
    }
    for (const { task, run } of this.#indexes.quick) await this.#task(task, (apply) => run(apply, this.#options.signal));
    if (this.#indexes.gathersPacksWhenQuick) {
      await this.#contents.refresh(this.#options.signal);
      await this.#cleanLogs();
    }
  }

  async full(): Promise<void> {
    await this.#collect();
    await this.#rewrite("full-rewrite-contents");
    await this.#dropDeleted();
    await this.#deletePacks("full-delete-blobs");
    if (this.#options.extendObjectLocks === true) await this.#extendLocks();
    for (const { task, run } of this.#indexes.full) await this.#task(task, (apply) => run(apply, this.#options.signal));
    await this.#cleanLogs();
  }

  async #collect(): Promise<void> {
    const { signal } = this.#options;
    await this.#task("snapshot-gc", async (apply) => {
      const times = this.#times();
      await checkSessionClocks(this.#contents, times.startedMs - times.safety.sessionExpirationMs, signal);
      const plan = await planCollection(this.#options, times, signal);
      if (apply) await applyCollection(this.#contents, plan, signal);
      const { snapshots, inUse, inUseBytes, toDeleteBytes, tooRecent } = plan;
      return { snapshots, inUse, inUseBytes, undeleted: plan.toUndelete, deleted: plan.toDelete, deletedBytes: toDeleteBytes, tooRecent };
    });
  }

  async #rewrite(task: "quick-rewrite-contents" | "full-rewrite-contents", letters?: readonly string[]): Promise<void> {
    if (!mayRewrite(this.#schedule)) return this.#skip(task, "packs that the last run emptied are still there");
    await this.#task(task, async (apply) => {
      const plan = planRewrite(this.#contents, this.#times(), letters);
      if (apply && plan.contents > 0) await applyRewrite(this.#contents, plan, this.#options.signal);
      return { packs: plan.packs.size, contents: plan.contents, bytes: plan.bytes };
    });
  }

  async #dropDeleted(): Promise<void> {
    const until = safeDropTime(this.#schedule, this.#safety());
    if (until === undefined) return this.#skip("full-drop-deleted-content", "no two garbage collections lie far enough apart");
    await this.#task("full-drop-deleted-content", async (apply) => {
      const advanced = apply && (await this.#indexes.dropDeleted(until, this.#options.signal));
      if (advanced) await this.#contents.refresh(this.#options.signal);
      return { until, advanced: advanced ? 1 : 0 };
    });
  }

  async #deletePacks(task: "quick-delete-blobs" | "full-delete-blobs", letters?: readonly string[]): Promise<void> {
    if (!mayDeletePacks(this.#schedule, this.#times())) return this.#skip(task, "contents were moved a short while ago");
    const { signal } = this.#options;
    await this.#task(task, async (apply) => {
      const plan = await planPackDeletion(this.#contents, this.#times(), letters, signal);
      if (apply) await deleteBlobs(this.#contents, plan.blobs, signal);
      return { blobs: plan.blobs.length, bytes: plan.bytes };
    });
  }

  async #extendLocks(): Promise<void> {
    const { signal } = this.#options;
    const { storage, format } = this.#contents;
    const { retention } = format.config;
    if (retention === undefined) return this.#skip("extend-blob-retention-time", "the repository has no object lock");
    if (!storage.capabilities.retention) return this.#skip("extend-blob-retention-time", "this storage cannot lock objects");
    await this.#task("extend-blob-retention-time", async (apply) => {
      const untilMs = this.#options.clock.nowMs() + retention.periodMs;
      let blobs = 0;
      for (const prefix of LOCKED_PREFIXES) {
        await forEachLimit(
          storage.list(prefix, signal),
          EXTENSIONS_AT_ONCE,
          async ({ id }) => {
            if (apply) await storage.extendRetention(id, { mode: retention.mode, untilMs }, signal);
            blobs++;
          },
          signal,
        );
      }
      return { blobs };
    });
  }

  async #cleanLogs(): Promise<void> {
    const { signal, logRetention } = this.#options;
    await this.#task("cleanup-logs", async (apply) => {
      const names = await planLogCleanup(this.#contents.storage, logRetention, this.#startedMs, signal);
      if (apply) await deleteBlobs(this.#contents, names, signal);
      return { blobs: names.length };
    });
  }

  /** Runs one task and records how it went. */
  async #task(task: MaintenanceTask, work: (apply: boolean) => Promise<Record<string, number>>): Promise<void> {
    const { clock, logger, dryRun, signal } = this.#options;
    signal?.throwIfAborted();
    await this.#checkAlone();
    const startMs = clock.nowMs();
    try {
      const figures = await work(dryRun !== true);
      this.reports.push({ task, figures });
      logger.info("Maintenance task done", { task, ...figures });
      await this.#record(task, { startMs, endMs: clock.nowMs(), success: true, error: "", extra: [] });
    } catch (error) {
      logger.warn("Maintenance task failed", { task, ...errorFields(error) });
      await this.#record(task, { startMs, endMs: clock.nowMs(), success: false, error: messageOf(error), extra: [] }).catch(() => undefined);
      throw error;
    }
  }

  #skip(task: MaintenanceTask, skipped: string): void {
    this.reports.push({ task, skipped, figures: {} });
  }

  async #record(task: MaintenanceTask, run: Parameters<typeof withRun>[2]): Promise<void> {
    if (this.#options.dryRun === true) return;
    // Not over what somebody else has written meanwhile: his runs decide about safety as ours do.
    await this.#checkAlone();
    this.#schedule = withRun(this.#schedule, task, run);
    await this.#save();
  }

  async #save(): Promise<void> {
    const { storage, format } = this.#contents;
    try {
      await saveSchedule(storage, format, this.#schedule, this.#options.random);
    } catch (error) {
      // A storage whose puts are not whole or nothing may have kept half of it; then nobody could maintain any more.
      await saveSchedule(storage, format, this.#schedule, this.#options.random).catch(() => undefined);
      throw error;
    }
    this.#saved = await storage.head(MAINTENANCE_BLOB_ID, this.#options.signal);
  }

  /**
   * Stops when somebody else has written the schedule since we did: he maintains the repository, too. The format has no lock (8.1), and two that
   * overlap are what repositories were lost by. It cannot see one that only begins; keeping those out is up to the lock that the caller holds.
   */
  async #checkAlone(): Promise<void> {
    const saved = this.#saved;
    if (saved === undefined) return;
    const { storage } = this.#contents;
    const { timestampMs, length } = await storage.head(MAINTENANCE_BLOB_ID, this.#options.signal);
    if (timestampMs === saved.timestampMs && length === saved.length) return;
    throw new DrayError("REPO_LOCKED", `Cannot go on maintaining repository at "${storage.description}": somebody else has begun to maintain it as well`, {
      hint: "Wait until the other run has ended, and see to it that only one runs at a time.",
    });
  }

  #safety(): MaintenanceSafety {
    return this.#options.safety ?? fullSafety;
  }

  #times(): MaintenanceTimes {
    return { startedMs: this.#startedMs, nowMs: this.#options.clock.nowMs(), safety: this.#safety() };
  }
}
