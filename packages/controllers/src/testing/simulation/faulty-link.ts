/**
 * The way of one process to the API server, with everything that happens on it: requests that are refused, that come late, whose answers are lost; pages whose tokens expire; watches
 * that are cut, stall, come out of order or tell a thing twice. A process that was killed reaches nobody any more, but what it had sent may still arrive.
 *
 * What an API server never does is not done here either: events of one object keep their order, and an event that a watch has left out is told when it is taken up again, or the
 * version is too old (410).
 */
import { type Clock, DrayError } from "@drayage/base";
import { groupResourceOf, type KubeClient, type KubeObject, keyOf, listAll, type ResourceType, type WatchEvent } from "@drayage/kube";
import type { Draw } from "./draw.ts";

/** Shares of the calls that meet with each of these. */
export interface LinkFaults {
  /** Not sent, or refused by a server that is busy. */
  readonly unavailable: number;
  readonly throttled: number;
  /** Done, and the answer lost. */
  readonly answerLost: number;
  /** A write finds that somebody else was first. */
  readonly conflict: number;
  /** A write is refused by admission, this once. */
  readonly refused: number;
  /** Takes up to two seconds; one in ten of those up to a minute. */
  readonly late: number;
  /** The token of a list has expired. */
  readonly expired: number;
  /** A watch is told that its version is too old, ends after a few events, or stalls. */
  readonly watch: number;
  /** What every call ends in. */
  readonly outage?: "KUBE_UNAVAILABLE" | "KUBE_UNAUTHORIZED";
  /** An event comes late, or twice, or after one of another object. */
  readonly event: number;
}

export const NO_FAULTS: LinkFaults = { unavailable: 0, throttled: 0, answerLost: 0, conflict: 0, refused: 0, late: 0, expired: 0, watch: 0, event: 0 };

const WRITES = new Set(["create", "replace", "replaceStatus", "patch", "patchStatus", "apply", "delete", "deleteCollection"]);
/** Lists come in pages of this many, so that there are several. */
const PAGE = 3;
const STALL_MS = 90_000;
const REORDER_MS = 300;

export interface FaultyLinkOptions {
  readonly inner: KubeClient;
  readonly clock: Clock;
  readonly draw: Draw;
  /** Asked before each call. */
  readonly faults: () => LinkFaults;
  /** Creations of these are always refused: `pods`. */
  readonly forbidden?: ReadonlySet<string>;
  /** A webhook that stands in the way of one resource for a while: it says no, or does not answer. Asked before each write. */
  readonly webhook?: () => { readonly resource: string; readonly answers: "no" | "nothing" } | undefined;
  /** The process has gone by itself, after the write that was named with `dieAfter`. */
  readonly onDeath?: () => void;
}

export class FaultyLink {
  readonly client: KubeClient;
  calls = 0;
  writes = 0;
  readonly #options: FaultyLinkOptions;
  readonly #ending = new AbortController();
  readonly #watches = new Set<() => void>();
  #dieAt = Number.POSITIVE_INFINITY;

  constructor(options: FaultyLinkOptions) {
    this.#options = options;
    this.client = new Proxy<KubeClient>(options.inner, {
      get: (target, property) => {
        const value: unknown = Reflect.get(target, property);
        if (typeof value !== "function") return value;
        const method = value.bind(target) as (...given: unknown[]) => unknown;
        switch (property) {
          case "listAll":
            return (type: ResourceType<KubeObject>, given = {}) => listAll(this.client, type, given);
          case "list":
            return (type: ResourceType<KubeObject>, given: Page = {}) => this.#list(type, given);
          case "watch":
            return (type: ResourceType<KubeObject>, given: Watched) => this.#watch(type, given);
          case "podLog":
          case "close":
            return method;
          case "podExec":
          case "request":
            return (...given: unknown[]) => this.#call({ verb: property, what: "", signal: undefined, run: () => method(...given) });
          default:
            return (type: ResourceType, ...given: unknown[]) =>
              this.#call({ verb: String(property), what: groupResourceOf(type), signal: signalIn(given), run: () => method(type, ...given) });
        }
      },
    });
  }

  get isDead(): boolean {
    return this.#ending.signal.aborted;
  }

