/**
 * Every object of the cluster, in memory and in the change log, under one global revision that only grows.
 *
 * Invariants: a change is in the log before anyone sees it; the revision of a change is the resourceVersion of its object; objects are never modified in place;
 * history holds the last changes without a gap, so that a watch can start at any revision of it and a list can be answered as of one.
 */
import { join } from "node:path";
import { errorFields, type Logger } from "@drayage/base";
import { ChangeLog, type LogEntry } from "./change-log.ts";
import type { ApiObject } from "./json.ts";

export interface Change {
  readonly revision: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  /** `pods`, `apps/deployments`: where the object is stored. */
  readonly resource: string;
  readonly object: ApiObject;
  readonly previous: ApiObject | undefined;
  /** How much room it takes, roughly: the length of its line in the log. */
  readonly sizeBytes: number;
}

export interface StorageOptions {
  readonly directory: string;
  readonly logger: Logger;
  /** Changes kept for watches and continued lists, as many as fit in `historyMaxBytes`. */
  readonly historyMax?: number;
  readonly historyMaxBytes?: number;
  /** The log is written anew when it is larger than this and mostly history. */
  readonly rewriteAboveBytes?: number;
}

interface Collection {
  readonly objects: Map<string, ApiObject>;
  /** Keys in order; undefined after an insertion or removal. */
  order: string[] | undefined;
}

const HISTORY_MAX = 20_000;
const HISTORY_MAX_BYTES = 48 << 20;
const REWRITE_ABOVE_BYTES = 64 << 20;

export class Storage {
  readonly #log: ChangeLog;
  readonly #collections = new Map<string, Collection>();
  readonly #historyMax: number;
  readonly #historyMaxBytes: number;
  readonly #rewriteAboveBytes: number;
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #logger: Logger;
  readonly #outbox: Change[] = [];
  #delivering = false;
  #history: Change[] = [];
  #historyBytes = 0;
  /** Changes up to and including this revision are no longer in history. */
  #compacted = 0;
  #revision = 0;
  /** Size of the log right after it was last written anew. */
  #baseBytes: number;
  #closed = false;

