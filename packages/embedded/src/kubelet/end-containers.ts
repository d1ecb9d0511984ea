/** Ends the containers of a node whose kubelet does not run, from what it left on disk. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "@drayage/base";
import { type ContainerRecord, MAIN_PROCESS } from "./container-runtime.ts";
import { removeMemoryLimit } from "./memory-limit.ts";
import { isRunning, minds, type ProcessIdentity, signalProcess } from "./process-identity.ts";

const SIGTERM = 15;
const SETTLE_MS = 5_000;

/** TERM to programs that mind it, KILL to what is left after the grace. Returns how many containers ran. */
export async function endContainers(kubeletDirectory: string, options: { readonly clock: Clock; readonly graceMs: number }): Promise<number> {
  const { clock, graceMs } = options;
  const running = containersIn(kubeletDirectory).filter(({ record, main }) => isRunning(record.supervisor) || (main !== undefined && isRunning(main)));
  const polite = running.flatMap(({ main }) => (main !== undefined && minds(main.pid, SIGTERM) ? [main] : []));
  for (const main of polite) signalProcess(main, "SIGTERM");
  await untilAllGone(polite, clock, graceMs);
  for (const { record, main } of running) {
    if (main !== undefined) signalProcess(main, "SIGKILL");
    signalProcess(record.supervisor, "SIGKILL", { group: true });
  }
  await untilAllGone(
    running.flatMap(({ record, main }) => (main === undefined ? [record.supervisor] : [main, record.supervisor])),
    clock,
    SETTLE_MS,
  );
  for (const { record } of running) if (record.memoryGroup !== undefined) removeMemoryLimit(record.memoryGroup);
  return running.length;
}

async function untilAllGone(all: readonly ProcessIdentity[], clock: Clock, limitMs: number): Promise<void> {
  const deadlineMs = clock.monotonicMs() + limitMs;
  for (let waitMs = 5; all.some(isRunning) && clock.monotonicMs() < deadlineMs; waitMs = Math.min(waitMs * 2, 100)) await clock.sleep(waitMs);
}

function containersIn(kubeletDirectory: string): { readonly record: ContainerRecord; readonly main: ProcessIdentity | undefined }[] {
  const list = (folder: string): string[] => (existsSync(folder) ? readdirSync(folder).map((name) => join(folder, name)) : []);
  return list(join(kubeletDirectory, "pods"))
    .flatMap((pod) => list(join(pod, "containers")))
    .flatMap(list)
    .flatMap((folder) => {
      try {
        const record = JSON.parse(readFileSync(join(folder, "container.json"), "utf8")) as ContainerRecord;
        if (existsSync(join(folder, "result.json"))) return [];
        return [{ record, main: mainOf(folder) }];
      } catch {
        return [];
      }
    });
}

function mainOf(folder: string): ProcessIdentity | undefined {
  try {
    return JSON.parse(readFileSync(join(folder, MAIN_PROCESS), "utf8")) as ProcessIdentity;
  } catch {
    // It never got that far, and dies with its supervisor.
    return undefined;
  }
}
