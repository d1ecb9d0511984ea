/** The progress of a data path as it is told: Velero's two numbers, and how fast it goes. */
import type { Clock } from "@drayage/base";
import { type OnProgress, RateMeter } from "@drayage/datapath";
import type { TransferProgress } from "./data-path-reporter.ts";

export function progressTeller(tell: (progress: TransferProgress) => void, clock: Clock): OnProgress {
  const meter = new RateMeter();
  return ({ phase, bytesTotal, bytesDone, filesDone, filesTotal, bytesHashed, bytesDeduplicated, bytesUploaded, errors, limitedBy }) => {
    meter.note(clock.monotonicMs(), bytesDone);
    const rate = meter.perSecond;
    const etaMs = meter.etaMs(bytesTotal);
    tell({
      totalBytes: bytesTotal,
      doneBytes: bytesDone,
      details: {
        ...{ phase, filesDone, filesTotal, bytesHashed, bytesDeduplicated, bytesStored: bytesUploaded, errors },
        ...(rate === undefined ? {} : { bytesPerSecond: Math.round(rate) }),
        ...(etaMs === undefined ? {} : { etaSeconds: Math.ceil(etaMs / 1000) }),
        ...(limitedBy === undefined ? {} : { limitedBy }),
      },
    });
  };
}
