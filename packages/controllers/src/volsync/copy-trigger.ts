/**
 * Copy triggers: the owner of a claim brings its data to rest before a clone or snapshot is made of it, and lets go of it afterwards. They tell each other by annotations on the claim, as VolSync
 * 0.16 has them (internal/controller/volumehandler):
 *
 *   owner:   use-copy-trigger                       copy-trigger: <new value>                                 (goes on)
 *   we:            latest-copy-status: WaitingForTrigger ──► InProgress ──► Completed, latest-copy-trigger: <value>
 *
 * The value that is confirmed is the one that was there when the copy was begun, which stands in an annotation of ours until then: one that comes later asks for a copy of its own.
 */
import { COPY_BEGUN_ANNOTATION, COPY_STATUS, VOLSYNC_ANNOTATIONS } from "@drayage/api";
import { formatTime, parseTime } from "@drayage/base";
import { type KubeClient, type PersistentVolumeClaim, persistentVolumeClaims } from "@drayage/kube";
import { act, type Work, wait } from "../data-movement/work.ts";

/** VolSync's: after it the status says that nobody has set the trigger. It is waited for all the same. */
const PATIENCE_MS = 10 * 60_000;

/** What comes before a copy is made of a claim; undefined when it can be made. */
export function awaitCopyTrigger(client: KubeClient, claim: PersistentVolumeClaim, nowMs: number): Work | undefined {
  const { trigger, begunFor, latestTrigger, status, waitingSince } = triggerOf(claim);
  if (!usesTriggers(claim)) return undefined;
  if (trigger !== "" && trigger !== latestTrigger) {
    if (status === COPY_STATUS.inProgress && begunFor === trigger && waitingSince === undefined) return undefined;
    return noted(client, claim, {
      [VOLSYNC_ANNOTATIONS.latestCopyStatus]: COPY_STATUS.inProgress,
      [VOLSYNC_ANNOTATIONS.waitingSince]: null,
      [COPY_BEGUN_ANNOTATION]: trigger,
    });
  }
  if (status !== COPY_STATUS.waiting || parseTime(waitingSince) === undefined) {
    return noted(client, claim, {
      [VOLSYNC_ANNOTATIONS.latestCopyStatus]: COPY_STATUS.waiting,
      [VOLSYNC_ANNOTATIONS.waitingSince]: formatTime(nowMs),
    });
  }
  return wait(`a new value of the annotation "${VOLSYNC_ANNOTATIONS.copyTrigger}" on ${nameOf(claim)}, before it is copied`);
}

/** What follows once the copy is made; undefined when that was told, and where none was begun. */
export function tellCopied(client: KubeClient, claim: PersistentVolumeClaim): Work | undefined {
  const { trigger, begunFor, status } = triggerOf(claim);
  if (!usesTriggers(claim) || status !== COPY_STATUS.inProgress) return undefined;
  return noted(client, claim, {
    [VOLSYNC_ANNOTATIONS.latestCopyStatus]: COPY_STATUS.completed,
    // VolSync notes none: of a copy that it began the present value is all there is.
    [VOLSYNC_ANNOTATIONS.latestCopyTrigger]: begunFor ?? trigger,
    [VOLSYNC_ANNOTATIONS.waitingSince]: null,
    [COPY_BEGUN_ANNOTATION]: null,
  });
}

/** What is to be said of a trigger that does not come; undefined while there is time. */
export function overdueTrigger(claim: PersistentVolumeClaim, nowMs: number): string | undefined {
  const { status, waitingSince } = triggerOf(claim);
  const sinceMs = parseTime(waitingSince);
  if (!usesTriggers(claim) || status !== COPY_STATUS.waiting || sinceMs === undefined || nowMs - sinceMs < PATIENCE_MS) return undefined;
  return `Nobody has set the annotation "${VOLSYNC_ANNOTATIONS.copyTrigger}" on ${nameOf(claim)} to a new value since ${formatTime(sinceMs)}: it is still waited for`;
}

function usesTriggers({ metadata }: PersistentVolumeClaim): boolean {
  return metadata.annotations?.[VOLSYNC_ANNOTATIONS.useCopyTrigger] !== undefined;
}

function triggerOf({ metadata }: PersistentVolumeClaim) {
  const annotations = metadata.annotations ?? {};
  return {
    trigger: annotations[VOLSYNC_ANNOTATIONS.copyTrigger] ?? "",
    begunFor: annotations[COPY_BEGUN_ANNOTATION],
    latestTrigger: annotations[VOLSYNC_ANNOTATIONS.latestCopyTrigger],
    status: annotations[VOLSYNC_ANNOTATIONS.latestCopyStatus],
    waitingSince: annotations[VOLSYNC_ANNOTATIONS.waitingSince],
  };
}

function noted(client: KubeClient, claim: PersistentVolumeClaim, annotations: Readonly<Record<string, string | null>>): Work {
  const { namespace = "", name = "" } = claim.metadata;
  return act(`tell on ${nameOf(claim)} that its copy is ${annotations[VOLSYNC_ANNOTATIONS.latestCopyStatus]}`, () =>
    client.patch(persistentVolumeClaims, { namespace, name }, "merge", { metadata: { annotations } }),
  );
}

function nameOf({ metadata }: PersistentVolumeClaim): string {
  return `persistent volume claim "${metadata.namespace}/${metadata.name}"`;
}
