/**
 * The threads of one upload, and the queue before them. The walk asks for files and ranges to be stored; threads do that, each into packs of its own; packs come back here and go
 * to the storage.
 *
 *   walk ─ room? ─► queue ─► threads (or this one, before they are there) ─► packs ─► session ─► storage
 *                                     ▲                                        │
 *                                     └────────── pack memory, once it is stored┘
 *
 * Bounds: BUNDLES_AHEAD messages with jobs a thread, and one for each waiting; pack memory of one for each lane and those on their way. Threads are started when there is work enough to pay for it.
 *
 * Small files keep this thread busy as well: the walk is a third of the work. Where two threads or more are wanted it takes the place of the last of
 * them: what waits behind a full queue it does itself. The last thread is started for large files, of which the walk has nothing to do.
 */
import { Worker } from "node:worker_threads";
import { type Clock, DrayError, invariant } from "@drayage/base";
import type { ByteRanges, Kernels } from "@drayage/kernels";
import type { ContentLanes, SealedPack } from "@drayage/repo";
import { laneBufferBytes, openLane, type SealingLane } from "@drayage/repo/sealing-lane";
import { untilEnded } from "../../end-threads.ts";
import { JobRunner } from "./job-runner.ts";
import {
  CANCELED,
  CONTROL,
  CONTROL_WORDS,
  type EndedJob,
  type FilesJob,
  type FilesResult,
  type FromThread,
  type Job,
  type NumberedJob,
  type RangeChunks,
  type RangeJob,
  type RangeResult,
  type StoreCounts,
  shareOfBundle,
  type ThreadOptions,
  type ToThread,
} from "./jobs.ts";
import { PackMemory } from "./pack-memory.ts";
import { unpackError } from "./transferred-error.ts";

/** Messages with jobs that a thread has before it. */
const BUNDLES_AHEAD = 2;
/** A range of so many bytes waits for a thread that has nothing else: the next one asks for it in time, and would not have it if it lay behind a longer one. */
const LONG_RANGE_BYTES = 64 << 20;
/** Work for which this thread is enough: starting others takes as long as some thousand small files. */
const THREADS_FROM_FILES = 1500;
const THREADS_FROM_BYTES = 24 << 20;

export interface UploadLanesOptions {
  readonly lanes: ContentLanes;
  readonly kernels: Kernels;
  readonly clock: Clock;
  /** 0: everything is done in this thread. */
  readonly threads: number;
  readonly arenaBytes: number;
  /** Packs in memory beside those that are being filled. */
  readonly packsAhead: number;
  /** Contents that are stored between two flushes, about: what is known of them takes memory until they are committed. */
  readonly sessionContents: number;
  readonly contentBytesMax: number;
  /** That the process may take, in parts of one. */
  readonly processors: number;
  readonly signal: AbortSignal | undefined;
  /** Gives this thread's other work a turn; throws when the upload is aborted. */
  readonly pace: () => Promise<void>;
  readonly onCounts: (counts: StoreCounts) => void;
}

interface Pending {
  readonly job: Job;
  readonly onChunks: (chunks: RangeChunks) => void;
  readonly resolve: (result: FilesResult | RangeResult) => void;
  readonly reject: (error: unknown) => void;
}

/** What this thread does itself. */
interface OwnLane {
  readonly lane: SealingLane;
  readonly runner: JobRunner;
  readonly close: () => void;
}

interface Thread {
  readonly worker: Worker;
  readonly control: Int32Array<SharedArrayBuffer>;
  readonly jobs: Map<number, Pending>;
  /** Messages with jobs that are not answered. */
  bundles: number;
  ready: boolean;
  delivered: number;
  /** The table in which it claimed contents when it delivered. */
  newestTable: number;
  /** Wants memory that was not there when its pack came. */
  starving: boolean;
}

export class UploadLanes {
  readonly #on: UploadLanesOptions;
  readonly #threads: Thread[] = [];
  readonly #queue: Pending[] = [];
  /** How many messages the queue fills. */
  #queued = 0;
  readonly #memory: PackMemory;
  readonly #roomWanted: (() => void)[] = [];
  readonly #adopting = new Set<Promise<void>>();
  #deliveries: (() => void)[] = [];
  #turn = 0;
  #nextId = 0;
  #own: OwnLane | undefined;
  #ownBusy = false;
  readonly #ownWanted: (() => void)[] = [];
  #ownWaitedMs = 0;
  #offeredFiles = 0;
  #offeredBytes = 0;
  #offeredRangeBytes = 0;
  #failure: { readonly error: unknown } | undefined;
  #closed = false;

