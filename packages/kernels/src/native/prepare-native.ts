/**
 * Compiles the native addon, once per machine and version of its source.
 *
 *   find ──► there: ready
 *    └─► compiler? ──► lock (one process compiles, the others wait for its file) ──► compile beside ──► self-test in a process of its own ──► rename
 *
 * Invariant: a file under its final name is complete and has passed its self-test on this machine.
 */
import { execFile, spawn } from "node:child_process";
import { accessSync, chmodSync, constants, existsSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { type Clock, messageOf, systemClock } from "@drayage/base";
import { type AddonPlaces, addonName, addonPlaces, COMPILER_FLAGS, findAddon } from "./addon-file.ts";

export interface PrepareNativeOptions {
  readonly signal?: AbortSignal;
  readonly clock?: Clock;
  /** Other places than those of this package, for tests. */
  readonly places?: AddonPlaces;
}

export interface PreparedNative {
  /** `ready`: it was there. `built`: it was compiled just now, here or by another process. `unavailable`: the portable kernels stay in use. */
  readonly state: "ready" | "built" | "unavailable";
  readonly reason?: string;
}

const COMPILER_ENVIRONMENT = ["PATH", "HOME", "TMPDIR", "XDG_CACHE_HOME", "NODE_COMPILE_CACHE"] as const;
/** A quarter of a minute of work, on a machine that may have much other work. */
const COMPILE_MS_MAX = 300_000;
const POLL_MS = 100;
/** A lock older than any compilation was left behind by a process that was killed. */
const LOCK_MS_MAX = 2 * COMPILE_MS_MAX;

/** Compiles the addon where it is missing and can be. Never fails: what went wrong is the reason of `unavailable`. Rejects with the reason of an aborted signal only. */
export async function prepareNative(options: PrepareNativeOptions = {}): Promise<PreparedNative> {
  const { signal, clock = systemClock, places = addonPlaces() } = options;
  signal?.throwIfAborted();
  if (findAddon(places) !== undefined) return { state: "ready" };
  const name = addonName(places);
  const compiler = findCompiler(places.searchPath);
  if (name === undefined) return unavailable(`its source "${places.source}" is not there`);
  if (compiler === undefined) return unavailable("no C++ compiler (c++) is on PATH");
  if (places.headers === undefined) return unavailable("the package node-api-headers is not installed");
  const folder = places.folders.find(isWritable);
  if (folder === undefined) return unavailable(`none of these folders can be written: ${places.folders.join(", ")}`);
  const target = join(folder, name);
  const lock = `${target}.lock`;
  const deadlineMs = clock.monotonicMs() + COMPILE_MS_MAX;
  while (!takeLock(lock, clock)) {
    await clock.sleep(POLL_MS, signal);
    if (findAddon(places) !== undefined) return { state: "built" };
    if (clock.monotonicMs() > deadlineMs) return unavailable("another process compiles it and does not end");
  }
  try {
    // The holder before us may have ended between our look and our lock.
    if (findAddon(places) !== undefined) return { state: "built" };
    return await compile({ compiler, headers: places.headers, source: places.source, target, signal });
  } finally {
    rmSync(lock, { force: true });
  }
}

/**
 * Starts `prepareNative` in a process of its own that outlives this one, where there is something to compile and something to compile it with. Costs no time here.
 * With `DRAY_KERNELS=portable` nothing is compiled.
 */
export function prepareNativeInBackground(env: NodeJS.ProcessEnv = process.env): void {
  const places = addonPlaces(env);
  if (env["DRAY_KERNELS"] === "portable" || addonName(places) === undefined || findCompiler(places.searchPath) === undefined) return;
  if (findAddon(places) !== undefined) return;
  const child = spawn(process.execPath, [fileURLToPath(new URL("./prepare-native-process.ts", import.meta.url))], {
    detached: true,
    stdio: "ignore",
    // No more of the environment than a compiler needs: it may hold passwords.
    env: Object.fromEntries(COMPILER_ENVIRONMENT.flatMap((key) => (env[key] === undefined ? [] : [[key, env[key]]]))),
  });
  // Its failure is no concern of the command that started it: the portable kernels do the work.
  child.on("error", () => undefined);
  child.unref();
}

interface Compilation {
  readonly compiler: string;
  readonly headers: string;
  readonly source: string;
  readonly target: string;
  readonly signal: AbortSignal | undefined;
}

async function compile({ compiler, headers, source, target, signal }: Compilation): Promise<PreparedNative> {
  const part = `${target}.${process.pid}.node`;
  const limits = { timeout: COMPILE_MS_MAX, killSignal: "SIGKILL", ...(signal === undefined ? {} : { signal }) } as const;
  try {
    await run(compiler, [...COMPILER_FLAGS, "-I", headers, "-o", part, source], limits);
    // In a process of its own: a wrong instruction would end the one that tries it.
    await run(process.execPath, [fileURLToPath(new URL("./check-addon-process.ts", import.meta.url)), part], limits);
    // Not writable for a group, whatever the umask: such a file is not trusted.
    chmodSync(part, 0o755);
    renameSync(part, target);
    return { state: "built" };
  } catch (error) {
    signal?.throwIfAborted();
    return unavailable(`compiling it failed: ${lastLines(error)}`);
  } finally {
    rmSync(part, { force: true });
  }
}

const run = promisify(execFile);

const unavailable = (reason: string): PreparedNative => ({ state: "unavailable", reason: `the native addon is not used: ${reason}` });

/** The end of what a program said, which a reader needs more than the command line that failed. */
function lastLines(error: unknown): string {
  const { stderr, killed } = error as { readonly stderr?: string; readonly killed?: boolean };
  if (killed === true) return `it took longer than ${COMPILE_MS_MAX / 1000} s`;
  const text = stderr === undefined || stderr.trim() === "" ? messageOf(error) : stderr;
  return text.trim().split("\n").slice(-3).join("; ");
}

function findCompiler(searchPath: string): string | undefined {
  return searchPath
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, "c++"))
    .find((path) => isAllowed(path, constants.X_OK));
}

function isWritable(folder: string): boolean {
  try {
    makeFolder(folder);
  } catch {
    // Another process may have made it first; otherwise the look at it says that it cannot be written.
  }
  return isAllowed(folder, constants.W_OK);
}

/** One folder at a time: the recursive form of Node 24 never returns where a file system such as /proc answers ENOENT below a folder that is there. */
function makeFolder(folder: string): void {
  if (existsSync(folder)) return;
  makeFolder(dirname(folder));
  mkdirSync(folder, { mode: 0o755 });
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

/** Whether the lock is ours now. One that is too old is removed; two processes that do so at once compile twice, and the second rename wins. */
function takeLock(lock: string, clock: Clock): boolean {
  try {
    writeFileSync(lock, "", { flag: "wx" });
    return true;
  } catch {
    const there = statSync(lock, { throwIfNoEntry: false });
    if (there !== undefined && clock.nowMs() - there.mtimeMs > LOCK_MS_MAX) rmSync(lock, { force: true });
    // Any other reason than a lock that exists (a full disk, say) shows as a wait that ends at the deadline.
    return false;
  }
}