  constructor(options: StorageOptions) {
    this.#logger = options.logger;
    this.#historyMax = options.historyMax ?? HISTORY_MAX;
    this.#historyMaxBytes = options.historyMaxBytes ?? HISTORY_MAX_BYTES;
    this.#rewriteAboveBytes = options.rewriteAboveBytes ?? REWRITE_ABOVE_BYTES;
    const opened = ChangeLog.open(join(options.directory, "state.jsonl"), options.logger, (entry, sizeBytes) => this.#replay(entry, sizeBytes));
    this.#log = opened.log;
    // Entries up to the header's revision are a state, not a history.
    this.compact(opened.revision);
    this.#revision = Math.max(this.#revision, opened.revision);
    this.#baseBytes = this.#log.sizeBytes;
  }

  /** The revision of the latest change. */
  get revision(): number {
    return this.#revision;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The oldest revision a watch can still start from. */
  get oldestRevision(): number {
    return this.#compacted;
  }

  get(resource: string, key: string): ApiObject | undefined {
    return this.#collections.get(resource)?.objects.get(key);
  }

  /** The objects of a resource in the order of their keys, of one namespace or of all. */
  list(resource: string, namespace?: string): readonly ApiObject[] {
    const collection = this.#collections.get(resource);
    if (collection === undefined) return [];
    collection.order ??= [...collection.objects.keys()].sort();
    const prefix = namespace === undefined ? "" : `${namespace}/`;
    const found: ApiObject[] = [];
    for (const key of collection.order) {
      const object = key.startsWith(prefix) ? collection.objects.get(key) : undefined;
      if (object !== undefined) found.push(object);
    }
    return found;
  }

  /** The same as of an earlier revision, or undefined when history does not reach back that far. */
  listAt(resource: string, revision: number, namespace?: string): readonly ApiObject[] | undefined {
    if (revision >= this.#revision) return this.list(resource, namespace);
    if (revision < this.#compacted) return undefined;
    const objects = new Map(this.list(resource, namespace).map((object) => [keyOf(object), object]));
    for (const change of this.#history.toReversed()) {
      if (change.revision <= revision) break;
      if (change.resource !== resource || (namespace !== undefined && change.object.metadata.namespace !== namespace)) continue;
      if (change.previous === undefined) objects.delete(keyOf(change.object));
      else objects.set(keyOf(change.object), change.previous);
    }
    return [...objects].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
  }

  /** The resources that hold objects. */
  resources(): string[] {
    return [...this.#collections].filter(([, collection]) => collection.objects.size > 0).map(([resource]) => resource);
  }

  /** Writes an object under the next revision and returns it as stored. The caller has checked what it replaces. */
  put(resource: string, object: ApiObject): ApiObject {
    const revision = this.#revision + 1;
    const stored: ApiObject = { ...object, metadata: { ...object.metadata, resourceVersion: String(revision) } };
    const sizeBytes = this.#log.append({ v: revision, r: resource, o: stored });
    const previous = this.#set(resource, stored);
    this.#publish({ revision, type: previous === undefined ? "ADDED" : "MODIFIED", resource, object: stored, previous, sizeBytes });
    return stored;
  }

  /** Removes an object and returns its last form, which carries the revision of the removal; undefined when there was none. */
  remove(resource: string, key: string): ApiObject | undefined {
    const previous = this.get(resource, key);
    if (previous === undefined) return undefined;
    const revision = this.#revision + 1;
    const sizeBytes = this.#log.append({ v: revision, r: resource, k: key });
    this.#unset(resource, key);
    const last: ApiObject = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(revision) } };
    this.#publish({ revision, type: "DELETED", resource, object: last, previous, sizeBytes });
    return last;
  }

  /** The changes after a revision, or undefined when history does not reach back that far. */
  changesSince(revision: number): readonly Change[] | undefined {
    if (revision < this.#compacted) return undefined;
    let low = 0;
    let high = this.#history.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#history[middle]?.revision ?? 0) <= revision) low = middle + 1;
      else high = middle;
    }
    return this.#history.slice(low);
  }

  /** Calls `listener` for every change from now on, in order, in the same turn in which it is made. Returns the function that ends it. */
  subscribe(listener: (change: Change) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Forgets history up to and including a revision, as a compaction of etcd does. */
  compact(revision = this.#revision): void {
    this.#compacted = Math.max(this.#compacted, revision);
    this.#history = this.#history.filter((change) => change.revision > this.#compacted);
    this.#historyBytes = this.#history.reduce((sum, change) => sum + change.sizeBytes, 0);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#listeners.clear();
    this.#log.close();
  }

  #replay(entry: LogEntry, sizeBytes: number): void {
    this.#revision = Math.max(this.#revision, entry.v);
    if (entry.o !== undefined) {
      const previous = this.#set(entry.r, entry.o);
      this.#remember({ revision: entry.v, type: previous === undefined ? "ADDED" : "MODIFIED", resource: entry.r, object: entry.o, previous, sizeBytes });
      return;
    }
    const previous = this.get(entry.r, entry.k);
    if (previous === undefined) return;
    this.#unset(entry.r, entry.k);
    const last: ApiObject = { ...previous, metadata: { ...previous.metadata, resourceVersion: String(entry.v) } };
    this.#remember({ revision: entry.v, type: "DELETED", resource: entry.r, object: last, previous, sizeBytes });
  }

  #set(resource: string, object: ApiObject): ApiObject | undefined {
    let collection = this.#collections.get(resource);
    if (collection === undefined) {
      collection = { objects: new Map(), order: undefined };
      this.#collections.set(resource, collection);
    }
    const key = keyOf(object);
    const previous = collection.objects.get(key);
    collection.objects.set(key, object);
    if (previous === undefined) collection.order = undefined;
    return previous;
  }

  #unset(resource: string, key: string): void {
    const collection = this.#collections.get(resource);
    if (collection === undefined) return;
    collection.objects.delete(key);
    collection.order = undefined;
  }

  #remember(change: Change): void {
    this.#history.push(change);
    this.#historyBytes += change.sizeBytes;
    // Trimmed in large steps, so that the cost of moving the rest is spread over many changes.
    if (this.#history.length <= this.#historyMax * 1.25 && this.#historyBytes <= this.#historyMaxBytes * 1.25) return;
    let drop = 0;
    for (let bytes = this.#historyBytes; this.#history.length - drop > this.#historyMax || bytes > this.#historyMaxBytes; drop++)
      bytes -= this.#history[drop]?.sizeBytes ?? 0;
    this.compact(this.#history[drop - 1]?.revision ?? 0);
  }

  #publish(change: Change): void {
    this.#revision = change.revision;
    this.#remember(change);
    this.#outbox.push(change);
    // A listener that writes must not overtake: its change is delivered when everyone has seen the one before.
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#outbox.shift(); next !== undefined; next = this.#outbox.shift())
        for (const listener of [...this.#listeners]) this.#deliver(next, listener);
    } finally {
      this.#delivering = false;
    }
    if (this.#log.sizeBytes > this.#rewriteAboveBytes && this.#log.sizeBytes > 4 * this.#baseBytes) this.#rewrite();
  }

  /** What a listener does wrong is its own affair: the change has been made, and the others are still to hear of it. */
  #deliver(change: Change, listener: (change: Change) => void): void {
    try {
      listener(change);
    } catch (error) {
      this.#logger.error("a listener to changes has failed", { resource: change.resource, key: keyOf(change.object), ...errorFields(error) });
    }
  }

  #rewrite(): void {
    const entries = function* (collections: ReadonlyMap<string, Collection>): Generator<LogEntry> {
      for (const [resource, { objects }] of collections)
        for (const object of objects.values()) yield { v: Number(object.metadata.resourceVersion), r: resource, o: object };
    };
    this.#log.rewrite(this.#revision, entries(this.#collections));
    this.#baseBytes = this.#log.sizeBytes;
  }
}

/** `namespace/name`, or `name` for what lives in no namespace. */
export function keyOf(object: ApiObject): string {
  const { namespace, name = "" } = object.metadata;
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}
