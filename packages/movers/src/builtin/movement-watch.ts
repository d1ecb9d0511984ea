/** What a mover needs to know of its own DataUpload or DataDownload: that it may start, and that it is to stop. */
import { DrayError } from "@drayage/base";
import type { ResourceType } from "@drayage/kube";
import { type Informer, type KubeObject, type StartInformerOptions, startInformer } from "@drayage/kube";

type Watched = KubeObject & { readonly spec: { readonly cancel?: boolean }; readonly status?: { readonly phase?: string } };

export interface MovementWatch<T> {
  /** Resolves once the phase is InProgress. Throws the signal's reason, or DATA_MOVEMENT_FAILED when the object is gone or has ended. */
  started(signal?: AbortSignal): Promise<T>;
  /** Aborted, with `Canceled` as its reason, as soon as a cancel is asked for or the object is gone. */
  readonly canceled: AbortSignal;
  stop(): void;
}

/** The reason of `canceled`. */
export class Canceled extends Error {
  constructor(why: string) {
    super(why);
    this.name = "AbortError";
  }
}

export function watchMovement<T extends Watched>(
  type: ResourceType<T>,
  name: string,
  options: StartInformerOptions<T> & { readonly namespace: string },
): MovementWatch<T> {
  const informer: Informer<T> = startInformer(type, { ...options, fieldSelector: `metadata.name=${name}` });
  const canceling = new AbortController();
  const waiting = new Set<() => void>();
  const current = (): T | undefined => informer.get({ namespace: options.namespace, name });
  const stopHandler = informer.onChange((before, after) => {
    if (after === undefined && before !== undefined) canceling.abort(new Canceled(`${type.kind} "${name}" is gone`));
    else if (after?.spec.cancel === true) canceling.abort(new Canceled(`${type.kind} "${name}" is canceled`));
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
    async started(signal) {
      await informer.synced(signal);
      for (;;) {
        signal?.throwIfAborted();
        const object = current();
        const phase = object?.status?.phase;
        if (object === undefined) throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot start the data path: ${type.kind} "${name}" is not there`);
        if (phase === "InProgress") return object;
        if (phase === "Canceling" || phase === "Canceled") canceling.abort(new Canceled(`${type.kind} "${name}" is canceled`));
        canceling.signal.throwIfAborted();
        if (phase === "Completed" || phase === "Failed")
          throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot start the data path: ${type.kind} "${name}" is ${phase} already`);
        await nextChange(signal);
      }
    },
    canceled: canceling.signal,
    stop: () => {
      stopHandler();
      informer.stop();
    },
  };
}
