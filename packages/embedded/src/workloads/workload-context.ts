/** What the controllers of workloads share. */
import { isDeepStrictEqual } from "node:util";
import { type Clock, hasCode, type Logger, messageOf, type RandomSource } from "@drayage/base";
import { type EventRecorder, type KubeClient, type KubeObject, keyOf, type Pod, type ReplicaSet, type ResourceType } from "@drayage/kube";
import type { OwnedObjects } from "./owned-objects.ts";

export interface WorkloadContext {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  readonly recorder: EventRecorder;
  readonly pods: OwnedObjects<Pod>;
  readonly replicaSets: OwnedObjects<ReplicaSet>;
}

/** Makes pods one after the other; the first refusal (a quota, a missing service account) is told by an event and thrown. */
export async function createAll(context: WorkloadContext, owner: KubeObject, all: readonly Pod[]): Promise<void> {
  for (const pod of all) {
    try {
      const made = await context.pods.create(pod);
      context.recorder.event(owner, "Normal", "SuccessfulCreate", `Created pod: ${made.metadata.name}`);
    } catch (error) {
      // The namespace goes, and everything in it.
      if (hasCode(error, "KUBE_FORBIDDEN") && /being terminated/.test(messageOf(error))) return;
      context.recorder.event(owner, "Warning", "FailedCreate", `Error creating: ${messageOf(error)}`);
      throw error;
    }
  }
}

/** Writes the status where it differs from what the object has. An object that has gone meanwhile needs none. */
export async function writeStatus<T extends KubeObject & { status?: object }>(
  context: Pick<WorkloadContext, "client">,
  type: ResourceType<T>,
  object: T,
  status: Readonly<Record<string, unknown>>,
): Promise<void> {
  const before = (object.status ?? {}) as Record<string, unknown>;
  const changed = Object.entries(status).filter(([key, value]) => !isDeepStrictEqual(before[key] ?? emptyLike(value), value));
  if (changed.length === 0) return;
  try {
    await context.client.patchStatus(type, keyOf(object), "merge", {
      metadata: { uid: object.metadata.uid },
      status: Object.fromEntries(changed.map(([key, value]) => [key, value === undefined ? null : value])),
    });
  } catch (error) {
    if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
  }
}

/** A count of 0 and an empty list are not written where there is none: the API leaves them out. */
function emptyLike(value: unknown): unknown {
  if (value === 0) return 0;
  return Array.isArray(value) && value.length === 0 ? [] : undefined;
}
