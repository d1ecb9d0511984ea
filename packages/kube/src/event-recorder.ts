import { type Clock, errorFields, formatTime, hasCode, type Logger, type RandomSource, randomHex } from "@drayage/base";
import { type CoreEvent, events } from "./core.ts";
import type { EventRecorder, KubeClient, KubeObject } from "./types.ts";

export interface EventRecorderOptions {
  readonly client: Pick<KubeClient, "create" | "patch">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** Who speaks, as `kubectl describe` shows it in From. */
  readonly component: string;
  /** The node. */
  readonly host?: string;
  /** Equal events within this time are counted on one object; 10 minutes. 0 makes each its own. */
  readonly aggregateMs?: number;
  /** Events that may wait to be written; the oldest is dropped beyond. */
  readonly waitingMax?: number;
}

interface Kept {
  readonly namespace: string;
  readonly name: string;
  count: number;
  lastMs: number;
}

interface Waiting {
  readonly about: KubeObject;
  readonly type: "Normal" | "Warning";
  readonly reason: string;
  readonly message: string;
  readonly atMs: number;
}

/** Distinct events remembered for counting. */
const KEPT_MAX = 4096;
/** The API server refuses longer messages. */
const MESSAGE_CHARACTERS_MAX = 1024;

/** Records core/v1 Events, written one after the other in the order in which they were given. */
export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  return new QueueingRecorder(options);
}

class QueueingRecorder implements EventRecorder {
  readonly #options: EventRecorderOptions;
  readonly #aggregateMs: number;
  readonly #waitingMax: number;
  /** In order of last use, so that the first is the one to forget. */
  readonly #kept = new Map<string, Kept>();
  readonly #waiting: Waiting[] = [];
  #writing: Promise<void> | undefined;

  constructor(options: EventRecorderOptions) {
    this.#options = options;
    this.#aggregateMs = options.aggregateMs ?? 600_000;
    this.#waitingMax = options.waitingMax ?? 1000;
  }

  event(about: KubeObject, type: "Normal" | "Warning", reason: string, message: string): void {
    if (this.#waiting.length >= this.#waitingMax) {
      const dropped = this.#waiting.shift();
      this.#options.logger.warn("An event was dropped: too many wait to be written", { reason: dropped?.reason });
    }
    this.#waiting.push({ about, type, reason, message: message.slice(0, MESSAGE_CHARACTERS_MAX), atMs: this.#options.clock.nowMs() });
    this.#writing ??= this.#drain().finally(() => {
      this.#writing = undefined;
    });
  }

  async flush(timeoutMs: number): Promise<void> {
    const deadlineMs = this.#options.clock.monotonicMs() + timeoutMs;
    while (this.#writing !== undefined) {
      const leftMs = deadlineMs - this.#options.clock.monotonicMs();
      if (leftMs <= 0) return;
      const ending = new AbortController();
      await Promise.race([this.#writing, this.#options.clock.sleep(leftMs, ending.signal).catch(() => undefined)]);
      ending.abort();
    }
  }

  async #drain(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      try {
        await this.#write(next);
      } catch (error) {
        this.#options.logger.warn("An event was not written", { reason: next.reason, ...errorFields(error) });
      }
    }
  }

  async #write(event: Waiting): Promise<void> {
    const key = JSON.stringify([
      event.about.kind,
      event.about.metadata.namespace,
      event.about.metadata.name,
      event.about.metadata.uid,
      event.type,
      event.reason,
      event.message,
    ]);
    const kept = this.#kept.get(key);
    if (kept !== undefined && event.atMs - kept.lastMs < this.#aggregateMs) {
      kept.count++;
      kept.lastMs = event.atMs;
      this.#kept.delete(key);
      this.#kept.set(key, kept);
      try {
        await this.#options.client.patch(events, kept, "merge", { count: kept.count, lastTimestamp: formatTime(event.atMs) });
        return;
      } catch (error) {
        // Events expire after an hour; a new one is begun.
        if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
      }
    }
    const created = await this.#options.client.create(events, this.#build(event));
    if (this.#aggregateMs === 0) return;
    this.#kept.set(key, { namespace: created.metadata.namespace ?? "default", name: created.metadata.name ?? "", count: 1, lastMs: event.atMs });
    const [oldest] = this.#kept.keys();
    if (this.#kept.size > KEPT_MAX && oldest !== undefined) this.#kept.delete(oldest);
  }

  #build({ about, type, reason, message, atMs }: Waiting): CoreEvent {
    const { component, host, random } = this.#options;
    const { namespace, name, uid, resourceVersion } = about.metadata;
    const time = formatTime(atMs);
    return {
      metadata: { namespace: namespace ?? "default", name: `${(name ?? "").slice(0, 230)}.${randomHex(random, 8)}` },
      involvedObject: {
        ...(about.apiVersion === undefined ? {} : { apiVersion: about.apiVersion }),
        ...(about.kind === undefined ? {} : { kind: about.kind }),
        ...(namespace === undefined ? {} : { namespace }),
        ...(name === undefined ? {} : { name }),
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      type,
      reason,
      message,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      source: { component, ...(host === undefined ? {} : { host }) },
      reportingComponent: component,
      reportingInstance: host ?? "",
    };
  }
}
