/** What a mover pod that does not run yet waits for: the scheduler's and the kubelet's words stand on the pod, but why a volume cannot be attached or mounted is told by Events alone. */
import { parseTime } from "@drayage/base";
import { type CoreEvent, events, type Pod } from "@drayage/kube";
import { type Work, wait } from "../data-movement/work.ts";
import { steadyAgeMs } from "../steady-age.ts";
import type { ExposerDeps } from "./exposer-deps.ts";
import { startingReason } from "./hosting-pod.ts";

/** Most pods run by then, and nobody needs to be asked. */
const LOOK_AFTER_MS = 15_000;
/** The pod's own changes are watched. */
const RECHECK_MS = 2_500;
const ABOUT_VOLUMES: ReadonlySet<string> = new Set(["FailedMount", "FailedAttachVolume", "FailedMapVolume"]);

export async function startingWork({ client, clock, namespace }: ExposerDeps, pod: Pod): Promise<Work> {
  const reason = startingReason(pod);
  const { name = "", uid } = pod.metadata;
  const isYoung = steadyAgeMs(clock, `start of ${uid}`) < LOOK_AFTER_MS;
  // Without a node there is no kubelet that could have tried.
  if (pod.spec.nodeName === undefined || isYoung) return wait(reason, RECHECK_MS);
  let last: CoreEvent | undefined;
  for await (const event of client.listAll(events, { namespace, fieldSelector: `involvedObject.kind=Pod,involvedObject.name=${name}` }))
    if (event.involvedObject.uid === uid && ABOUT_VOLUMES.has(event.reason ?? "") && timeOf(event) >= timeOf(last)) last = event;
  return wait(last === undefined ? reason : `${reason}: ${last.reason}: ${last.message}`, RECHECK_MS);
}

function timeOf(event: CoreEvent | undefined): number {
  return parseTime(event?.lastTimestamp ?? event?.metadata.creationTimestamp) ?? 0;
}
