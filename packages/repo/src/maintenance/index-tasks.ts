/** What maintenance does to indexes, whichever way a repository keeps them: epochs (kopia-format.md 6.5), or single blobs with a compaction log (6.6). */
import { invariant, type Logger, type RandomSource } from "@drayage/base";
import type { Contents } from "../content/contents.ts";
import { EpochIndexBlobs } from "../epoch/epoch-index-blobs.ts";
import { type CompactionPlan, EpochMaintenance } from "../epoch/epoch-maintenance.ts";
import { LegacyIndexBlobs } from "../index-blobs/legacy-index-blobs.ts";
import { LegacyIndexMaintenance } from "../index-blobs/legacy-index-maintenance.ts";
import type { MaintenanceTask } from "./maintenance-schedule.ts";
import type { MaintenanceSafety } from "./safety.ts";

export interface IndexTask {
  readonly task: MaintenanceTask;
  /** Does it, or with `apply` false only says what it would do. */
  run(apply: boolean, signal?: AbortSignal): Promise<Record<string, number>>;
}

export interface IndexTasks {
  readonly quick: readonly IndexTask[];
  readonly full: readonly IndexTask[];
  /** Quick maintenance gathers short packs of directories and manifests as well: repositories without epochs are made of many small flushes. */
  readonly gathersPacksWhenQuick: boolean;
  /** Makes deletions up to a time, in unix seconds, final. False when nothing changes by that. */
  dropDeleted(untilSeconds: number, signal?: AbortSignal): Promise<boolean>;
}

export function indexTasksOf(
  contents: Contents,
  on: { readonly random: RandomSource; readonly logger: Logger; readonly safety: MaintenanceSafety },
): IndexTasks {
  const { random, logger, safety } = on;
  const { storage, format, codec, indexBlobs, indexLoader: loader } = contents;
  if (indexBlobs instanceof EpochIndexBlobs) return epochTasks(new EpochMaintenance({ storage, format, codec, random, epochs: indexBlobs, loader, logger }));
  invariant(indexBlobs instanceof LegacyIndexBlobs, "Cannot maintain indexes: they are kept in a way that is not known");
  return legacyTasks(new LegacyIndexMaintenance({ storage, format, codec, random, indexBlobs, loader, logger, settleMs: safety.indexSettleMs }));
}

function epochTasks(epochs: EpochMaintenance): IndexTasks {
  const deletion = (task: MaintenanceTask, plan: (signal?: AbortSignal) => Promise<readonly string[]>): IndexTask => ({
    task,
    async run(apply, signal) {
      const names = await plan(signal);
      if (apply) await epochs.delete(names, signal);
      return { blobs: names.length };
    },
  });
  const compaction = (task: MaintenanceTask, plan: (signal?: AbortSignal) => Promise<CompactionPlan | undefined>): IndexTask => ({
    task,
    async run(apply, signal) {
      const planned = await plan(signal);
      if (planned === undefined) return { epochs: 0, blobs: 0 };
      if (apply) await epochs.compact(planned, signal);
      return { epochs: planned.last - planned.first + 1, blobs: planned.blobs.length };
    },
  });
  const quick: readonly IndexTask[] = [
    compaction("compact-single-epoch", (signal) => epochs.planSingle(signal)),
    {
      task: "advance-epoch",
      async run(apply, signal) {
        const epoch = await epochs.planAdvance(signal);
        if (apply && epoch !== undefined) await epochs.advanceTo(epoch, signal);
        return { epochs: epoch === undefined ? 0 : 1 };
      },
    },
  ];
  return {
    quick,
    full: [
      ...quick,
      compaction("generate-epoch-range-index", (signal) => epochs.planRange(signal)),
      deletion("cleanup-epoch-markers", (signal) => epochs.spentMarkers(signal)),
      deletion("delete-superseded-epoch-indexes", (signal) => epochs.supersededIndexes(signal)),
    ],
    gathersPacksWhenQuick: false,
    dropDeleted: (untilSeconds, signal) => epochs.advanceWatermark(untilSeconds, signal),
  };
}

function legacyTasks(indexes: LegacyIndexMaintenance): IndexTasks {
  const compaction: IndexTask = {
    task: "index-compaction",
    run: async (apply, signal) => ({ blobs: apply ? await indexes.compact(signal) : (await indexes.planCompaction(signal)).length }),
  };
  return {
    quick: [compaction],
    full: [compaction],
    gathersPacksWhenQuick: true,
    dropDeleted: async (untilSeconds, signal) => (await indexes.dropDeleted(untilSeconds, signal)) > 0,
  };
}
