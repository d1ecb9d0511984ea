import { type DataProtectionTest, dataProtectionTests } from "@drayage/api";
import { type Clock, formatTime, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import type { LocationTrials } from "../ports.ts";
import { isDue } from "./data-protection-test.ts";
import { runTrial } from "./run-trial.ts";

export interface DataProtectionTestControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  readonly locations: LocationTrials;
}

const CONFLICT_MS = 500;

/** Runs DataProtectionTests, one at a time: two would measure each other. */
export function startDataProtectionTestController(deps: DataProtectionTestControllerDeps): Controller {
  const { client, clock, random, logger, namespace } = deps;
  const informer = startInformer(dataProtectionTests, { client, clock, random, logger, namespace });
  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const test = await client.find(dataProtectionTests, key, signal);
    if (test === undefined || !isDue(test)) return {};
    try {
      const lastTested = formatTime(clock.nowMs());
      const begun = await client.replaceStatus(dataProtectionTests, { ...test, status: { phase: "InProgress", lastTested } }, { signal });
      const status = await runTrial(deps, begun, signal);
      logger.info("A DataProtectionTest has ended", { name: key.name, phase: status.phase });
      await end(deps, key, begun, { ...status, lastTested }, signal);
      return {};
    } catch (error) {
      if (!hasCode(error, "KUBE_CONFLICT") && !hasCode(error, "KUBE_NOT_FOUND")) throw error;
      return { requeueAfterMs: CONFLICT_MS };
    }
  };
  const controller = startController({ name: "data-protection-test", sources: [source(informer)], reconcile, workers: 1, clock, random, logger });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
    },
  };
}

/** forceRun goes first: a process that ends in between runs the trial once more, and never for ever. */
async function end(
  { client }: DataProtectionTestControllerDeps,
  key: ObjectKey,
  begun: DataProtectionTest,
  status: NonNullable<DataProtectionTest["status"]>,
  signal: AbortSignal,
): Promise<void> {
  if (begun.spec.forceRun === true) await client.patch(dataProtectionTests, key, "merge", { spec: { forceRun: false } }, { signal });
  await client.patchStatus(dataProtectionTests, key, "merge", { status }, { signal });
}
