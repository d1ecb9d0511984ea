/**
 * What the steps of a movement have seen of the cluster. What is next is found by looking from the end backwards, so without a memory each step asks once more for everything that the steps
 * before it have just read, made or taken away themselves.
 *
 * - A chain of steps goes by what it has seen and by the answers to its own writes. It ends where it has to wait for others, where a write fails, and after a few seconds: then everybody is
 *   asked again. A wait is therefore never answered from memory. One that looks at what it awaits by itself (`keepsRest`) ends no chain.
 * - What is made for a movement is named like it, in the installation's namespace or in none, and only the agent that has the movement makes it. That it is not there is remembered for longer,
 *   over waits, until this agent makes it; and of a movement that this agent has claimed when it was new, nothing is there yet.
 * - What stays as it is for as long as the movement lasts is remembered that long: a Secret that was made here, and what was taken away here and is never made again.
 * - Pods of movers, and VolumeSnapshots made for them, are known from the caches of them; one that is missing there is asked for.
 *
 * Nothing depends on the memory being right: deletions name a UID, replacements a version, and what somebody else has made meanwhile refuses to be made again. It is then looked at anew, as
 * after any lost race. What another agent has done to a movement meanwhile counts as another epoch, of which nothing is remembered.
 */
import { type VolumeSnapshot, volumeSnapshots } from "@drayage/api";
import { type Clock, formatTime, hasCode } from "@drayage/base";
import {
  type DeleteOptions,
  formatKey,
  groupResourceOf,
  type Informer,
  type KubeClient,
  type KubeObject,
  keyOf,
  type ObjectKey,
  type PatchType,
  type Pod,
  pods,
  type ResourceType,
  secrets,
  type WriteOptions,
} from "@drayage/kube";
import { epochOf } from "../data-movement/movement.ts";
import type { Work } from "../data-movement/work.ts";

const CHAIN_MS = 5_000;
const ABSENT_MS = 10_000;
/** Many more movements than a node has at once. */
const MOVEMENTS_MAX = 1_000;

export interface SightingsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  /** Of the installation. */
  readonly namespace: string;
  /** The mover pods of the installation. */
  readonly moverPods: Pick<Informer<Pod>, "get">;
  /** Its VolumeSnapshots, where they are watched. */
  readonly snapshots?: Pick<Informer<VolumeSnapshot>, "get"> | undefined;
}

interface Sighting {
  /** Undefined: it is not there. */
  readonly object: KubeObject | undefined;
  /** Until when it is gone by, by the monotonic clock. */
  readonly untilMs: number;
  /** Whether it outlasts a wait. */
  readonly lasting: boolean;
}

interface Seen {
  readonly byName: Map<string, Sighting>;
  /** Until when nothing is there but what this agent has made, or has tried to. */
  emptyUntilMs: number;
  begun: boolean;
  readonly made: Set<string>;
}

export class Sightings {
  readonly #options: SightingsOptions;
  readonly #movements = new Map<string, Seen>();

  constructor(options: SightingsOptions) {
    this.#options = options;
  }