  constructor(options: UploadLanesOptions) {
    this.#on = options;
    const bufferBytes = laneBufferBytes(options.lanes.options, options.contentBytesMax);
    const allocate = (bytes: number): Uint8Array => options.kernels.system.alignedBuffer(bytes);
    this.#memory = new PackMemory({ bufferBytes, buffers: Math.max(options.threads, 1) + options.packsAhead, allocate });
    options.lanes.onFlush(() => this.#deliverAll());
    options.signal?.addEventListener("abort", this.#onAbort, { once: true });
  }

  /** How many work beside this one. */
  get threads(): number {
    return this.#on.threads;
  }

  /** How many threads may do a part of the walk beside its own. */
  get threadsAside(): number {
    return Math.max(0, this.#on.threads - 1);
  }

  /** Resolves when another job finds room. Throws what ended the upload. */
  async room(): Promise<void> {
    while (this.#isFull) {
      this.#check();
      if (this.#canHelp) {
        await this.#help();
        continue;
      }
      await new Promise<void>((resolve) => this.#roomWanted.push(resolve));
    }
    this.#check();
  }

  files(job: FilesJob): Promise<FilesResult> {
    this.#offeredFiles += job.ends.length;
    this.#offeredBytes += job.bytes;
    return this.#enqueue(job, () => undefined) as Promise<FilesResult>;
  }

  range(job: RangeJob, onChunks: (chunks: RangeChunks) => void): Promise<RangeResult> {
    const bytes = dataBytes(job);
    this.#offeredBytes += bytes;
    this.#offeredRangeBytes += bytes;
    return this.#enqueue(job, onChunks) as Promise<RangeResult>;
  }

  /** Whether contents that others have hashed are stored here: else this thread has other work. */
  get storesHere(): boolean {
    return this.#isHelper || this.#areNoneReady;
  }

  /**
   * Stores contents that were read and hashed already, in this thread; `hashes` has those of all, one behind the other. False where it has no lane any more. Throws what ended the
   * upload.
   */
  async storeHashed(ranges: ByteRanges, hashes: Uint8Array): Promise<boolean> {
    while (this.#ownBusy && this.#failure === undefined) await new Promise<void>((resolve) => this.#ownWanted.push(resolve));
    this.#check();
    if (!this.storesHere) return false;
    await this.#useOwn(async () => {
      this.#own ??= await this.#openOwn();
      const { knownBytes, packedBytes } = await this.#own.lane.storeHashed(ranges, hashes);
      let hashed = 0;
      for (let i = 0; i < ranges.count; i++) hashed += ranges.lengths[i] ?? 0;
      this.#on.onCounts({ hashed, known: knownBytes, packed: packedBytes, readMs: 0, workMs: 0, waitMs: 0 });
      this.#tellOwn();
    });
    this.#dispatch();
    this.#check();
    return true;
  }

  /** Has this thread's lane for a piece of work, which nobody else is using, and leaves it to whoever waits for it. What fails ends the upload. */
  async #useOwn(work: () => Promise<void>): Promise<void> {
    this.#ownBusy = true;
    try {
      await work();
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#ownBusy = false;
      for (const wake of this.#ownWanted.splice(0)) wake();
    }
    this.#leaveToThreads();
  }

  /** Keeps what the threads know of the repository young, and their table from filling up. */
  async keepUp(): Promise<void> {
    const { lanes, signal, sessionContents } = this.#on;
    if (lanes.makeRoom()) this.#tellKnown(false);
    if (await lanes.refreshWhenDue(signal)) this.#tellKnown(true);
    if (!(await lanes.flushWhenDue(sessionContents, signal))) return;
    // A thread that is not there yet has claimed nothing.
    const newest = this.#threads.filter(({ ready }) => ready).map(({ newestTable }) => newestTable);
    if (lanes.forgetCommitted(Math.min(...newest, this.#own?.lane.newestTable ?? Number.POSITIVE_INFINITY))) this.#tellKnown(true);
  }

  /** Tells every lane what is known: contents of this session, and where that changed the committed ones. */
  #tellKnown(withCommitted: boolean): void {
    const { lanes } = this.#on;
    const known = withCommitted ? lanes.known : { session: lanes.session };
    this.#tellAll({ kind: "known", ...known });
    this.#own?.lane.update(known);
  }

  /** Ends the threads; what is under way is given up. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    this.#on.signal?.removeEventListener("abort", this.#onAbort);
    this.#on.lanes.close();
    this.#fail(new DrayError("INVARIANT", "Cannot store more files: the upload has ended"));
    for (const { control } of this.#threads) Atomics.store(control, CONTROL.canceled, 1);
    this.#tellAll({ kind: "end" });
    await untilEnded(this.#threads, this.#on.clock);
    this.#own?.close();
    this.#own = undefined;
  }

  #enqueue(job: Job, onChunks: (chunks: RangeChunks) => void): Promise<FilesResult | RangeResult> {
    this.#check();
    const done = new Promise<FilesResult | RangeResult>((resolve, reject) => {
      this.#queue.push({ job, onChunks, resolve, reject });
      this.#queued += shareOfBundle(job);
      this.#startWhenWorth();
      this.#dispatch();
    });
    // Whoever asked may have given up by the time it fails.
    done.catch(() => undefined);
    return done;
  }

  #check(): void {
    this.#on.signal?.throwIfAborted();
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  #startWhenWorth(): void {
    if (this.#threads.length >= this.#wantedThreads) return;
    if (this.#offeredFiles < THREADS_FROM_FILES && this.#offeredBytes < THREADS_FROM_BYTES) return;
    while (this.#threads.length < this.#wantedThreads) this.#threads.push(this.#startThread());
  }

  /** Threads for what was offered so far. */
  get #wantedThreads(): number {
    const { threads } = this.#on;
    const isHelping = threads > 1 && this.#offeredRangeBytes < THREADS_FROM_BYTES;
    return isHelping ? threads - 1 : threads;
  }

  /** Whether this thread has a lane beside the others', in the place of the last of them. */
  get #isHelper(): boolean {
    return this.#threads.length < this.#on.threads;
  }

  /** Whether this thread is alone yet. */
  get #areNoneReady(): boolean {
    return !this.#threads.some(({ ready }) => ready);
  }

  /** Whether this thread may do the next job of the queue while others work too. */
  get #canHelp(): boolean {
    return this.#isHelper && !this.#ownBusy && this.#queue[0]?.job.kind === "files";
  }

  #startThread(): Thread {
    const { lanes, arenaBytes, kernels, processors } = this.#on;
    const control = new Int32Array(new SharedArrayBuffer(4 * CONTROL_WORDS));
    Atomics.store(control, CONTROL.turn, this.#turn);
    const workerData: ThreadOptions = { lane: lanes.options, known: lanes.known, arenaBytes, build: kernels.info.build, control, processors };
    const worker = new Worker(new URL("./upload-thread.ts", import.meta.url), { workerData });
    // A thread has the deliveries before its time behind it.
    const thread: Thread = { worker, control, jobs: new Map(), bundles: 0, ready: false, delivered: this.#turn, newestTable: 0, starving: false };
    worker.on("message", (message: FromThread) => this.#receive(thread, message));
    worker.on("error", (error) => this.#fail(error));
    worker.on("exit", () => this.#fail(new DrayError("INVARIANT", "Cannot go on with the upload: a thread of it has ended")));
    return thread;
  }

  #dispatch(): void {
    for (const thread of this.#threads) {
      while (thread.ready && thread.bundles < this.#bundlesAhead) this.#assign(thread);
    }
    // This thread works while the others are not there yet.
    if (!this.#ownBusy && this.#isForHere) void this.#workHere();
    if (!this.#isFull) for (const wake of this.#roomWanted.splice(0)) wake();
  }

  /** Messages with jobs that a thread may have before it with that of the next of the queue; 0 when that is empty. */
  get #bundlesAhead(): number {
    const job = this.#queue[0]?.job;
    if (job === undefined) return 0;
    return job.kind === "range" && dataBytes(job) >= LONG_RANGE_BYTES ? 1 : BUNDLES_AHEAD;
  }

  #assign(thread: Thread): void {
    // The longest waits least: one that has no job yet.
    const least = this.#threads.filter(({ ready }) => ready).reduce((a, b) => (b.bundles < a.bundles ? b : a), thread);
    const jobs: NumberedJob[] = [];
    for (let share = 0, next = this.#queue[0]; next !== undefined; next = this.#queue[0]) {
      share += shareOfBundle(next.job);
      if (share > 1 && jobs.length > 0) break;
      const id = this.#nextId++;
      const { job } = this.#take();
      least.jobs.set(id, next);
      jobs.push({ id, job });
    }
    least.bundles++;
    this.#tell(least, { kind: "jobs", jobs });
  }

  /** Whether what waits keeps every thread busy for a while. */
  get #isFull(): boolean {
    return this.#queued >= Math.max(1, this.#threads.length);
  }

  /** The next of the queue, which is not empty. */
  #take(): Pending {
    const pending = this.#queue.shift() as Pending;
    // What is left of fractions must not add up.
    this.#queued = this.#queue.length === 0 ? 0 : this.#queued - shareOfBundle(pending.job);
    return pending;
  }

  /**
   * Whether this thread does the next of the queue, since the others are not there yet. A range that they are started for is left to them: it would keep this one from everything else,
   * with memory of two packs, for long after they have come.
   */
  get #isForHere(): boolean {
    const job = this.#queue[0]?.job;
    if (job === undefined || !this.#areNoneReady) return false;
    return this.#threads.length === 0 || job.kind === "files" || dataBytes(job) < THREADS_FROM_BYTES;
  }

  async #workHere(): Promise<void> {
    await this.#useOwn(async () => {
      while (this.#isForHere) await this.#doNext();
    });
    this.#dispatch();
  }

  /** Does one job beside the threads. */
  async #help(): Promise<void> {
    await this.#useOwn(() => this.#doNext());
    // What the threads say meanwhile must not wait behind the next job: they would run out of work.
    await new Promise<void>((resolve) => setImmediate(resolve));
    this.#dispatch();
  }

