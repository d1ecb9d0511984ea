import { serverStatusRequests } from "@drayage/api";
import type { Clock, Logger, RandomSource } from "@drayage/base";
import { type Controller, type KubeClient, type ObjectKey, type ReconcileResult, source, startController, startInformer } from "@drayage/kube";
import { answer, decide, observe, type PluginInfo } from "./server-status.ts";

export interface ServerStatusControllerDeps {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly namespace: string;
  /** `v0.1.0`. */
  readonly serverVersion: string;
  readonly plugins: readonly PluginInfo[];
}

/** Answers ServerStatusRequests. */
export function startServerStatusController(deps: ServerStatusControllerDeps): Controller {
  const { client, clock, random, logger } = deps;
  const informer = startInformer(serverStatusRequests, { client, clock, random, logger, namespace: deps.namespace });
  const reconcile = async (key: ObjectKey, signal: AbortSignal): Promise<ReconcileResult> => {
    const request = await client.find(serverStatusRequests, key, signal);
    if (request === undefined) return {};
    const decision = decide(observe(request, clock.nowMs()));
    if (decision.do === "delete") {
      await client.delete(serverStatusRequests, key, { signal });
      return {};
    }
    if (decision.do === "answer")
      await client.patch(serverStatusRequests, key, "merge", { status: answer(deps.serverVersion, deps.plugins, clock.nowMs()) }, { signal });
    return { requeueAfterMs: decision.recheckAfterMs };
  };
  const controller = startController({ name: "server-status-request", sources: [source(informer)], reconcile, workers: 4, clock, random, logger });
  return {
    ...controller,
    stop: async () => {
      await controller.stop();
      informer.stop();
    },
  };
}
