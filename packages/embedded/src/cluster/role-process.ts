/**
 * The processes of a cluster: started detached in a process group of their own, found again by pid and start time, ended by exactly that.
 *
 * Each has two files in `run/`: `ROLE.json`, written by who starts it, says which process it is; `ROLE.state.json`, written by the process itself, says how it is.
 */
import { spawn } from "node:child_process";
import { closeSync, existsSync, mkdirSync, openSync, readdirSync, readFileSync, rmSync, watch } from "node:fs";
import { basename, dirname, join } from "node:path";
import { type Clock, DrayError, messageOf } from "@drayage/base";
import { identifyProcess, isRunning, type ProcessIdentity, signalProcess } from "../kubelet/process-identity.ts";
import { type ClusterDirectory, writeFileAtomically } from "./cluster-directory.ts";

/** How a role's process is started: `[process.execPath, "main.ts", "embedded", "node", …]`. */
export interface RoleCommand {
  readonly command: string;
  readonly args: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

export type RoleState =
  | { readonly state: "starting" }
  | { readonly state: "ready"; readonly facts: Readonly<Record<string, string | number>> }
  | { readonly state: "failed"; readonly message: string; readonly hint?: string };

const POLL_MS = 200;
const LOG_LINES = 5;

/** Starts a role unless it runs already. */
export function startRole(directory: ClusterDirectory, role: string, command: RoleCommand): ProcessIdentity {
  const known = findRole(directory, role);
  if (known !== undefined) return known;
  mkdirSync(directory.runFolder, { recursive: true, mode: 0o700 });
  mkdirSync(dirname(directory.log(role)), { recursive: true, mode: 0o700 });
  rmSync(statePath(directory, role), { force: true });
  const log = openSync(directory.log(role), "a", 0o600);
  const child = spawn(command.command, command.args, { detached: true, stdio: ["ignore", log, log], env: { ...command.env }, cwd: directory.path });
  closeSync(log);
  child.on("error", () => undefined);
  child.unref();
  const identity = child.pid === undefined ? undefined : identifyProcess(child.pid);
  if (identity === undefined) throw new DrayError("NOT_PERMITTED", `Cannot start "${role}": "${command.command}" did not start`);
  writeFileAtomically(identityPath(directory, role), JSON.stringify(identity));
  return identity;
}

/** The process of a role, if it runs. */
export function findRole(directory: ClusterDirectory, role: string): ProcessIdentity | undefined {
  const identity = readJson<ProcessIdentity>(identityPath(directory, role));
  return identity !== undefined && isRunning(identity) ? identity : undefined;
}

/** Every role that was ever started here and not ended. */
export function rolesOf(directory: ClusterDirectory): string[] {
  if (!existsSync(directory.runFolder)) return [];
  return readdirSync(directory.runFolder)
    .filter((name) => name.endsWith(".json") && !name.endsWith(".state.json"))
    .map((name) => basename(name, ".json"))
    .sort();
}

/** What the role's process says of itself. One that has ended without a word has failed. */
export function roleState(directory: ClusterDirectory, role: string): RoleState {
  const said = readJson<RoleState>(statePath(directory, role)) ?? { state: "starting" };
  if (said.state === "failed" || findRole(directory, role) !== undefined) return said;
  return { state: "failed", message: `its process has ended${logEnd(directory, role)}` };
}

/** Called by the role's process. */
export function reportState(directory: ClusterDirectory, role: string, state: RoleState): void {
  mkdirSync(directory.runFolder, { recursive: true, mode: 0o700 });
  writeFileAtomically(statePath(directory, role), JSON.stringify(state));
}

/** Waits until every role is ready; throws what the first of them fails with, or TIMED_OUT naming those that are not ready. */
export async function awaitRoles(
  directory: ClusterDirectory,
  roles: readonly string[],
  options: {
    readonly clock: Clock;
    readonly timeoutMs: number;
    readonly signal?: AbortSignal;
    /** Starts a role that has ended anew and returns true; false when it must not be. */
    readonly revive?: (role: string) => boolean;
  },
): Promise<Map<string, Readonly<Record<string, string | number>>>> {
  const { clock, timeoutMs, signal } = options;
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  const changes = new ChangeSignal(directory.runFolder);
  try {
    for (;;) {
      signal?.throwIfAborted();
      const changed = changes.next();
      const states = roles.map((role) => [role, stateOrRevived(directory, role, options.revive)] as const);
      for (const [role, state] of states) if (state.state === "failed") throw failure(directory, role, state);
      const starting = states.filter(([, state]) => state.state === "starting").map(([role]) => role);
      if (starting.length === 0) return new Map(states.map(([role, state]) => [role, state.state === "ready" ? state.facts : {}]));
      const leftMs = deadlineMs - clock.monotonicMs();
      if (leftMs <= 0) {
        throw new DrayError(
          "TIMED_OUT",
          `Cannot start the cluster in "${directory.path}": ${starting.join(", ")} not ready after ${Math.round(timeoutMs / 1000)} s`,
          {
            hint: `Look into ${starting.map((role) => directory.log(role)).join(", ")}.`,
          },
        );
      }
      // The files say when; the look now and then finds a process that died without writing.
      const ending = new AbortController();
      const aborts = signal === undefined ? ending.signal : AbortSignal.any([ending.signal, signal]);
      await Promise.race([changed, clock.sleep(Math.min(POLL_MS, leftMs), aborts).catch(() => undefined)]);
      ending.abort();
    }
  } finally {
    changes.close();
  }
}

function stateOrRevived(directory: ClusterDirectory, role: string, revive: ((role: string) => boolean) | undefined): RoleState {
  const state = roleState(directory, role);
  if (state.state !== "failed" || findRole(directory, role) !== undefined || revive?.(role) !== true) return state;
  return { state: "starting" };
}

/** Ends a role: TERM to its process, KILL to its group when it is still there after the grace. Returns whether it ran. */
export async function stopRole(directory: ClusterDirectory, role: string, options: { readonly clock: Clock; readonly graceMs: number }): Promise<boolean> {
  const identity = findRole(directory, role);
  if (identity !== undefined) {
    signalProcess(identity, "SIGTERM");
    await untilGone(identity, options.clock, options.graceMs);
    if (signalProcess(identity, "SIGKILL", { group: true })) await untilGone(identity, options.clock, options.graceMs);
  }
  rmSync(identityPath(directory, role), { force: true });
  rmSync(statePath(directory, role), { force: true });
  return identity !== undefined;
}

/** Resolves when a role is asked to end. */
export function untilAborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}