  /** Takes a look by way of a client that remembers; the step that it ends in goes on with that client. What is awaited is said by its reason. */
  async look<R extends Work | string | undefined>(movement: KubeObject, take: (client: KubeClient) => Promise<R>): Promise<R> {
    const seen = this.#of(movement);
    let goesOn = false;
    try {
      const next = await take(new SeeingClient(this.#options, movement, seen).asClient());
      goesOn = next === undefined || (typeof next !== "string" && (next.state === "act" || (next.state === "wait" && next.keepsRest === true)));
      return next;
    } finally {
      if (!goesOn) for (const [name, { lasting }] of seen.byName) if (!lasting) seen.byName.delete(name);
    }
  }

  /** A client that remembers, for a look that belongs to no step. */
  client(movement: KubeObject): KubeClient {
    return new SeeingClient(this.#options, movement, this.#of(movement)).asClient();
  }

  /** This agent has claimed a movement that was new. */
  begun(movement: KubeObject): void {
    const seen = this.#of(movement);
    seen.begun = true;
    seen.emptyUntilMs = this.#options.clock.monotonicMs() + ABSENT_MS;
  }

  /** Whether everything that was made for a movement was made by this process. */
  knowsAll(movement: KubeObject): boolean {
    return this.#movements.get(nameOfMovement(movement))?.begun === true;
  }

  /** Nothing more is done for it. */
  ended(movement: KubeObject): void {
    this.#movements.delete(nameOfMovement(movement));
  }

  #of(movement: KubeObject): Seen {
    const name = nameOfMovement(movement);
    const seen = this.#movements.get(name) ?? { byName: new Map<string, Sighting>(), emptyUntilMs: 0, begun: false, made: new Set<string>() };
    this.#movements.delete(name);
    this.#movements.set(name, seen);
    const [oldest] = this.#movements.keys();
    if (this.#movements.size > MOVEMENTS_MAX && oldest !== undefined) this.#movements.delete(oldest);
    return seen;
  }
}

/** Whether all that is known of an object is that this agent has asked for its deletion a moment ago: an API server's own answer says how long it has. */
export function isJustAskedToGo({ metadata }: KubeObject): boolean {
  return metadata.deletionTimestamp !== undefined && metadata.deletionGracePeriodSeconds === undefined;
}

function nameOfMovement(movement: KubeObject): string {
  return `${movement.metadata.uid ?? ""}/${epochOf(movement)}`;
}

class SeeingClient implements Pick<KubeClient, "get" | "find" | "create" | "replace" | "patch" | "patchStatus" | "delete"> {
  readonly #options: SightingsOptions;
  readonly #movement: KubeObject;
  readonly #seen: Seen;

  constructor(options: SightingsOptions, movement: KubeObject, seen: Seen) {
    this.#options = options;
    this.#movement = movement;
    this.#seen = seen;
  }

  asClient(): KubeClient {
    return new Proxy(this.#options.client, {
      get: (target, property) => {
        const from = property in this ? this : target;
        const value: unknown = Reflect.get(from, property);
        return typeof value === "function" ? value.bind(from) : value;
      },
    });
  }

  /** Asks, whatever is remembered. */
  async get<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T> {
    this.#seen.byName.delete(nameOf(type, key));
    try {
      const found = await this.#options.client.get(type, key, signal);
      this.#note(type, key, found);
      return found;
    } catch (error) {
      if (hasCode(error, "KUBE_NOT_FOUND")) this.#note(type, key, undefined);
      throw error;
    }
  }

  async find<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, signal?: AbortSignal): Promise<T | undefined> {
    const { client, clock } = this.#options;
    const nowMs = clock.monotonicMs();
    const sighting = this.#seen.byName.get(nameOf(type, key));
    if (sighting !== undefined && nowMs < sighting.untilMs) return sighting.object as T | undefined;
    const cached = this.#cached(type, key);
    if (cached !== undefined) return cached;
    if (this.#isOwn(key) && nowMs < this.#seen.emptyUntilMs && !this.#seen.made.has(nameOf(type, key))) return undefined;
    const found = await client.find(type, key, signal);
    this.#note(type, key, found);
    return found;
  }

  async create<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T> {
    this.#seen.made.add(nameOf(type, keyOf(object)));
    const made = await this.#written(type, keyOf(object), () => this.#options.client.create(type, object, options));
    // Nobody but this agent writes to it, and that leaves its name and UID.
    this.#note(type, keyOf(made), made, groupResourceOf(type) === groupResourceOf(secrets));
    return made;
  }

  async replace<T extends KubeObject>(type: ResourceType<T>, object: T, options?: WriteOptions): Promise<T> {
    const made = await this.#written(type, keyOf(object), () => this.#options.client.replace(type, object, options));
    this.#note(type, keyOf(made), made);
    return made;
  }

  async patch<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options?: WriteOptions): Promise<T> {
    const made = await this.#written(type, key, () => this.#options.client.patch(type, key, patchType, patch, options));
    this.#note(type, key, made);
    return made;
  }

  async patchStatus<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, patchType: PatchType, patch: unknown, options?: WriteOptions): Promise<T> {
    const made = await this.#written(type, key, () => this.#options.client.patchStatus(type, key, patchType, patch, options));
    this.#note(type, key, made);
    return made;
  }

  async delete<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, options?: DeleteOptions): Promise<boolean> {
    const { client, clock } = this.#options;
    const before = this.#seen.byName.get(nameOf(type, key))?.object ?? this.#cached(type, key);
    const wasThere = await this.#written(type, key, () => client.delete(type, key, options));
    // What nothing holds goes at once; a pod may be given time. Of what is held, no more is known than that it has to go.
    const isGone = !wasThere || (before !== undefined && !isPod(type) && (before.metadata.finalizers ?? []).length === 0);
    if (isGone) this.#note(type, key, undefined, true);
    else if (before !== undefined && options?.gracePeriodSeconds === undefined) this.#note(type, key, askedToGo(before as T, clock.nowMs()));
    return wasThere;
  }

  async #written<R>(type: Parameters<typeof groupResourceOf>[0], key: ObjectKey, write: () => Promise<R>): Promise<R> {
    try {
      return await write();
    } catch (error) {
      // The world is not what it looked like, or it is not known what was done to it.
      this.#seen.byName.clear();
      this.#seen.emptyUntilMs = 0;
      throw error;
    } finally {
      this.#seen.byName.delete(nameOf(type, key));
    }
  }

  #cached<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey): T | undefined {
    const { moverPods, snapshots } = this.#options;
    const found: KubeObject | undefined = isPod(type)
      ? moverPods.get(key)
      : groupResourceOf(type) === groupResourceOf(volumeSnapshots)
        ? snapshots?.get(key)
        : undefined;
    return found as T | undefined;
  }

  #isOwn({ namespace, name }: ObjectKey): boolean {
    return name === this.#movement.metadata.name && (namespace === undefined || namespace === this.#options.namespace);
  }

  #note<T extends KubeObject>(type: ResourceType<T>, key: ObjectKey, object: T | undefined, forLife = false): void {
    const isOwnAbsence = object === undefined && this.#isOwn(key);
    const forMs = forLife ? Number.POSITIVE_INFINITY : isOwnAbsence ? ABSENT_MS : CHAIN_MS;
    this.#seen.byName.set(nameOf(type, key), { object, untilMs: this.#options.clock.monotonicMs() + forMs, lasting: forLife || isOwnAbsence });
  }
}

function nameOf(type: Parameters<typeof groupResourceOf>[0], key: ObjectKey): string {
  return `${groupResourceOf(type)} ${formatKey(key)}`;
}

function isPod(type: Parameters<typeof groupResourceOf>[0]): boolean {
  return groupResourceOf(type) === groupResourceOf(pods);
}

function askedToGo<T extends KubeObject>(object: T, nowMs: number): T {
  const { deletionGracePeriodSeconds: _, ...metadata } = object.metadata;
  return { ...object, metadata: { ...metadata, deletionTimestamp: metadata.deletionTimestamp ?? formatTime(nowMs) } };
}