  /** Once all threads are there they go on alone: what is not sealed into their packs need not wait for the next flush. */
  #leaveToThreads(): void {
    if (this.#isHelper || this.#areNoneReady) return;
    this.#own?.lane.flush();
    this.#own?.close();
    this.#own = undefined;
  }

  /** Does the next job of the queue, which is not empty, in this thread. */
  async #doNext(): Promise<void> {
    this.#own ??= await this.#openOwn();
    const own = this.#own;
    // What was there may have gone to a thread meanwhile.
    if (this.#queue.length === 0) return;
    const { job, onChunks, resolve, reject } = this.#take();
    for (const wake of this.#roomWanted.splice(0)) wake();
    const counted = (chunks: RangeChunks): void => {
      this.#on.onCounts(chunks.counts);
      onChunks(chunks);
    };
    try {
      const result = job.kind === "files" ? await own.runner.files(job) : await own.runner.range(job, counted);
      if ("counts" in result) this.#on.onCounts(result.counts);
      resolve(result);
    } catch (error) {
      reject(error);
    }
    this.#tellOwn();
    await this.#on.pace();
  }

  /** What this thread's lane has to know before it goes on. */
  #tellOwn(): void {
    if (this.#on.lanes.makeRoom()) this.#tellKnown(false);
    else this.#own?.lane.update({ session: this.#on.lanes.session });
  }

  async #openOwn(): Promise<OwnLane> {
    const { lanes, kernels, arenaBytes, threads, pace } = this.#on;
    // The plan has an arena and a pack for each thread: in the place of one, this lane has its. Beside all of them its arena is memory of a pack, until the threads need that.
    const isBesideAll = this.#wantedThreads === threads;
    const isLent = threads > 0 && isBesideAll && arenaBytes <= this.#memory.bufferBytes;
    const lent = isLent ? this.#memory.takeFirst() : undefined;
    // Beside all of them memory for a pack is set aside now, and again as soon as one is delivered, before others have it: what a thread holds comes back when its pack is full, which may
    // be never where it has no work, and all of it may wait for this one. In the place of one there is more than they can hold, and it waits in line: first in it each time, it would
    // have one pack on its way and one to fill, and they none.
    const take = (): Promise<Uint8Array> => (isBesideAll ? this.#memory.takeFirst() : this.#memory.take());
    let aside: Promise<Uint8Array> | undefined = take();
    const nextBuffer = async (): Promise<Uint8Array> => {
      const startedMs = performance.now();
      const next = aside ?? take();
      aside = undefined;
      const buffer = await next;
      this.#ownWaitedMs += performance.now() - startedMs;
      return buffer;
    };
    const deliver = (pack: SealedPack): void => {
      aside ??= take();
      this.#adopt(pack);
    };
    const lane = await openLane(lanes.options, lanes.known, { nextBuffer, deliver }, kernels);
    const arena = (await lent) ?? kernels.system.alignedBuffer(arenaBytes);
    const close = (): void => {
      lane.close();
      if (isLent) this.#memory.giveBack(arena);
      void aside?.then(
        (buffer) => this.#memory.giveBack(buffer),
        () => undefined,
      );
    };
    return { lane, runner: new JobRunner({ lane, kernels, arena: arena.subarray(0, arenaBytes), waitedMs: () => this.#ownWaitedMs, pace }), close };
  }

  #receive(thread: Thread, message: FromThread): void {
    if (message.kind === "ready") {
      thread.ready = true;
      if (!this.#ownBusy) this.#leaveToThreads();
      this.#feed(thread);
      this.#dispatch();
      return;
    }
    if (message.kind === "pack") {
      this.#adopt(message.pack);
      this.#feed(thread);
      return;
    }
    if (message.kind === "delivered") {
      thread.delivered = message.turn;
      thread.newestTable = message.newestTable;
      for (const look of this.#deliveries) look();
      return;
    }
    // What was under way is answered already.
    if (this.#failure !== undefined) return;
    if (message.kind === "chunks") {
      const pending = jobOf(thread, message.id);
      this.#on.onCounts(message.chunks.counts);
      pending.onChunks(message.chunks);
      return;
    }
    thread.bundles--;
    for (const ended of message.jobs) this.#end(thread, ended);
    this.#dispatch();
  }

  #end(thread: Thread, ended: EndedJob): void {
    const { resolve, reject } = jobOf(thread, ended.id);
    thread.jobs.delete(ended.id);
    if (ended.error === undefined) {
      if ("counts" in ended.result) this.#on.onCounts(ended.result.counts);
      resolve(ended.result);
    } else {
      const isCanceled = ended.error.message === CANCELED && !ended.error.isOurs;
      reject((isCanceled ? this.#on.signal?.reason : undefined) ?? unpackError(ended.error));
    }
  }

  /** Hands a thread memory for its next pack, now or as soon as there is some. */
  #feed(thread: Thread): void {
    if (thread.starving) return;
    thread.starving = true;
    this.#memory.give((buffer) => {
      thread.starving = false;
      this.#tell(thread, { kind: "buffer", buffer });
    });
  }

  #adopt(pack: SealedPack): void {
    const adopted: Promise<void> = this.#on.lanes
      .adopt(pack, (buffer) => this.#memory.giveBack(buffer), this.#on.signal)
      .catch((error: unknown) => this.#fail(error))
      .finally(() => this.#adopting.delete(adopted));
    this.#adopting.add(adopted);
  }

  /** Has every lane hand over what it has, for a flush. */
  async #deliverAll(): Promise<void> {
    // Own work is at a place where it waits, or this would not run.
    this.#own?.lane.flush();
    const turn = ++this.#turn;
    const asked = this.#threads.filter(({ ready }) => ready);
    for (const thread of asked) {
      Atomics.store(thread.control, CONTROL.turn, turn);
      this.#tell(thread, { kind: "deliver", turn });
    }
    const all = (): boolean => asked.every(({ delivered }) => delivered - turn >= 0);
    if (!all()) {
      await new Promise<void>((resolve, reject) => {
        const look = (): void => {
          if (this.#failure !== undefined) reject(this.#failure.error as Error);
          else if (!all()) return;
          else resolve();
          this.#deliveries = this.#deliveries.filter((other) => other !== look);
        };
        this.#deliveries.push(look);
      });
    }
    await Promise.all(this.#adopting);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  readonly #onAbort = (): void => {
    for (const { control } of this.#threads) Atomics.store(control, CONTROL.canceled, 1);
    this.#fail(this.#on.signal?.reason);
  };

  /** Ends everything: the first reason is what the upload ends with. */
  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#queued = 0;
    // Work of this thread is answered by itself: it must not wait for what threads hold that do nothing any more, and for packs on their way to a store that does not answer.
    this.#memory.end(this.#failure.error);
    const pending = [...this.#queue.splice(0), ...this.#threads.flatMap(({ jobs }) => [...jobs.values()])];
    for (const { jobs } of this.#threads) jobs.clear();
    for (const { reject } of pending) reject(this.#failure.error);
    for (const wake of this.#roomWanted.splice(0)) wake();
    for (const wake of this.#ownWanted.splice(0)) wake();
    for (const look of [...this.#deliveries]) look();
  }

  #tell(thread: Thread, message: ToThread): void {
    thread.worker.postMessage(message);
  }

  #tellAll(message: ToThread): void {
    for (const thread of this.#threads) this.#tell(thread, message);
  }
}

/** Holes are no work. */
function dataBytes({ from, to, holes }: RangeJob): number {
  return to - from - holes.reduce((sum, value, i) => sum + (i % 2 === 1 ? value : 0), 0);
}

function jobOf({ jobs }: Thread, id: number): Pending {
  const pending = jobs.get(id);
  invariant(pending !== undefined, `Cannot take the result of job ${id}: nobody asked for it`);
  return pending;
}
