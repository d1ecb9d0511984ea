/** Waiting for an object to reach an end, with a live line on a terminal and a plain line every ten seconds elsewhere. */
import { DrayError, formatBytes, hasCode } from "@drayage/base";
import type { KubeClient, KubeObject, ObjectKey, ResourceType } from "@drayage/kube";
import { formatElapsed } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";

const LINE_EVERY_MS = 10_000;
const RECONNECT_MS = 500;

export interface WaitOptions<T> {
  readonly done: (object: T) => boolean;
  /** One line about where it is. */
  readonly line: (object: T) => string;
  readonly timeoutMs?: number;
  readonly terminal: Terminal;
}

/** Watches until `done`. Throws TIMED_OUT, KUBE_NOT_FOUND when the object is deleted meanwhile. */
export async function waitForObject<T extends KubeObject>(client: KubeClient, type: ResourceType<T>, key: ObjectKey, options: WaitOptions<T>): Promise<T> {
  const { terminal } = options;
  const live = new LiveLine(terminal);
  const timeout = new AbortController();
  const cancelTimer =
    options.timeoutMs === undefined ? undefined : terminal.clock.after(options.timeoutMs, () => timeout.abort(timedOut(type, key, options.timeoutMs ?? 0)));
  const signal = AbortSignal.any([terminal.signal, timeout.signal]);
  try {
    for (;;) {
      let current = await client.get(type, key, signal);
      live.show(options.line(current));
      if (options.done(current)) return current;
      try {
        for await (const event of client.watch(type, {
          namespace: key.namespace,
          fieldSelector: `metadata.name=${key.name}`,
          resourceVersion: current.metadata.resourceVersion ?? "0",
          signal,
        })) {
          if (event.type === "BOOKMARK") continue;
          if (event.type === "DELETED") throw new DrayError("KUBE_NOT_FOUND", `Cannot wait for ${type.kind} "${key.name}": it was deleted`);
          current = event.object;
          live.show(options.line(current));
          if (options.done(current)) return current;
        }
      } catch (error) {
        signal.throwIfAborted();
        if (!hasCode(error, "KUBE_GONE", "KUBE_UNAVAILABLE", "KUBE_THROTTLED", "TIMED_OUT")) throw error;
        await terminal.clock.sleep(RECONNECT_MS, signal);
      }
    }
  } catch (error) {
    if (timeout.signal.aborted && !terminal.signal.aborted) throw timeout.signal.reason;
    throw error;
  } finally {
    cancelTimer?.();
    live.end();
  }
}

function timedOut(type: { readonly kind: string }, key: ObjectKey, ms: number): DrayError {
  return new DrayError("TIMED_OUT", `Cannot wait longer for ${type.kind} "${key.name}": not finished within ${formatElapsed(ms)}`, {
    hint: "It goes on in the cluster; --timeout gives it longer here.",
  });
}

/** One line that is rewritten in place on a terminal, and printed when it changed and ten seconds have passed elsewhere. */
export class LiveLine {
  readonly #terminal: Terminal;
  #shownAtMs = Number.NEGATIVE_INFINITY;
  #shown = "";

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  show(text: string): void {
    const { errIsTerminal, columns, clock } = this.#terminal;
    if (text === this.#shown) return;
    if (errIsTerminal) {
      this.#terminal.err(`\r\u001b[K${text.slice(0, columns - 1)}`);
    } else {
      if (clock.monotonicMs() - this.#shownAtMs < LINE_EVERY_MS) return;
      this.#terminal.err(`${text}\n`);
    }
    this.#shown = text;
    this.#shownAtMs = clock.monotonicMs();
  }

  end(): void {
    if (this.#terminal.errIsTerminal && this.#shown !== "") this.#terminal.err("\r\u001b[K");
    this.#shown = "";
  }
}

/** `12.3 MiB of 256 MiB (5 %)`. */
export function formatProgress(done: number | undefined, total: number | undefined): string {
  if (total === undefined || total === 0) return formatBytes(done ?? 0);
  return `${formatBytes(done ?? 0)} of ${formatBytes(total)} (${Math.floor((100 * (done ?? 0)) / total)} %)`;
}

/** Why a backup or a restore ended as it did, as far as its status says. */
export function reasonsOf(
  status: { readonly failureReason?: string | null; readonly validationErrors?: readonly string[] | null } | null | undefined,
): string[] {
  return [...(status?.failureReason === undefined || status.failureReason === null ? [] : [status.failureReason]), ...(status?.validationErrors ?? [])];
}
