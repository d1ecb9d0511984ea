/**
 * The suite that a mover passes: `dray mover validate`, or from a test of the vendor's own:
 *
 *   const report = await conformance(mover, { folder, sample });
 *   expect(report.filter(({ ok }) => !ok)).toEqual([]);
 *
 * Each check has a store and a folder of its own, and a time limit. One that fails does not keep the others from being tried.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { type Clock, DrayError, type Logger, messageOf, nullLogger, systemClock } from "@drayage/base";
import type { BackupContext, BackupResult, DataMover, MoverContext, MoverProgress, MoverSource } from "../data-mover.ts";
import { problemsOfDescription } from "../description.ts";
import { resolveParameters } from "../parameters.ts";
import { formatBackupResult } from "../pod-contract.ts";
import { MemoryMoverStore } from "../store.ts";
import { type MoverSample, type PreparedSample, volumeSample } from "./sample.ts";

export interface ConformanceOptions {
  /** An empty folder that the checks may use; what they make in it is removed. */
  readonly folder: string;
  /** A volume when left out, for a mover of claims. */
  readonly sample?: MoverSample;
  readonly clock?: Clock;
  readonly log?: Logger;
  /** How long one check may take; 30 s when left out. */
  readonly limitMs?: number;
  /** Called with each result as it comes. */
  readonly onResult?: (result: ConformanceResult) => void;
}

export interface ConformanceResult {
  readonly name: string;
  readonly ok: boolean;
  /** What is wrong. */
  readonly message?: string;
}

const LIMIT_MS = 30_000;
/** A mover that says that it can be canceled has stopped by then. */
const CANCEL_MS = 10_000;
const ID = "sample-1";
/** A mover that asks the store more often has these many of its calls fail, one in each backup. */
const FAULTS_MAX = 16;

type Check = readonly [name: string, run: (bench: Bench) => Promise<void>, needsSample?: boolean];

const checks: readonly Check[] = [
  [
    "describes itself",
    async ({ mover }) => {
      const problems = problemsOfDescription(mover);
      if (problems.length > 0) throw new Error(problems.join("; "));
    },
    false,
  ],
  [
    "refuses a parameter that it does not publish",
    async ({ mover }) => {
      let accepted = true;
      try {
        resolveParameters(mover, { "no-such-parameter": "x" }, "the suite");
      } catch {
        accepted = false;
      }
      if (accepted) throw new Error("its schema lets any name pass, so a misspelt parameter would be ignored");
    },
    false,
  ],
  ["finds nothing wrong with the sample", validates],
  ["brings back what it backed up", bringsBack],
  ["says how far it is, and never goes back", reportsProgress],
  ["can be repeated with the same id", repeats],
  ["moves only what has changed, when it is incremental", movesChanges],
  ["deletes all that it wrote, and can do so again", deletes],
  ["keeps two backups apart", keepsApart],
  ["fails when the store fails, leaving what can be deleted", survivesFaults],
  ["fails to restore what is not there", missesData],
  ["stops when it is told to", stops],
];

/** Runs every check and returns what came of them, in order. Never throws for what the mover does. */
export async function conformance(mover: DataMover, options: ConformanceOptions): Promise<readonly ConformanceResult[]> {
  const clock = options.clock ?? systemClock;
  const results: ConformanceResult[] = [];
  for (const [index, [name, run, needsSample = true]] of checks.entries()) {
    const folder = join(options.folder, `check-${index}`);
    mkdirSync(folder, { recursive: true });
    const ending = new AbortController();
    let prepared: PreparedSample | undefined;
    let message: string | undefined;
    try {
      const limited = withinLimit(clock, options.limitMs ?? LIMIT_MS, async () => {
        if (needsSample) prepared = await sampleFor(mover, options).prepare(made(join(folder, "sample")));
        await run(new Bench(mover, prepared, { folder, clock, log: options.log ?? nullLogger, signal: ending.signal }));
      });
      await limited;
    } catch (error) {
      message = messageOf(error);
    } finally {
      ending.abort(new DOMException("The check has ended", "AbortError"));
      await prepared?.close?.();
      rmSync(folder, { recursive: true, force: true });
    }
    const result = { name, ok: message === undefined, ...(message === undefined ? {} : { message }) };
    results.push(result);
    options.onResult?.(result);
  }
  return results;
}

