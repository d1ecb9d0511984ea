import { hasCode } from "@drayage/base";
import type { EventRecorder, KubeClient, ObjectKey, Reconcile } from "@drayage/kube";
import { type Decision, type KubeStep, liveReader, type ObjectReader, StepRunner } from "./steps.ts";

export interface ReconcileParts<Observed, Other = never> {
  /** Everything a decision needs, or undefined when the object is gone. */
  readonly observe: (reader: ObjectReader, key: ObjectKey) => Promise<Observed | undefined>;
  readonly decide: (observed: Observed) => Decision<Other>;
  /** Takes a step that is not one of Kubernetes. A step that cannot be taken yet ends the pass and says when the next one is due. */
  readonly act?: (step: Other, runner: StepRunner, signal: AbortSignal) => Promise<ActResult>;
}

export interface ActResult {
  readonly again?: { readonly afterMs: number };
}

export interface ReconcilePorts {
  readonly client: KubeClient;
  readonly cached: ObjectReader;
  readonly recorder: EventRecorder;
}

const KUBE_STEPS: ReadonlySet<string> = new Set<KubeStep["do"]>(["create", "replace", "replaceStatus", "delete", "event"]);

/** A reconcile of the shape observe → decide → apply. */
export function reconcileWith<Observed, Other extends { readonly do: string } = never>(
  parts: ReconcileParts<Observed, Other>,
  ports: ReconcilePorts,
): Reconcile {
  return async (key, signal) => {
    let decision = await decideFrom(parts, ports.cached, key);
    if (decision?.irreversible === true) decision = await decideFrom(parts, liveReader(ports.client, signal), key);
    if (decision === undefined) return {};
    const runner = new StepRunner(ports.client, ports.recorder, signal);
    try {
      for (const step of decision.steps) {
        if (KUBE_STEPS.has(step.do)) await runner.run(step as KubeStep);
        else {
          const { again } = (await parts.act?.(step as Other, runner, signal)) ?? {};
          if (again !== undefined) return { requeueAfterMs: again.afterMs };
        }
      }
    } catch (error) {
      // The object went while it was worked on; whoever is concerned hears of that by itself.
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
    return decision.recheckAfterMs === undefined ? {} : { requeueAfterMs: decision.recheckAfterMs };
  };
}

async function decideFrom<Observed, Other>(parts: ReconcileParts<Observed, Other>, reader: ObjectReader, key: ObjectKey): Promise<Decision<Other> | undefined> {
  const observed = await parts.observe(reader, key);
  return observed === undefined ? undefined : parts.decide(observed);
}