export async function untilGone(identity: ProcessIdentity, clock: Clock, limitMs: number): Promise<void> {
  const deadlineMs = clock.monotonicMs() + limitMs;
  for (let waitMs = 5; isRunning(identity) && clock.monotonicMs() < deadlineMs; waitMs = Math.min(waitMs * 2, 100)) await clock.sleep(waitMs);
}

function failure(directory: ClusterDirectory, role: string, state: RoleState & { readonly state: "failed" }): DrayError {
  return new DrayError("KUBE_UNAVAILABLE", `Cannot start the cluster in "${directory.path}": ${role}: ${state.message}`, {
    hint: state.hint ?? `Look into ${directory.log(role)}.`,
  });
}

/** The last lines of a log, for a message. */
function logEnd(directory: ClusterDirectory, role: string): string {
  try {
    const lines = readFileSync(directory.log(role), "utf8").trim().split("\n").slice(-LOG_LINES).join(" | ");
    return lines === "" ? "" : `: ${lines}`;
  } catch (error) {
    return `: ${messageOf(error)}`;
  }
}

function identityPath(directory: ClusterDirectory, role: string): string {
  return join(directory.runFolder, `${role}.json`);
}

function statePath(directory: ClusterDirectory, role: string): string {
  return join(directory.runFolder, `${role}.state.json`);
}

function readJson<T>(path: string): T | undefined {
  try {
    return JSON.parse(readFileSync(path, "utf8")) as T;
  } catch {
    return undefined;
  }
}

/** Resolves promises when something in a folder changes. */
export class ChangeSignal {
  readonly #watcher;
  #pending = Promise.withResolvers<void>();

  constructor(folder: string) {
    this.#watcher = watch(folder, () => {
      this.#pending.resolve();
      this.#pending = Promise.withResolvers<void>();
    });
    this.#watcher.on("error", () => undefined);
  }

  /** The next change after this call. */
  next(): Promise<void> {
    return this.#pending.promise;
  }

  close(): void {
    this.#watcher.close();
  }
}
