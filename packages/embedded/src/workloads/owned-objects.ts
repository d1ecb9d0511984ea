/**
 * The objects that controllers make for an owner, as the cache shows them corrected by what this process has just written: a controller that acted on a cache that has
 * not caught up would make a pod twice.
 */
import { type Clock, hasCode } from "@drayage/base";
import { type Informer, isDeleting, type KubeClient, type KubeObject, keyOf, type ResourceType } from "@drayage/kube";

/** The name of the informer index that these caches need: objects by the UID of the owner that controls them. */
export const BY_CONTROLLER = "controller";

export const byController = {
  [BY_CONTROLLER]: (object: KubeObject): readonly string[] =>
    (object.metadata.ownerReferences ?? []).filter(({ controller }) => controller === true).map(({ uid }) => uid),
};

/** A write that never shows in the cache (the object was gone again at once) is forgotten after this. */
const FORGET_MS = 60_000;

export class OwnedObjects<T extends KubeObject> {
  readonly #type: ResourceType<T>;
  readonly #client: Pick<KubeClient, "create" | "delete">;
  readonly #informer: Informer<T>;
  readonly #clock: Clock;
  /** Made, and not yet seen; by UID. */
  readonly #made = new Map<string, { readonly object: T; readonly atMs: number }>();
  /** Asked to go, and not yet seen going; by UID. */
  readonly #going = new Map<string, number>();

  constructor(type: ResourceType<T>, client: Pick<KubeClient, "create" | "delete">, informer: Informer<T>, clock: Clock) {
    this.#type = type;
    this.#client = client;
    this.#informer = informer;
    this.#clock = clock;
    informer.onChange((before, after) => {
      for (const uid of [before?.metadata.uid, after?.metadata.uid]) if (uid !== undefined) this.#made.delete(uid);
      const uid = before?.metadata.uid;
      if (uid !== undefined && (after === undefined || isDeleting(after))) this.#going.delete(uid);
    });
  }

  /** What the owner controls. Objects that were asked to go carry a deletion time, also before the cache knows of it. */
  of(ownerUid: string): readonly T[] {
    const nowMs = this.#clock.nowMs();
    for (const [uid, { atMs }] of this.#made) if (nowMs - atMs > FORGET_MS) this.#made.delete(uid);
    for (const [uid, atMs] of this.#going) if (nowMs - atMs > FORGET_MS) this.#going.delete(uid);
    const cached = this.#informer.byIndex(BY_CONTROLLER, ownerUid);
    const known = new Set(cached.map(({ metadata }) => metadata.uid));
    const made = [...this.#made.values()].map(({ object }) => object).filter((object) => owns(ownerUid, object) && !known.has(object.metadata.uid));
    return [...cached, ...made].map((object) => (this.#going.has(object.metadata.uid ?? "") ? asDeleting(object) : object));
  }

  async create(object: T): Promise<T> {
    const made = await this.#client.create(this.#type, object);
    const { uid } = made.metadata;
    if (uid !== undefined && this.#informer.get(keyOf(made))?.metadata.uid !== uid) this.#made.set(uid, { object: made, atMs: this.#clock.nowMs() });
    return made;
  }

  async delete(object: T, options: { readonly gracePeriodSeconds?: number } = {}): Promise<void> {
    const { uid } = object.metadata;
    if (uid !== undefined) this.#going.set(uid, this.#clock.nowMs());
    try {
      await this.#client.delete(this.#type, keyOf(object), {
        ...options,
        propagationPolicy: "Background",
        ...(uid === undefined ? {} : { preconditions: { uid } }),
      });
    } catch (error) {
      if (uid !== undefined) this.#going.delete(uid);
      // Another object of the name: ours is gone.
      if (!hasCode(error, "KUBE_CONFLICT")) throw error;
    }
  }
}

function owns(ownerUid: string, object: KubeObject): boolean {
  return object.metadata.ownerReferences?.some(({ uid, controller }) => uid === ownerUid && controller === true) === true;
}

function asDeleting<T extends KubeObject>(object: T): T {
  return isDeleting(object) ? object : { ...object, metadata: { ...object.metadata, deletionTimestamp: object.metadata.creationTimestamp ?? "" } };
}