function sampleFor(mover: DataMover, { sample }: ConformanceOptions): MoverSample {
  if (sample !== undefined) return sample;
  if (mover.capabilities.kinds.includes("persistentvolumeclaims")) return volumeSample;
  throw new DrayError("VALIDATION_FAILED", `Cannot check mover "${mover.name}": nobody here has one of its kinds (${mover.capabilities.kinds.join(", ")})`, {
    hint: "Export a `sample` beside the mover.",
  });
}

/** One check's world. */
class Bench {
  readonly mover: DataMover;
  readonly store = new MemoryMoverStore((call) => this.beforeEach(call));
  readonly seen: MoverProgress[] = [];
  beforeEach: (call: string) => void = () => undefined;
  readonly #sample: PreparedSample | undefined;
  readonly #world: { readonly folder: string; readonly clock: Clock; readonly log: Logger; readonly signal: AbortSignal };
  #runs = 0;

  constructor(mover: DataMover, sample: PreparedSample | undefined, world: { folder: string; clock: Clock; log: Logger; signal: AbortSignal }) {
    this.mover = mover;
    this.#sample = sample;
    this.#world = world;
  }

  get sample(): PreparedSample {
    if (this.#sample === undefined) throw new DrayError("INVARIANT", "this check has no sample");
    return this.#sample;
  }

  get clock(): Clock {
    return this.#world.clock;
  }

  context(source: MoverSource, signal = this.#world.signal): MoverContext {
    const workspace = made(join(this.#world.folder, `workspace-${this.#runs++}`));
    return {
      source,
      target: { kind: "BackupStorageLocation", name: "default", store: this.store },
      parameters: resolveParameters(this.mover, this.sample.parameters ?? {}, "the sample"),
      workspace,
      signal,
      log: this.#world.log,
      progress: (progress) => void this.seen.push({ ...progress }),
    };
  }

  async backup(id = ID, signal?: AbortSignal): Promise<BackupResult> {
    const context: BackupContext = { ...this.context(this.sample.source, signal), id };
    const result = await this.mover.backup(context);
    formatBackupResult(result);
    return result;
  }

  async restore(moved: BackupResult): Promise<void> {
    await this.mover.restore({ ...this.context(this.sample.destination ?? this.sample.source), moved });
  }

  async remove(id = ID, moved?: BackupResult): Promise<void> {
    await this.mover.delete({ ...this.context(this.sample.source), id, ...(moved === undefined ? {} : { moved }) });
  }

  async expectSame(): Promise<void> {
    const differences = await this.sample.differences();
    if (differences.length > 0) throw new Error(`what came back differs: ${differences.slice(0, 5).join("; ")}`);
  }

  /** Nothing is left. What a mover that is incremental keeps for its other backups only it can tell from the rest. */
  async expectNothingLeft(): Promise<void> {
    const left = this.mover.capabilities.incremental ? await this.listed() : this.store.keys;
    if (left.length > 0) throw new Error(`the store still holds ${left.slice(0, 5).join(", ")}`);
  }

  /** Ids of what the mover says it keeps. */
  async listed(): Promise<readonly string[]> {
    if (this.mover.list === undefined) throw new Error("it says that it is incremental and has no list(): what its deletions leave nobody can tell");
    return (await this.mover.list(this.context(this.sample.source))).map(({ snapshotId }) => snapshotId);
  }
}

async function validates({ mover, sample }: Bench): Promise<void> {
  const parameters = resolveParameters(mover, sample.parameters ?? {}, "the sample");
  const problems = (await mover.validate?.(sample.source, parameters)) ?? [];
  if (problems.length > 0) throw new Error(problems.join("; "));
}

async function bringsBack(bench: Bench): Promise<void> {
  await bench.restore(await bench.backup());
  await bench.expectSame();
}

async function reportsProgress(bench: Bench): Promise<void> {
  const { totalBytes } = await bench.backup();
  const { seen, mover } = bench;
  if (mover.capabilities.progress && seen.length === 0) throw new Error("its capabilities say progress, and it reported none");
  for (const [index, { doneBytes, totalBytes: total }] of seen.entries()) {
    if (![doneBytes, total].every((value) => Number.isSafeInteger(value) && value >= 0)) throw new Error(`it reported ${doneBytes} of ${total}`);
    const before = seen[index - 1];
    if (before !== undefined && doneBytes < before.doneBytes) throw new Error(`it went back from ${before.doneBytes} to ${doneBytes} bytes`);
    if (total > 0 && doneBytes > total) throw new Error(`it reported ${doneBytes} bytes of ${total}`);
  }
  const last = seen.at(-1);
  if (last !== undefined && last.doneBytes > Math.max(totalBytes, last.totalBytes))
    throw new Error(`it reported more than the ${totalBytes} bytes of its result`);
}

async function repeats(bench: Bench): Promise<void> {
  await bench.backup();
  const isShared = bench.mover.capabilities.incremental;
  const objects = async (): Promise<number> => (isShared ? await bench.listed() : bench.store.keys).length;
  const once = await objects();
  const result = await bench.backup();
  const twice = await objects();
  if (twice > once) throw new Error(`the second time left ${twice} objects where there had been ${once}`);
  await bench.restore(result);
  await bench.expectSame();
}

async function movesChanges(bench: Bench): Promise<void> {
  if (!bench.mover.capabilities.incremental) return;
  await bench.backup("sample-1");
  const first = bench.store.bytes;
  await bench.backup("sample-2");
  const added = bench.store.bytes - first;
  if (added * 2 > first) throw new Error(`nothing had changed, and the second backup added ${added} bytes to the ${first} of the first`);
}

async function deletes(bench: Bench): Promise<void> {
  const result = await bench.backup();
  await bench.remove(ID, result);
  await bench.expectNothingLeft();
  await bench.remove(ID, result);
}

async function keepsApart(bench: Bench): Promise<void> {
  const first = await bench.backup("sample-1");
  const second = await bench.backup("sample-2");
  if (first.snapshotId === second.snapshotId) throw new Error(`both have the id "${first.snapshotId}"`);
  await bench.remove("sample-1", first);
  await bench.restore(second);
  await bench.expectSame();
  await bench.remove("sample-2", second);
  await bench.expectNothingLeft();
}

async function survivesFaults(bench: Bench): Promise<void> {
  const clean = async (): Promise<void> => {
    await bench.remove();
    await bench.expectNothingLeft();
  };
  let calls = 0;
  bench.beforeEach = () => void calls++;
  await bench.backup();
  bench.beforeEach = () => undefined;
  await clean();
  for (const failing of spread(calls, FAULTS_MAX)) {
    calls = 0;
    bench.beforeEach = () => {
      if (++calls === failing) throw new DrayError("BLOB_UNAVAILABLE", "Cannot reach the store: the suite has it fail now");
    };
    const result = await bench.backup().catch(() => undefined);
    const reached = calls >= failing;
    bench.beforeEach = () => undefined;
    // Not every call matters to the data.
    if (reached && result !== undefined) await expectWhole(bench, result, `call ${failing} of the store failed, and the backup succeeded all the same`);
    await clean();
  }
}

/** Of the numbers from 1 to `count` at most `max`, evenly spread, the first and the last among them. */
function spread(count: number, max: number): readonly number[] {
  const taken = Math.min(count, max);
  return Array.from({ length: taken }, (_, index) => (taken === 1 ? 1 : 1 + Math.round((index * (count - 1)) / (taken - 1))));
}

async function expectWhole(bench: Bench, moved: BackupResult, otherwise: string): Promise<void> {
  try {
    await bench.restore(moved);
    await bench.expectSame();
  } catch (error) {
    throw new Error(`${otherwise}: ${messageOf(error)}`, { cause: error });
  }
}

async function missesData(bench: Bench): Promise<void> {
  const result = await bench.backup();
  await bench.remove(ID, result);
  let failed = false;
  await bench.restore(result).catch(() => {
    failed = true;
  });
  if (!failed) throw new Error("the data had been deleted, and the restore succeeded all the same");
}

async function stops(bench: Bench): Promise<void> {
  if (!bench.mover.capabilities.cancel) return;
  const canceling = new AbortController();
  bench.beforeEach = () => canceling.abort(new DOMException("The suite cancels", "AbortError"));
  let stopped = false;
  await withinLimit(bench.clock, CANCEL_MS, () =>
    bench.backup(ID, canceling.signal).then(
      () => undefined,
      () => {
        stopped = true;
      },
    ),
  );
  bench.beforeEach = () => undefined;
  if (!canceling.signal.aborted) throw new Error("it never used the store");
  if (!stopped) throw new Error("it was told to stop at its first call of the store, and went on to its end");
  await bench.remove();
  await bench.expectNothingLeft();
}

function made(folder: string): string {
  mkdirSync(folder, { recursive: true });
  return folder;
}

/** Fails when the work takes longer; the work itself is then left to its signal. */
function withinLimit(clock: Clock, limitMs: number, work: () => Promise<void>): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = clock.after(limitMs, () => reject(new Error(`it has not ended after ${limitMs / 1000} s`)));
    work().then(resolve, reject).finally(stop);
  });
}
