/** Tells the node-agent how the data path goes, by Events about its object (see `data-path.ts` of the api). */
import { DATA_PATH_EVENTS, type DataPathProgress, proveResult, type ToldResult, type TransferDetails } from "@drayage/api";
import { type Clock, errorFields, formatTime, hasCode, type Logger, type RandomSource, randomHex } from "@drayage/base";
import { type CoreEvent, events, type KubeClient, type KubeObject } from "@drayage/kube";

export interface DataPathReporterOptions {
  readonly client: Pick<KubeClient, "create" | "patch">;
  readonly clock: Clock;
  readonly random: RandomSource;
  readonly logger: Logger;
  /** The custom resource, with apiVersion and kind. */
  readonly about: KubeObject;
  readonly nodeName: string;
  /** Of the pod that this runs in. */
  readonly podUid?: string | undefined;
}

/** What is told while bytes move. */
export interface TransferProgress {
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** Only our own data path has any. */
  readonly details?: TransferDetails;
}

/** Progress is told this often. */
const EVERY_MS = 1_000;
/** Of an Event. */
const MESSAGE_LENGTH_MAX = 1024;
const ATTEMPTS_MAX = 5;
const RETRY_MS = 500;

interface Message {
  readonly reason: string;
  readonly type: "Normal" | "Warning";
  message: string;
}

/**
 * Writes Events one after the other. Progress is one Event whose message is changed, at most once a second and always the latest; other Events are kept until they are written,
 * or have failed a few times: telling is not worth failing for.
 */
export class DataPathReporter {
  readonly #options: DataPathReporterOptions;
  readonly #waiting: Message[] = [];
  #latest: string | undefined;
  #told: { readonly name: string; count: number; message: string } | undefined;
  #progressDueMs = 0;
  /** The progress that comes last, with the result. */
  #end: string | undefined;
  #writing: Promise<void> | undefined;
  #stopTimer: (() => void) | undefined;

  constructor(options: DataPathReporterOptions) {
    this.#options = options;
  }

  /** Says of its pod that it runs, which a kubelet says up to a second later: the first of the progress, with nothing in it. */
  up(): void {
    this.#latest = JSON.stringify({});
    this.#pump();
  }

  started(): void {
    this.#tell({ reason: DATA_PATH_EVENTS.started, type: "Normal", message: `Data path for ${this.#name} started` });
  }

  progress(progress: TransferProgress): void {
    const { totalBytes, doneBytes, details } = progress;
    this.#latest = JSON.stringify({ ...withoutZeros({ totalBytes, doneBytes }), ...(details === undefined ? {} : { details }) });
    this.#pump();
  }

