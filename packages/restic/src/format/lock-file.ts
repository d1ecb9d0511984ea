/** Lock files: who works on the repository. A client that lives renews its lock every five minutes (restic: internal/restic/lock.go). */
import { fromUtf8 } from "@drayage/base";
import { parseCount, parseMembers, parseText } from "./json.ts";
import { parseTime } from "./time.ts";

/** restic itself takes a lock that is older for one whose owner is gone. */
export const LOCK_STALE_AFTER_MS: number = 30 * 60_000;

export interface ResticLock {
  readonly id: string;
  readonly timeNs: bigint;
  /** Held by what removes data: prune, rewriting of keys. */
  readonly exclusive: boolean;
  readonly hostName: string;
  readonly userName: string;
  readonly pid: number;
}

/** Throws REPO_CORRUPT. */
export function decodeLock(json: Uint8Array, id: string, what: string): ResticLock {
  const members = parseMembers(fromUtf8(json), what);
  return {
    id,
    timeNs: parseTime(members["time"], "time", what),
    exclusive: members["exclusive"] === true,
    hostName: parseText(members["hostname"], "hostname", what),
    userName: parseText(members["username"], "username", what),
    pid: parseCount(members["pid"], "pid", what),
  };
}

/** Whether its owner has not renewed it for so long that restic would remove it. */
export function isStaleLock(lock: ResticLock, nowMs: number): boolean {
  return nowMs - Number(lock.timeNs / 1_000_000n) > LOCK_STALE_AFTER_MS;
}
