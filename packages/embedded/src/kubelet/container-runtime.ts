/**
 * Runs containers as processes and keeps what is known of them on disk, so that a restarted kubelet finds them again.
 *
 * A container's folder holds its scripts, pipes, writable layer and `container.json` (how to find and enter it) and, once it has ended, `result.json`.
 *
 * Invariants: a container is started at most once; its result is written after its output is drained, so a reader that sees it finished sees the whole log;
 * `remove` leaves no process, no control group and no folder.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import {
  chmodSync,
  closeSync,
  constants,
  existsSync,
  type FSWatcher,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  statSync,
  watch,
  writeFileSync,
} from "node:fs";
import { Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { type Clock, DrayError, type Logger } from "@drayage/base";
import { ContainerInput, INPUT_PIPES } from "./container-input.ts";
import { ContainerLog, type LogStream } from "./container-log.ts";
import { createMemoryLimit, outOfMemoryKills, removeMemoryLimit } from "./memory-limit.ts";
import { identifyProcess, isRunning, minds, type ProcessIdentity, signalProcess } from "./process-identity.ts";
import { makeEntries, planSandbox, type SandboxMount } from "./sandbox.ts";
import { assembleScript, type ContainerUser, superviseScript } from "./sandbox-script.ts";

export interface ContainerIdentity {
  readonly namespace: string;
  readonly pod: string;
  readonly podUid: string;
  readonly container: string;
  /** 0 for the first start, then one more for each restart. */
  readonly attempt: number;
}

export interface ContainerLaunch {
  readonly identity: ContainerIdentity;
  /** `container id` of the status, without its scheme. */
  readonly id: string;
  readonly image: string;
  readonly hostname: string;
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly mounts: readonly SandboxMount[];
  readonly user?: ContainerUser;
  readonly memoryLimitBytes?: number;
  /** Where the container finds its termination log. */
  readonly terminationMessagePath: string;
  /** A container that fails without a message gets the end of its log as one. */
  readonly messageFromLog?: boolean;
  /** Gives the command an input that can be written to while it runs; without it the input is empty. */
  readonly stdin?: boolean;
  /** Gives the command a terminal. */
  readonly tty?: boolean;
}

/** What is kept of a container for entering and ending it. */
export interface ContainerRecord {
  readonly identity: ContainerIdentity;
  readonly id: string;
  readonly image: string;
  readonly logPath: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly workingDir: string;
  readonly user?: ContainerUser;
  readonly memoryGroup?: string;
  readonly messageFromLog?: boolean;
  readonly hasInput?: boolean;
  readonly supervisor: ProcessIdentity;
}

export interface ContainerResult {
  readonly exitCode: number;
  readonly reason: "Completed" | "Error" | "OOMKilled" | "StartError" | "ContainerStatusUnknown";
  /** The termination message, or why it could not be started. */
  readonly message?: string;
  readonly startedAtMs: number;
  readonly finishedAtMs: number;
}

/** A termination message longer than this is cut from its front, as the kubelet does. */
const TERMINATION_MESSAGE_BYTES_MAX = 4096;
const LOG_MESSAGE_BYTES_MAX = 2048;
const LOG_MESSAGE_LINES_MAX = 80;
const DRAIN_BLOCK_BYTES = 64 * 1024;
const LIVENESS_MS = 1_000;
const SIGTERM = 15;
/** The identity of the main process, as the kubelet found it. */
export const MAIN_PROCESS = "main.json";

export class RunningContainer {
  readonly record: ContainerRecord;
  readonly directory: string;
  readonly log: ContainerLog;
  readonly #clock: Clock;
  readonly #onChange: () => void;
  readonly #sockets: Socket[];
  readonly #fds: Record<LogStream, number>;
  readonly #watcher: FSWatcher;
  readonly #taps = new Set<(stream: LogStream, chunk: Buffer) => void>();
  /** The input of a container that has one. */
  readonly input: ContainerInput | undefined;
  #result: ContainerResult | undefined;
  #startedAtMs: number | undefined;
  #pid: ProcessIdentity | undefined;
  #finishing = false;
  #closed = false;
  readonly #waiters = new Set<() => void>();

