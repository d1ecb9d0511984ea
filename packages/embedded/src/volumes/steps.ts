/**
 * What controllers of this folder decide, as data, and the one place where it is done.
 *
 * A decision is a list of steps in an order in which a kill between any two of them is harmless: the next pass sees how far it came and goes on. Objects in steps
 * carry the resourceVersion they were read with, so a write on old knowledge fails as a conflict, and the pass begins again.
 */
import { hasCode } from "@drayage/base";
import { type EventRecorder, formatKey, groupResourceOf, type KubeClient, type KubeObject, keyOf, type ObjectKey, type ResourceType } from "@drayage/kube";

export type KubeStep =
  | { readonly do: "create" | "replace" | "replaceStatus"; readonly type: ResourceType<KubeObject>; readonly object: KubeObject }
  | { readonly do: "delete"; readonly type: ResourceType<KubeObject>; readonly object: KubeObject }
  | { readonly do: "event"; readonly about: KubeObject; readonly severity: "Normal" | "Warning"; readonly reason: string; readonly message: string };

export interface Decision<Other = never> {
  readonly steps: readonly (KubeStep | Other)[];
  /** Look again after this long, whatever happens. */
  readonly recheckAfterMs?: number;
  /** A step cannot be taken back, so the decision counts only when it is the same on freshly read objects. */
  readonly irreversible?: true;
}

export const nothing: Decision = { steps: [] };

export function create<T extends KubeObject>(type: ResourceType<T>, object: T): KubeStep {
  return { do: "create", type: erased(type), object };
}

export function replace<T extends KubeObject>(type: ResourceType<T>, object: T): KubeStep {
  return { do: "replace", type: erased(type), object };
}

export function replaceStatus<T extends KubeObject>(type: ResourceType<T>, object: T): KubeStep {
  return { do: "replaceStatus", type: erased(type), object };
}

export function remove<T extends KubeObject>(type: ResourceType<T>, object: T): KubeStep {
  return { do: "delete", type: erased(type), object };
}

export function event(about: KubeObject, severity: "Normal" | "Warning", reason: string, message: string): KubeStep {
  return { do: "event", about, severity, reason, message };
}

function erased<T extends KubeObject>(type: ResourceType<T>): ResourceType<KubeObject> {
  return type as unknown as ResourceType<KubeObject>;
}

/** Reads objects: from caches in a normal pass, from the API server before something that cannot be taken back. Objects are shared and never changed. */
export interface ObjectReader {
  find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): Promise<T | undefined>;
  list<T extends KubeObject>(type: ResourceType<T>, namespace?: string): Promise<readonly T[]>;
}

export function liveReader(client: KubeClient, signal?: AbortSignal): ObjectReader {
  return {
    find: (type, key) => client.find(type, key, signal),
    list: async <T extends KubeObject>(type: ResourceType<T>, namespace?: string) => {
      const found: T[] = [];
      for await (const object of client.listAll(type, { namespace, signal })) found.push(object);
      return found;
    },
  };
}

/** Takes Kubernetes steps. Made anew for each pass: it knows the versions that its own writes gave. */
export class StepRunner {
  readonly #client: KubeClient;
  readonly #recorder: EventRecorder;
  readonly #signal: AbortSignal;
  readonly #versions = new Map<string, string>();

  constructor(client: KubeClient, recorder: EventRecorder, signal: AbortSignal) {
    this.#client = client;
    this.#recorder = recorder;
    this.#signal = signal;
  }

  /**
   * Takes one step and returns the object as it is afterwards. What exists already when it is to be created, and what is gone when it is to be deleted, is as wanted.
   * Throws KUBE_CONFLICT when the world moved on; KUBE_NOT_FOUND when a written object is gone.
   */
  async run(step: KubeStep): Promise<KubeObject | undefined> {
    const options = { signal: this.#signal };
    switch (step.do) {
      case "event":
        this.#recorder.event(step.about, step.severity, step.reason, step.message);
        return undefined;
      case "create":
        try {
          return this.#remember(step.type, await this.#client.create(step.type, step.object, options));
        } catch (error) {
          if (!hasCode(error, "KUBE_ALREADY_EXISTS")) throw error;
          return undefined;
        }
      case "replace":
        return this.#remember(step.type, await this.#client.replace(step.type, this.#current(step), options));
      case "replaceStatus":
        return this.#remember(step.type, await this.#client.replaceStatus(step.type, this.#current(step), options));
      case "delete": {
        const { uid } = step.object.metadata;
        await this.#client.delete(step.type, keyOf(step.object), { ...options, ...(uid === undefined ? {} : { preconditions: { uid } }) });
        return undefined;
      }
    }
  }

  /** The object with the version that an earlier step of this pass gave it. */
  #current({ type, object }: { readonly type: ResourceType<KubeObject>; readonly object: KubeObject }): KubeObject {
    const resourceVersion = this.#versions.get(nameOf(type, object));
    return resourceVersion === undefined ? object : { ...object, metadata: { ...object.metadata, resourceVersion } };
  }

  #remember(type: ResourceType<KubeObject>, object: KubeObject): KubeObject {
    const { resourceVersion } = object.metadata;
    if (resourceVersion !== undefined) this.#versions.set(nameOf(type, object), resourceVersion);
    return object;
  }
}

function nameOf(type: ResourceType<KubeObject>, object: KubeObject): string {
  return `${groupResourceOf(type)} ${formatKey(keyOf(object))}`;
}