  /** Everything is done. With a key the result is told and proven with the last of the progress, behind every other Event: whoever believes it may take this pod away. */
  completed(result: string, key?: Uint8Array): void {
    const { podUid } = this.#options;
    if (key !== undefined && podUid !== undefined) {
      this.#end = withResult(this.#latest ?? this.#told?.message ?? "{}", proveResult(key, podUid, result));
      // What was to be told before is in it.
      if (this.#end !== undefined) this.#latest = undefined;
    }
    this.#tell({ reason: DATA_PATH_EVENTS.completed, type: "Normal", message: result });
  }

  failed(message: string): void {
    this.#tell({ reason: DATA_PATH_EVENTS.failed, type: "Warning", message });
  }

  canceling(): void {
    this.#tell({ reason: DATA_PATH_EVENTS.canceling, type: "Normal", message: `Data path for ${this.#name} is being canceled` });
  }

  canceled(message: string): void {
    this.#tell({ reason: DATA_PATH_EVENTS.canceled, type: "Warning", message });
  }

  /** Says that the data path has stopped, and waits until everything is written, at most `timeoutMs`. */
  async stop(timeoutMs: number): Promise<void> {
    const { clock } = this.#options;
    this.#progressDueMs = 0;
    this.#tell({ reason: DATA_PATH_EVENTS.stopped, type: "Normal", message: `Data path for ${this.#name} stopped` });
    if (this.#end !== undefined) this.#tell({ reason: DATA_PATH_EVENTS.progress, type: "Normal", message: this.#end });
    const ending = new AbortController();
    const timeout = clock.sleep(timeoutMs, ending.signal).catch(() => undefined);
    while (this.#writing !== undefined) {
      const last = await Promise.race([this.#writing.then(() => false), timeout.then(() => true)]);
      if (last) break;
    }
    ending.abort();
    this.#stopTimer?.();
  }

  get #name(): string {
    return this.#options.about.metadata.name ?? "";
  }

  #tell(message: Message): void {
    // What came before an Event is told before it.
    this.#progressDueMs = 0;
    this.#takeProgress();
    this.#waiting.push(message);
    this.#pump();
  }

  #takeProgress(): void {
    if (this.#latest === undefined || this.#latest === this.#told?.message) {
      this.#latest = undefined;
      return;
    }
    this.#waiting.push({ reason: DATA_PATH_EVENTS.progress, type: "Normal", message: this.#latest });
    this.#latest = undefined;
    this.#progressDueMs = this.#options.clock.monotonicMs() + EVERY_MS;
  }

  #pump(): void {
    const { clock } = this.#options;
    if (this.#latest !== undefined && this.#writing === undefined) {
      const leftMs = this.#progressDueMs - clock.monotonicMs();
      if (leftMs <= 0) this.#takeProgress();
      else {
        this.#stopTimer ??= clock.after(leftMs, () => {
          this.#stopTimer = undefined;
          this.#pump();
        });
      }
    }
    if (this.#waiting.length === 0 || this.#writing !== undefined) return;
    this.#writing = this.#drain().finally(() => {
      this.#writing = undefined;
      this.#pump();
    });
  }

  async #drain(): Promise<void> {
    for (let next = this.#waiting.shift(); next !== undefined; next = this.#waiting.shift()) {
      for (let attempt = 1; ; attempt++) {
        try {
          await this.#write(next);
          break;
        } catch (error) {
          // Progress is soon told anew.
          if (attempt >= ATTEMPTS_MAX || next.reason === DATA_PATH_EVENTS.progress) {
            this.#options.logger.warn("An event was not written", { reason: next.reason, ...errorFields(error) });
            break;
          }
          await this.#options.clock.sleep(RETRY_MS);
        }
      }
    }
  }

  async #write(message: Message): Promise<void> {
    const { client, clock, about } = this.#options;
    const isProgress = message.reason === DATA_PATH_EVENTS.progress;
    if (isProgress && this.#told !== undefined) {
      try {
        const count = this.#told.count + 1;
        const key = { namespace: about.metadata.namespace, name: this.#told.name };
        await client.patch(events, key, "merge", { message: message.message, count, lastTimestamp: formatTime(clock.nowMs()) });
        this.#told = { ...this.#told, count, message: message.message };
        return;
      } catch (error) {
        // Events expire.
        if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
      }
    }
    const created = await client.create(events, this.#build(message));
    if (isProgress) this.#told = { name: created.metadata.name ?? "", count: 1, message: message.message };
  }

  #build({ reason, type, message }: Message): CoreEvent {
    const { about, clock, random, nodeName, podUid } = this.#options;
    const { name = "", namespace = "", uid, resourceVersion } = about.metadata;
    const time = formatTime(clock.nowMs());
    return {
      metadata: { namespace, name: `${name}.${randomHex(random, 8)}` },
      involvedObject: {
        ...(about.apiVersion === undefined ? {} : { apiVersion: about.apiVersion }),
        ...(about.kind === undefined ? {} : { kind: about.kind }),
        namespace,
        name,
        ...(uid === undefined ? {} : { uid }),
        ...(resourceVersion === undefined ? {} : { resourceVersion }),
      },
      ...(podUid === undefined ? {} : { related: { apiVersion: "v1", kind: "Pod", namespace, name, uid: podUid } }),
      reason,
      message: message.slice(0, MESSAGE_LENGTH_MAX),
      type,
      count: 1,
      firstTimestamp: time,
      lastTimestamp: time,
      source: { component: name, host: nodeName },
    };
  }
}

/** Progress with a proven result, without what is for people where there is no room for it; undefined where there is none for the result either. */
function withResult(progress: string, told: ToldResult): string | undefined {
  const { details, ...numbers } = JSON.parse(progress) as DataPathProgress;
  const [whole, short] = [JSON.stringify({ ...numbers, ...(details === undefined ? {} : { details }), ...told }), JSON.stringify({ ...numbers, ...told })];
  return [whole, short].find(({ length }) => length <= MESSAGE_LENGTH_MAX);
}

/** The form on the wire: Velero leaves zeros out. */
export function withoutZeros({ totalBytes, doneBytes }: { readonly totalBytes: number; readonly doneBytes: number }): DataPathProgress {
  return { ...(totalBytes === 0 ? {} : { totalBytes }), ...(doneBytes === 0 ? {} : { doneBytes }) };
}