  /** Ends the process with the answer to its n-th write from now on; with 0 it is not ended. */
  dieAfter(writes: number): void {
    this.#dieAt = writes === 0 ? Number.POSITIVE_INFINITY : this.writes + writes;
  }

  cutWatches(): void {
    for (const end of [...this.#watches]) end();
  }

  kill(): void {
    this.#ending.abort(unreachable("the process is gone", true));
  }

  async #call({ verb, what, signal, run }: Call): Promise<unknown> {
    const { draw, clock, forbidden } = this.#options;
    signal?.throwIfAborted();
    this.#alive(false);
    this.calls++;
    const faults = this.#options.faults();
    refuseIn(faults, `cannot ${verb} ${what}`);
    const isWrite = WRITES.has(verb);
    if (verb === "create" && forbidden?.has(what) === true)
      throw new DrayError("KUBE_FORBIDDEN", `Cannot create ${what}: admission webhook denied the request`);
    const webhook = isWrite ? this.#options.webhook?.() : undefined;
    if (webhook?.resource === what)
      throw webhook.answers === "no"
        ? new DrayError("KUBE_FORBIDDEN", `Cannot ${verb} ${what}: admission webhook denied the request`)
        : unreachable(`failed calling webhook for ${what}`, true);
    if (draw.chance(faults.unavailable)) throw unreachable(`cannot ${verb} ${what}`, false);
    if (draw.chance(faults.throttled)) throw new DrayError("KUBE_THROTTLED", `Cannot ${verb} ${what}: too many requests`, { context: { retryAfterMs: 1_000 } });
    if (isWrite && !/^(create|delete)/.test(verb) && draw.chance(faults.conflict))
      throw new DrayError("KUBE_CONFLICT", `Cannot ${verb} ${what}: somebody was first`);
    if (isWrite && draw.chance(faults.refused)) throw new DrayError("KUBE_FORBIDDEN", `Cannot ${verb} ${what}: admission webhook denied the request this once`);
    const lateMs = draw.chance(faults.late) ? draw.below(draw.chance(0.1) ? 60_000 : 2_000) : 0;
    const isLost = draw.chance(faults.answerLost);
    const work = (async () => {
      if (lateMs > 0) await clock.sleep(lateMs);
      const answer = await run();
      if (isWrite && ++this.writes >= this.#dieAt && !this.isDead) {
        this.kill();
        this.#options.onDeath?.();
      }
      return answer;
    })();
    const answer = await untilAborted(work, [this.#ending.signal, ...(signal === undefined ? [] : [signal])]);
    if (isLost) throw unreachable(`the answer to ${verb} ${what} was lost`, true);
    return answer;
  }

  async #list(type: ResourceType<KubeObject>, given: Page): Promise<unknown> {
    const { draw, inner } = this.#options;
    if (given.continue !== undefined && draw.chance(this.#options.faults().expired)) throw expired(type);
    const limit = given.limit === undefined ? {} : { limit: Math.min(given.limit, PAGE) };
    return this.#call({ verb: "list", what: groupResourceOf(type), signal: given.signal, run: () => inner.list(type, { ...given, ...limit }) });
  }

  async *#watch(type: ResourceType<KubeObject>, given: Watched): AsyncGenerator<WatchEvent<KubeObject>, void, undefined> {
    const { draw, clock, inner } = this.#options;
    this.#alive(false);
    this.calls++;
    const faults = this.#options.faults();
    refuseIn(faults, `cannot watch ${type.plural}`);
    if (draw.chance(faults.unavailable)) throw unreachable(`cannot watch ${type.plural}`, false);
    if (draw.chance(faults.watch)) throw expired(type);
    const cut = new AbortController();
    const signal = AbortSignal.any([cut.signal, this.#ending.signal, ...(given.signal === undefined ? [] : [given.signal])]);
    const end = (): void => cut.abort(unreachable(`the watch of ${type.plural} was cut`, true));
    this.#watches.add(end);
    const cancelTimers = [clock.after((given.timeoutSeconds ?? 300) * 1_000, end)];
    const eventsMax = draw.chance(faults.watch) ? draw.below(8) : Number.POSITIVE_INFINITY;
    const stallsAt = draw.chance(faults.watch) ? draw.below(8) : Number.POSITIVE_INFINITY;
    const events = inner.watch(type, { ...given, signal })[Symbol.asyncIterator]();
    try {
      let held: WatchEvent<KubeObject> | undefined;
      let pending: Promise<IteratorResult<WatchEvent<KubeObject>, void>> | undefined;
      for (let count = 0; count < eventsMax; count++) {
        pending ??= events.next();
        // One that is held back for another to overtake it does not wait for long.
        const next = held === undefined ? await pending : await Promise.race([pending, clock.sleep(REORDER_MS).then(() => undefined)]);
        if (next === undefined) {
          if (held !== undefined) yield held;
          held = undefined;
          continue;
        }
        pending = undefined;
        if (next.done === true) return;
        if (count >= stallsAt) {
          // Nothing comes through any more, until the connection is found to be dead.
          cancelTimers.push(clock.after(draw.below(STALL_MS), end));
          await untilAborted(new Promise<never>(() => undefined), [signal]);
        }
        const event = next.value;
        const { event: share } = this.#options.faults();
        if (draw.chance(share)) await untilAborted(clock.sleep(draw.below(3_000)), [signal]);
        if (held === undefined && draw.chance(share)) {
          held = event;
          continue;
        }
        if (held !== undefined) {
          const inOrder = sameObject(held, event) ? [held, event] : [event, held];
          held = undefined;
          yield* inOrder;
          continue;
        }
        yield event;
        if (draw.chance(share)) yield structuredClone(event);
      }
      throw unreachable(`the watch of ${type.plural} was cut`, true);
    } finally {
      for (const cancel of cancelTimers) cancel();
      this.#watches.delete(end);
      end();
    }
  }

  #alive(sent: boolean): void {
    if (this.isDead) throw unreachable("the process is gone", sent);
  }
}

interface Call {
  readonly verb: string;
  readonly what: string;
  readonly signal: AbortSignal | undefined;
  readonly run: () => unknown;
}

type Page = { readonly limit?: number; readonly continue?: string; readonly signal?: AbortSignal | undefined };
type Watched = { readonly resourceVersion?: string; readonly timeoutSeconds?: number; readonly signal?: AbortSignal | undefined };

function refuseIn({ outage }: LinkFaults, why: string): void {
  if (outage !== undefined) throw new DrayError(outage, `Cannot reach the API server: ${why}`, { context: { sent: false } });
}

function unreachable(why: string, sent: boolean): DrayError {
  return new DrayError("KUBE_UNAVAILABLE", `Cannot reach the API server: ${why}`, { context: { sent } });
}

function expired(type: ResourceType<KubeObject>): DrayError {
  return new DrayError("KUBE_GONE", `Cannot go on with ${groupResourceOf(type)}: the version is too old`, { context: { status: 410, reason: "Expired" } });
}

function sameObject(a: WatchEvent<KubeObject>, b: WatchEvent<KubeObject>): boolean {
  if (a.type === "BOOKMARK" || b.type === "BOOKMARK") return true;
  return keyOf(a.object).name === keyOf(b.object).name && keyOf(a.object).namespace === keyOf(b.object).namespace;
}

/** Of the options that a call was given, or the signal itself, as `get` and `find` take it. */
function signalIn(given: readonly unknown[]): AbortSignal | undefined {
  for (const value of given) {
    if (value instanceof AbortSignal) return value;
    const { signal } = (value ?? {}) as { readonly signal?: unknown };
    if (signal instanceof AbortSignal) return signal;
  }
  return undefined;
}

/** What the work gives, unless a signal is aborted before that; the work goes on. */
async function untilAborted<T>(work: Promise<T>, signals: readonly AbortSignal[]): Promise<T> {
  work.catch(() => undefined);
  const aborted = Promise.withResolvers<never>();
  const listening = signals.map((signal) => {
    const onAbort = (): void => aborted.reject(signal.reason);
    if (signal.aborted) onAbort();
    else signal.addEventListener("abort", onAbort, { once: true });
    return () => signal.removeEventListener("abort", onAbort);
  });
  try {
    return await Promise.race([work, aborted.promise]);
  } finally {
    for (const stop of listening) stop();
  }
}
