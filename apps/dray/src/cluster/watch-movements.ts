/** `dray data-upload|data-download watch`: how volumes move, until they have ended. */
import type { DataDownload, DataUpload } from "@drayage/api";
import { type Clock, nullLogger } from "@drayage/base";
import { formatKey, type ResourceType, startInformer } from "@drayage/kube";
import { formatTransfer } from "../describe/transfer.ts";
import { EXIT } from "../exit-codes.ts";
import { formatTable } from "../output/table.ts";
import type { Terminal } from "../terminal.ts";
import { type ClusterAccess, getNamed } from "./access.ts";
import { formatProgress } from "./wait.ts";

type Movement = DataUpload | DataDownload;

const LIVE_EVERY_MS = 1_000;
const LINES_EVERY_MS = 10_000;
const ENDED: ReadonlySet<string> = new Set(["Completed", "Failed", "Canceled"]);

export interface WatchOptions {
  /** Of these only; of all that have not ended, when empty. */
  readonly names: readonly string[];
  readonly json: boolean;
}

/**
 * Shows a table that is drawn anew each second on a terminal, and a line for each movement every ten seconds and at its end otherwise; with `json` one object a line.
 * Returns when all of them have ended. The exit code is that of the worst: 0, 3 for cancelled ones, 1 for failed ones. Throws KUBE_NOT_FOUND for a name that there is not.
 */
export async function watchMovements<T extends Movement>(
  access: ClusterAccess,
  type: ResourceType<T>,
  { names, json }: WatchOptions,
  terminal: Terminal,
): Promise<void> {
  const { client, namespace } = access;
  for (const name of names) await getNamed(client, type, { namespace, name }, terminal.signal);
  const { clock, random, signal } = terminal;
  const cache = startInformer(type, { client, clock, random, logger: nullLogger, namespace });
  try {
    await cache.synced(signal);
    const wanted = new Set(
      names.length > 0 ? names : cache.list().flatMap(({ metadata, status }) => (ENDED.has(status?.phase ?? "") ? [] : [metadata.name ?? ""])),
    );
    const changes = new Changes();
    cache.onChange(() => changes.note());
    const view = new MovementView(terminal, json);
    const last = new Map<string, T>();
    for (;;) {
      for (const name of wanted) {
        const movement = cache.get({ namespace, name });
        if (movement !== undefined) last.set(name, movement);
      }
      const shown = [...last.values()];
      const isGone = (name: string): boolean => cache.get({ namespace, name }) === undefined;
      const open = [...wanted].filter((name) => !isGone(name) && !ENDED.has(last.get(name)?.status?.phase ?? ""));
      view.show(shown, open.length === 0);
      if (open.length === 0) {
        terminal.exitCode = worst(shown);
        return;
      }
      await changes.wait(clock, view.everyMs, signal);
    }
  } finally {
    cache.stop();
  }
}

/** Waits for changes; those that come between two waits end the next one at once. */
class Changes {
  #next = Promise.withResolvers<void>();

  note(): void {
    this.#next.resolve();
  }

  /** Resolves at a change or when the time is over, whichever is first. Throws when aborted. */
  async wait(clock: Clock, ms: number, signal: AbortSignal): Promise<void> {
    const over = new AbortController();
    const sleep = clock.sleep(ms, AbortSignal.any([signal, over.signal])).catch(() => undefined);
    await Promise.race([this.#next.promise, sleep]);
    over.abort();
    signal.throwIfAborted();
    this.#next = Promise.withResolvers<void>();
  }
}

class MovementView {
  readonly #terminal: Terminal;
  readonly #json: boolean;
  readonly #told = new Map<string, { readonly phase: string; readonly atMs: number; readonly text: string }>();
  #lines = 0;

  constructor(terminal: Terminal, json: boolean) {
    this.#terminal = terminal;
    this.#json = json;
  }

  get #isLive(): boolean {
    return this.#terminal.outIsTerminal && !this.#json;
  }

  get everyMs(): number {
    return this.#isLive ? LIVE_EVERY_MS : LINES_EVERY_MS;
  }

  show(movements: readonly Movement[], isLast: boolean): void {
    if (this.#isLive) this.#draw(movements);
    else for (const movement of movements) this.#tell(movement, isLast);
  }

  #draw(movements: readonly Movement[]): void {
    const nowMs = this.#terminal.clock.nowMs();
    const table = formatTable(movements, [
      { header: "NAME", value: ({ metadata }) => metadata.name },
      { header: "VOLUME", value: volumeOf },
      { header: "STATUS", value: phaseOf },
      { header: "PROGRESS", value: progressOf },
      { header: "HOW", value: (movement) => movement.status?.message ?? formatTransfer(movement, nowMs) },
    ]);
    const back = this.#lines === 0 ? "" : `\u001b[${this.#lines}A\u001b[J`;
    this.#lines = table.split("\n").length - 1;
    this.#terminal.out(back + table);
  }

  #tell(movement: Movement, isLast: boolean): void {
    const { clock } = this.#terminal;
    const nowMs = clock.monotonicMs();
    const key = formatKey({ namespace: movement.metadata.namespace, name: movement.metadata.name ?? "" });
    const before = this.#told.get(key);
    const phase = phaseOf(movement);
    if (before !== undefined && before.phase === phase && nowMs - before.atMs < LINES_EVERY_MS && !isLast) return;
    const text = this.#line(movement);
    if (before?.text === text) return;
    this.#told.set(key, { phase, atMs: nowMs, text });
    this.#terminal.out(`${text}\n`);
  }

  #line(movement: Movement): string {
    const how = formatTransfer(movement, this.#terminal.clock.nowMs());
    if (this.#json) {
      const { metadata, status } = movement;
      return JSON.stringify({
        type: "progress",
        name: metadata.name,
        volume: volumeOf(movement),
        phase: phaseOf(movement),
        ...status?.progress,
        message: status?.message,
        how,
        schema: 1,
      });
    }
    const message = movement.status?.message;
    return [`${movement.metadata.name}: ${volumeOf(movement)}: ${phaseOf(movement)}`, progressOf(movement), how, ...(message === undefined ? [] : [message])]
      .filter((part) => part !== "")
      .join(", ");
  }
}

const phaseOf = ({ status }: Movement): string => status?.phase ?? "New";
const progressOf = ({ status }: Movement): string =>
  status?.progress === undefined ? "" : formatProgress(status.progress.bytesDone, status.progress.totalBytes);
const volumeOf = ({ spec }: Movement): string =>
  "sourcePVC" in spec ? `${spec.sourceNamespace}/${spec.sourcePVC}` : `${spec.targetVolume.namespace}/${spec.targetVolume.pvc}`;

function worst(movements: readonly Movement[]): number {
  const phases = new Set(movements.map(phaseOf));
  if (phases.has("Failed")) return EXIT.failed;
  return phases.has("Canceled") ? EXIT.partiallyFailed : EXIT.ok;
}
