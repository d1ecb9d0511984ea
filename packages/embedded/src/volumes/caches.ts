import type { Clock, Logger, RandomSource } from "@drayage/base";
import { groupResourceOf, type Informer, type KubeClient, type KubeObject, type ObjectKey, type ResourceType, startInformer } from "@drayage/kube";
import type { ObjectReader } from "./steps.ts";

export interface CachesOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
}

/** One cache for each kind, begun when it is first asked for and shared by all controllers. */
export class Caches implements ObjectReader {
  readonly #options: CachesOptions;
  readonly #informers = new Map<string, Informer<KubeObject>>();

  constructor(options: CachesOptions) {
    this.#options = options;
  }

  of<T extends KubeObject>(type: ResourceType<T>): Informer<T> {
    const name = groupResourceOf(type);
    const informer = this.#informers.get(name) ?? (startInformer(type, this.#options) as unknown as Informer<KubeObject>);
    this.#informers.set(name, informer);
    return informer as unknown as Informer<T>;
  }

  /** A cache that is not filled yet says nothing about what is not in it, so it is waited for. */
  async find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): Promise<T | undefined> {
    const informer = this.of(type);
    await informer.synced();
    return informer.get(key);
  }

  async list<T extends KubeObject>(type: ResourceType<T>, namespace?: string): Promise<readonly T[]> {
    const informer = this.of(type);
    await informer.synced();
    return informer.list(namespace);
  }

  stop(): void {
    for (const informer of this.#informers.values()) informer.stop();
  }
}
