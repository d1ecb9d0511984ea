import { type Backup, backups, LABELS, type Schedule, schedules, validLabelValue } from "@drayage/api";
import { type Clock, formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, keyOf, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import { allOf } from "../all-of.ts";
import { backupFromSchedule, SCHEDULED_FOR } from "./backup-from-schedule.ts";
import { decideSchedule, observeSchedule } from "./schedule.ts";

export interface ScheduleControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  /** The zone of expressions that name none: `UTC`, `Europe/Berlin`. */
  readonly zone: string;
  /** For Schedules whose skipImmediately is not set. */
  readonly skipImmediately?: boolean;
}

/** When a schedule that was not due by the cache is due by what the API server says. */
const LOOK_AGAIN_MS = 100;

/** Makes Backups when Schedules are due. */
export function startScheduleController(deps: ScheduleControllerDeps): Controller {
  const { client, clock, random, logger, namespace, zone } = deps;
  const base = { client, clock, random, logger, namespace };
  const informer = startInformer<Schedule>(schedules, base);
  const backupCache = startInformer<Backup>(backups, base);
  const viewOf = (schedule: Schedule, of: readonly Backup[]) =>
    observeSchedule(schedule, {
      nowMs: clock.nowMs(),
      zone,
      skipImmediately: deps.skipImmediately ?? false,
      backups: of.filter((backup) => isOf(backup, schedule)),
    });

  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const cached = informer.get(key);
    if (cached === undefined) return {};
    const first = decideSchedule(viewOf(cached, backupCache.list()));
    if (first.do === "nothing") {
      if (first.waitingFor !== undefined) logger.info("A schedule is due and waits", { schedule: key.name, for: first.waitingFor });
      return first.recheckAfterMs === undefined ? {} : { requeueAfterMs: first.recheckAfterMs };
    }
    // The cache may not have seen what this process has just written; what is written next depends on it.
    const schedule = await client.find(schedules, key, signal);
    if (schedule === undefined) return {};
    const labelSelector = `${LABELS.scheduleName}=${validLabelValue(key.name)}`;
    // Only a new Backup depends on those that are there.
    const isDue = first.do === "submit";
    const own = isDue ? await allOf(client.listAll<Backup>(backups, { namespace, labelSelector, signal })) : backupCache.list();
    const decision = decideSchedule(viewOf(schedule, own));
    if (decision.do === "submit" && !isDue) return { requeueAfterMs: LOOK_AGAIN_MS };
    switch (decision.do) {
      case "nothing":
        return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
      case "judge": {
        const { validationErrors: _, ...status } = schedule.status ?? {};
        const validationErrors = decision.faults.length === 0 ? {} : { validationErrors: [...decision.faults] };
        await client.replace<Schedule>(schedules, { ...schedule, status: { ...status, phase: decision.phase, ...validationErrors } }, { signal });
        return {};
      }
      case "skip":
        await client.replace<Schedule>(
          schedules,
          { ...schedule, spec: { ...schedule.spec, skipImmediately: false }, status: { ...schedule.status, lastSkipped: formatTime(clock.nowMs()) } },
          { signal },
        );
        return {};
      case "submit":
        await submit(deps, schedule, own, decision.dueMs, signal);
        return {};
    }
  };

  const controller = startController({
    name: "schedule",
    sources: [
      source(informer),
      // The end of a Backup's own work lets the next one start.
      source(backupCache, {
        when: (before, after) => before?.status?.phase !== after?.status?.phase,
        toKeys: ({ metadata }) => {
          const name = metadata.labels?.[LABELS.scheduleName];
          return name === undefined
            ? []
            : informer.list().flatMap((schedule) => (validLabelValue(schedule.metadata.name ?? "") === name ? [keyOf(schedule)] : []));
        },
      }),
    ],
    reconcile,
    clock,
    random,
    logger,
  });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
      backupCache.stop();
    },
  };
}

function isOf(backup: Backup, schedule: Schedule): boolean {
  return backup.metadata.labels?.[LABELS.scheduleName] === validLabelValue(schedule.metadata.name ?? "");
}

/** The Backup first, then the note of it: a server that ends in between finds the Backup by the time it is for, and makes no second one. */
async function submit(
  { client, clock, logger }: ScheduleControllerDeps,
  schedule: Schedule,
  own: readonly Backup[],
  dueMs: number,
  signal: AbortSignal,
): Promise<void> {
  const due = formatTime(dueMs);
  const nowMs = clock.nowMs();
  if (!own.some(({ metadata }) => metadata.annotations?.[SCHEDULED_FOR] === due)) {
    const backup = backupFromSchedule(schedule, nowMs);
    backup.metadata.annotations = { ...backup.metadata.annotations, [SCHEDULED_FOR]: due };
    try {
      await client.create<Backup>(backups, backup, { signal });
      logger.info("A backup was made by its schedule", { schedule: schedule.metadata.name, backup: backup.metadata.name, due });
    } catch (error) {
      // Somebody asked for a backup of this schedule within the same second.
      if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
    }
  }
  await client.patch<Schedule>(schedules, keyOf(schedule), "merge", { status: { lastBackup: formatTime(nowMs) } }, { signal });
}
