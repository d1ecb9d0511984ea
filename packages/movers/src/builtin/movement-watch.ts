/** What a mover needs to know of its own DataUpload or DataDownload: that it may start, and that it is to stop. */
import { DRAYAGE_ANNOTATIONS } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { ResourceType } from "@drayage/kube";
import { type Informer, type KubeObject, type StartInformerOptions, startInformer } from "@drayage/kube";

type Watched = KubeObject & { readonly spec: { readonly cancel?: boolean }; readonly status?: { readonly phase?: string } };

export interface MovementWatch<T> {
  /** Resolves once it is known how the object is. Throws the signal's reason. */
  seen(signal?: AbortSignal): Promise<void>;
  /**
   * Resolves once the phase is InProgress; `onWaiting` is told of the object that it is awaited of. Throws the signal's reason, or DATA_MOVEMENT_FAILED when the object is gone or has ended.
   */
  started(signal?: AbortSignal, onWaiting?: (object: T) => void): Promise<T>;
  /** Aborted as soon as there is nothing to move any more: `Canceled` is its reason when a cancel is asked for or the object is gone, `Superseded` when it was given to another pod. */
  readonly ended: AbortSignal;
  stop(): void;
}

/** A reason of `ended`. */
export class Canceled extends Error {
  constructor(why: string) {
    super(why);
    this.name = "AbortError";
  }
}

/** A reason of `ended`: this mover was taken for dead, and another one moves the data. */
export class Superseded extends DrayError {
  constructor(kind: string, name: string) {
    super("DATA_MOVEMENT_FAILED", `Cannot go on with the data path: ${kind} "${name}" was given to another mover`);
  }
}

/** Whether an object is in the hands of another pod than this one. An agent of before names none, and a pod of Velero's does not know its own. */
export function isSuperseded({ metadata }: KubeObject, podUid: string | undefined): boolean {
  const named = metadata.annotations?.[DRAYAGE_ANNOTATIONS.moverPod];
  return podUid !== undefined && named !== undefined && named !== podUid;
}

export function watchMovement<T extends Watched>(
  type: ResourceType<T>,
  name: string,
  options: StartInformerOptions<T> & { readonly namespace: string; readonly podUid?: string | undefined },
): MovementWatch<T> {
  const informer: Informer<T> = startInformer(type, { ...options, fieldSelector: `metadata.name=${name}` });
  const ending = new AbortController();
  let hasStarted = false;
  const waiting = new Set<() => void>();
  const current = (): T | undefined => informer.get({ namespace: options.namespace, name });
  const stopHandler = informer.onChange((before, after) => {
    if (after === undefined && before !== undefined) ending.abort(new Canceled(`${type.kind} "${name}" is gone`));
    else if (after?.spec.cancel === true) ending.abort(new Canceled(`${type.kind} "${name}" is canceled`));
    else if (after !== undefined && hasStarted && (isSuperseded(after, options.podUid) || after.status?.phase === "Accepted")) {
      ending.abort(new Superseded(type.kind, name));
    }
    for (const wake of [...waiting]) wake();
  });

  const nextChange = (signal: AbortSignal | undefined): Promise<void> =>
    new Promise((resolve, reject) => {
      const finish = (settle: () => void) => (): void => {
        waiting.delete(onChange);
        signal?.removeEventListener("abort", onAbort);
        settle();
      };
      const onChange = finish(resolve);
      const onAbort = finish(() => reject(signal?.reason));
      waiting.add(onChange);
      signal?.addEventListener("abort", onAbort, { once: true });
    });

  return {
    seen: (signal) => informer.synced(signal),
    async started(signal, onWaiting) {
      await informer.synced(signal);
      let tell = onWaiting;
      for (;;) {
        signal?.throwIfAborted();
        const object = current();
        const phase = object?.status?.phase;
        if (object === undefined) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot start the data path: ${type.kind} "${name}" is not there`);
        if (phase === "InProgress") {
          if (isSuperseded(object, options.podUid)) throw new Superseded(type.kind, name);
          hasStarted = true;
          return object;
        }
        if (phase === "Canceling" || phase === "Canceled") ending.abort(new Canceled(`${type.kind} "${name}" is canceled`));
        ending.signal.throwIfAborted();
        if (phase === "Completed" || phase === "Failed")
          throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot start the data path: ${type.kind} "${name}" is ${phase} already`);
        tell?.(object);
        tell = undefined;
        await nextChange(signal);
      }
    },
    ended: ending.signal,
    stop: () => {
      stopHandler();
      informer.stop();
    },
  };
}
