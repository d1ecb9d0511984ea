/** Keeps the condition Accepted of DataMovers and DataMoverClasses: observes, decides (mover-acceptance.ts), writes. One leader at a time does so. */
import { type DataMover, type DataMoverClass, dataMoverClasses, dataMovers } from "@drayage/api";
import { type Clock, hasCode, type Logger, type RandomSource } from "@drayage/base";
import { type KubeClient, keyOf, type ObjectKey, type ReconcileResult, type ResourceType, source, startController, startInformer } from "@drayage/kube";
import type { RunningController } from "../backup/backup-controller.ts";
import { MoverRegistry } from "../mover-choice/mover-registry.ts";
import { ACCEPTED, acceptance, classProblems, moverProblems } from "./mover-acceptance.ts";

export interface MoverAcceptanceControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

export function startMoverAcceptanceController(deps: MoverAcceptanceControllerDeps): RunningController {
  const { client, clock, random, logger } = deps;
  const movers = startInformer(dataMovers, deps);
  const classes = startInformer(dataMoverClasses, deps);
  const write = async <T extends DataMover | DataMoverClass>(type: ResourceType<T>, object: T, problems: readonly string[]): Promise<ReconcileResult> => {
    const condition = acceptance(object, problems, clock.nowMs());
    if (condition === undefined) return {};
    const others = (object.status?.conditions ?? []).filter((other) => other.type !== ACCEPTED);
    const status = { conditions: [...others, condition] };
    try {
      await client.patchStatus(type, keyOf(object), "merge", { metadata: { resourceVersion: object.metadata.resourceVersion }, status });
    } catch (error) {
      // It was changed or deleted meanwhile, which brings us here again.
      if (!hasCode(error, "KUBE_CONFLICT") && !hasCode(error, "KUBE_NOT_FOUND")) throw error;
      return {};
    }
    if (problems.length > 0) logger.warn(`${type.kind} cannot be used`, { name: object.metadata.name, problems: problems.join("; ") });
    return {};
  };
  const ofMovers = startController({
    name: "mover-acceptance",
    clock,
    random,
    logger,
    sources: [source(movers)],
    reconcile: async (key: ObjectKey) => {
      const mover = movers.get(key);
      return mover === undefined ? {} : write(dataMovers, mover, moverProblems(mover));
    },
  });
  const ofClasses = startController({
    name: "mover-class-acceptance",
    clock,
    random,
    logger,
    // What a class may say depends on the movers that there are.
    sources: [source(classes), source(movers, { toKeys: () => classes.list().map(keyOf) })],
    reconcile: async (key: ObjectKey) => {
      const found = classes.get(key);
      // Before the movers have been listed, all of them would be missing.
      await movers.synced();
      return found === undefined ? {} : write(dataMoverClasses, found, classProblems(found, new MoverRegistry(movers.list(), [])));
    },
  });
  return {
    async idle() {
      await ofMovers.idle();
      await ofClasses.idle();
    },
    async stop() {
      await ofMovers.stop();
      await ofClasses.stop();
      movers.stop();
      classes.stop();
    },
  };
}