  constructor(directory: string, record: ContainerRecord, clock: Clock, onChange: () => void) {
    this.directory = directory;
    this.record = record;
    this.#clock = clock;
    this.#onChange = onChange;
    this.#result = readJson<ContainerResult>(join(directory, "result.json"));
    this.log = new ContainerLog(record.logPath, clock);
    this.#fds = { stdout: openPipe(join(directory, "stdout.fifo")), stderr: openPipe(join(directory, "stderr.fifo")) };
    this.#sockets = (["stdout", "stderr"] as const).map((stream) => {
      const socket = new Socket({ fd: this.#fds[stream], readable: true, writable: false });
      socket.on("data", (chunk: Buffer) => this.#take(stream, chunk));
      socket.on("error", () => undefined);
      return socket;
    });
    this.input = record.hasInput === true ? new ContainerInput(directory) : undefined;
    this.#watcher = watch(directory, () => this.#look());
    this.#watcher.on("error", () => undefined);
    this.#watch();
    this.#look();
  }

  get result(): ContainerResult | undefined {
    return this.#result;
  }

  /** When the command took over; undefined while the root is being put together. */
  get startedAtMs(): number | undefined {
    return this.#startedAtMs;
  }

  /** The main process, in the host's numbers. */
  get process(): ProcessIdentity | undefined {
    return this.#result === undefined ? this.#pid : undefined;
  }

  /** Resolves when the command runs or has ended. */
  started(): Promise<void> {
    return this.#until(() => this.#startedAtMs !== undefined || this.#result !== undefined);
  }

  finished(): Promise<ContainerResult> {
    return this.#until(() => this.#result !== undefined).then(() => this.#result as ContainerResult);
  }

  /**
   * Ends the container: TERM, and KILL when it is still there after the grace period. The first process of a pid namespace is immune to signals it has no handler for;
   * one that has none for TERM would have ended by it anywhere else, so it is killed at once and counted as ended by TERM.
   */
  async stop(graceMs: number, signal?: AbortSignal): Promise<void> {
    const main = this.process;
    if (main === undefined) {
      if (this.#result === undefined) signalProcess(this.record.supervisor, "SIGKILL", { group: true });
      return;
    }
    if (graceMs > 0 && minds(main.pid, SIGTERM)) {
      signalProcess(main, "SIGTERM");
      const late = new AbortController();
      await Promise.race([
        this.finished(),
        this.#clock.sleep(graceMs, signal === undefined ? late.signal : AbortSignal.any([signal, late.signal])).catch(() => undefined),
      ]);
      late.abort();
    } else if (graceMs > 0) {
      writeFileSync(join(this.directory, "exit-override"), String(128 + SIGTERM));
    }
    if (this.#result === undefined) signalProcess(main, "SIGKILL");
  }

  /** Lets go of pipes and watches without touching the process. */
  release(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#watcher.close();
    for (const socket of this.#sockets) socket.destroy();
    this.input?.release();
    this.log.close();
  }

  /** Calls `listener` with all output from now on. Returns the function that ends it. */
  tap(listener: (stream: LogStream, chunk: Buffer) => void): () => void {
    this.#taps.add(listener);
    return () => this.#taps.delete(listener);
  }

  #take(stream: LogStream, chunk: Buffer): void {
    this.log.append(stream, chunk);
    for (const tap of this.#taps) tap(stream, chunk);
  }

  #watch(): void {
    // The files say what happens; this finds a supervisor that was killed before it could write any.
    this.#clock.after(LIVENESS_MS, () => {
      if (this.#closed || this.#result !== undefined) return;
      if (!isRunning(this.record.supervisor)) this.#finish(undefined);
      else {
        this.#look();
        this.#watch();
      }
    });
  }

  #look(): void {
    if (this.#closed || this.#result !== undefined || this.#finishing) return;
    if (this.#pid === undefined) {
      this.#pid = this.#identifyMain();
    }
    const startedMark = statSync(join(this.directory, "started"), { throwIfNoEntry: false });
    if (this.#startedAtMs === undefined && startedMark !== undefined && startedMark.size > 0) {
      this.#startedAtMs = startedMark.mtimeMs;
      this.#changed();
    }
    const code = readText(join(this.directory, "exit"));
    if (code !== undefined) this.#finish(Number(code));
  }

  /** The number in `pid` is believed once, while the supervisor runs; from then on the identity counts, which no later process can have. */
  #identifyMain(): ProcessIdentity | undefined {
    const known = readJson<ProcessIdentity>(join(this.directory, MAIN_PROCESS));
    if (known !== undefined) return known;
    const pid = Number(readText(join(this.directory, "pid")));
    const found = pid > 0 && isRunning(this.record.supervisor) ? identifyProcess(pid) : undefined;
    if (found !== undefined) writeJson(join(this.directory, MAIN_PROCESS), found);
    return found;
  }

  #finish(exitCode: number | undefined): void {
    if (this.#finishing) return;
    this.#finishing = true;
    // Everything in the container's pid namespace is dead, so what the pipes hold now is all there will be.
    for (const stream of ["stdout", "stderr"] as const) drain(this.#fds[stream], (chunk) => this.#take(stream, chunk));
    this.log.close();
    const result = this.#resultOf(exitCode);
    writeJson(join(this.directory, "result.json"), result);
    if (this.#pid !== undefined) signalProcess(this.#pid, "SIGKILL");
    signalProcess(this.record.supervisor, "SIGKILL", { group: true });
    if (this.record.memoryGroup !== undefined) removeMemoryLimit(this.record.memoryGroup);
    this.#result = result;
    this.release();
    this.#changed();
  }

  #resultOf(exitCode: number | undefined): ContainerResult {
    const exitMark = statSync(join(this.directory, "exit"), { throwIfNoEntry: false });
    const finishedAtMs = exitMark?.mtimeMs ?? this.#clock.nowMs();
    const times = { startedAtMs: this.#startedAtMs ?? finishedAtMs, finishedAtMs };
    if (exitCode === undefined) {
      return { exitCode: 137, reason: "ContainerStatusUnknown", message: "The container's supervisor was killed; its exit code is not known", ...times };
    }
    const failure = readText(join(this.directory, "failure"))?.trim();
    if (failure !== undefined && failure !== "") return { exitCode: 128, reason: "StartError", message: failure, ...times };
    if (this.#startedAtMs === undefined) {
      const complaint = readText(join(this.directory, "setup.log"))?.trim() ?? "";
      return { exitCode: 128, reason: "StartError", message: complaint === "" ? "the container's root could not be set up" : complaint, ...times };
    }
    const override = exitCode === 128 + 9 ? readText(join(this.directory, "exit-override")) : undefined;
    const code = override === undefined ? exitCode : Number(override);
    const oom = code === 128 + 9 && this.record.memoryGroup !== undefined && outOfMemoryKills(this.record.memoryGroup) > 0;
    const written = readEnd(join(this.directory, "termination-log"), TERMINATION_MESSAGE_BYTES_MAX);
    const message = written === "" && code !== 0 && this.record.messageFromLog === true ? logEnd(this.record.logPath) : written;
    return { exitCode: code, reason: oom ? "OOMKilled" : code === 0 ? "Completed" : "Error", ...(message === "" ? {} : { message }), ...times };
  }

  #until(condition: () => boolean): Promise<void> {
    if (condition()) return Promise.resolve();
    return new Promise((resolve) => {
      const check = (): void => {
        if (!condition()) return;
        this.#waiters.delete(check);
        resolve();
      };
      this.#waiters.add(check);
    });
  }

  #changed(): void {
    for (const waiter of [...this.#waiters]) waiter();
    this.#onChange();
  }
}

export interface ContainerRuntimeOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  /** Whether pods run in user namespaces because this process is not root. */
  readonly rootless: boolean;
}

export class ContainerRuntime {
  readonly #options: ContainerRuntimeOptions;

  constructor(options: ContainerRuntimeOptions) {
    this.#options = options;
  }

  /** Starts a container in `directory`, which must not exist. Resolves once its supervisor runs; await `started()` of the result for the command. */
  async start(directory: string, launch: ContainerLaunch, logPath: string, onChange: () => void): Promise<RunningContainer> {
    if (existsSync(directory)) throw new DrayError("INVARIANT", `Cannot start container "${launch.identity.container}": "${directory}" exists already`);
    const { clock, rootless } = this.#options;
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    writeFileSync(join(directory, "termination-log"), "");
    chmodSync(join(directory, "termination-log"), 0o666);
    const plan = planSandbox({
      directory,
      mounts: [...launch.mounts, { source: join(directory, "termination-log"), target: launch.terminationMessagePath, readOnly: false }],
    });
    makeEntries(plan.entries);
    mkdirSync(join(plan.root, ".old"));
    const { limitBytes, group } = this.#memoryLimit(launch);
    const script = {
      directory,
      root: plan.root,
      steps: plan.steps,
      hostname: launch.hostname,
      environment: launch.environment,
      workingDir: launch.workingDir,
      command: launch.command,
      rootless,
      stdin: launch.stdin === true,
      tty: launch.tty === true,
      ...(launch.user === undefined ? {} : { user: launch.user }),
      ...(group === undefined ? {} : { cgroupProcs: group.procs }),
    };
    writeFileSync(join(directory, "assemble.sh"), assembleScript(script), { mode: 0o600 });
    writeFileSync(join(directory, "supervise.sh"), superviseScript(script), { mode: 0o600 });
    // Writable for all, because a container that runs as another user may open /dev/stdout anew.
    const pipes = ["stdout.fifo", "stderr.fifo", ...(launch.stdin === true ? INPUT_PIPES : [])];
    await promisify(execFile)("mkfifo", ["-m", "0666", ...pipes.map((name) => join(directory, name))]);
    if (limitBytes !== undefined && group === undefined) this.#options.logger.warn("memory limit is not enforced", { container: launch.identity.container });
    const child = spawnSupervisor(directory);
    const supervisor = child.pid === undefined ? undefined : identifyProcess(child.pid);
    if (supervisor === undefined) throw new DrayError("NOT_PERMITTED", `Cannot start container "${launch.identity.container}": its supervisor did not start`);
    const record: ContainerRecord = {
      identity: launch.identity,
      id: launch.id,
      image: launch.image,
      logPath,
      environment: launch.environment,
      workingDir: launch.workingDir,
      supervisor,
      ...(launch.user === undefined ? {} : { user: launch.user }),
      ...(group === undefined ? {} : { memoryGroup: group.folder }),
      ...(launch.messageFromLog === true ? { messageFromLog: true } : {}),
      ...(launch.stdin === true ? { hasInput: true } : {}),
    };
    writeJson(join(directory, "container.json"), record);
    return new RunningContainer(directory, record, clock, onChange);
  }

  /** Takes over a container that an earlier kubelet started; undefined when the folder holds none that got as far as a supervisor. */
  adopt(directory: string, onChange: () => void): RunningContainer | undefined {
    const record = readJson<ContainerRecord>(join(directory, "container.json"));
    return record === undefined ? undefined : new RunningContainer(directory, record, this.#options.clock, onChange);
  }

  /** Removes a container that has finished (or never got a supervisor). */
  remove(directory: string): void {
    const record = readJson<ContainerRecord>(join(directory, "container.json"));
    if (record !== undefined) {
      signalProcess(record.supervisor, "SIGKILL", { group: true });
      if (record.memoryGroup !== undefined) removeMemoryLimit(record.memoryGroup);
    }
    rmSync(directory, { recursive: true, force: true });
  }

  #memoryLimit(launch: ContainerLaunch): { limitBytes?: number; group?: { folder: string; procs: string } } {
    if (launch.memoryLimitBytes === undefined) return {};
    const group = this.#options.rootless ? undefined : createMemoryLimit(launch.id, launch.memoryLimitBytes);
    return { limitBytes: launch.memoryLimitBytes, ...(group === undefined ? {} : { group }) };
  }
}

/** A process group of its own, without the kubelet's environment or descriptors; it goes on when the kubelet ends. */
function spawnSupervisor(directory: string): ChildProcess {
  const child = spawn("/bin/sh", [join(directory, "supervise.sh")], {
    cwd: directory,
    detached: true,
    stdio: "ignore",
    env: { PATH: "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" },
  });
  child.on("error", () => undefined);
  child.unref();
  return child;
}

/** Opened for both directions, so that it never reports an end while a container may still come, and never waits. */
function openPipe(path: string): number {
  return openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
}

function drain(fd: number, take: (chunk: Buffer) => void): void {
  const block = Buffer.alloc(DRAIN_BLOCK_BYTES);
  for (;;) {
    let length: number;
    try {
      length = readSync(fd, block);
    } catch {
      // EAGAIN: empty.
      return;
    }
    if (length === 0) return;
    take(Buffer.from(block.subarray(0, length)));
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}

function readEnd(path: string, bytesMax: number): string {
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch {
    return "";
  }
  try {
    const size = fstatSync(fd).size;
    const bytes = Buffer.alloc(Math.min(size, bytesMax));
    return bytes.toString("utf8", 0, readSync(fd, bytes, 0, bytes.length, size - bytes.length));
  } finally {
    closeSync(fd);
  }
}

/** The text of the last lines of a log, within what a message from a log may hold. */
function logEnd(path: string): string {
  return readEnd(path, 2 * LOG_MESSAGE_BYTES_MAX)
    .split("\n")
    .slice(1 - LOG_MESSAGE_LINES_MAX)
    .map((line) => line.split(" ").slice(3).join(" "))
    .join("\n")
    .slice(-LOG_MESSAGE_BYTES_MAX);
}

function readJson<T>(path: string): T | undefined {
  const text = readText(path);
  // A torn file is that of a write that was cut off: the same as none.
  try {
    return text === undefined ? undefined : (JSON.parse(text) as T);
  } catch {
    return undefined;
  }
}

function writeJson(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, JSON.stringify(value), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}
