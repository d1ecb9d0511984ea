/**
 * What a mover's pod is told and what it tells, for movers in any language (docs/guides/write-a-mover.md).
 *
 *   argv      <command> describe | backup | restore | delete
 *   told by   the JSON file that DRAYAGE_MOVER_REQUEST names; volumes and credentials are mounted where it says
 *   tells by  Events about its object (reason Data-Path-Progress) while it works, the termination message at its end, and the exit code
 *   cancel    SIGTERM; SIGKILL after the grace period
 */
import { DATA_PATH_CANCELED, TERMINATION_MESSAGE_BYTES_MAX } from "@drayage/api";
import { DrayError, utf8 } from "@drayage/base";
import type { BackupResult, MovedData, MoverParameters, MoverSource } from "./data-mover.ts";

export type MoverOperation = "backup" | "restore" | "delete";

/** Names of variables of the pod. */
export const MOVER_ENV = {
  /** The file with the request. */
  request: "DRAYAGE_MOVER_REQUEST",
  /** A folder on local disk, empty at the start. */
  workspace: "DRAYAGE_MOVER_WORKSPACE",
  /** The file that takes the result; `/dev/termination-log` in a pod. */
  result: "DRAYAGE_MOVER_RESULT",
} as const;

/** Where the request is mounted, and the key of the Secret that holds it. */
export const MOVER_REQUEST_KEY = "request.json";

/** 0: done, and the message is a result. 2: the request cannot be carried out as it is. Anything else: it failed. */
export const MOVER_EXIT = { ok: 0, failed: 1, invalid: 2, canceled: 143 } as const;

/** After SIGTERM a mover has this long. */
export const MOVER_GRACE_SECONDS = 10;

/** The contents of the request's file. */
export interface MoverRequest {
  readonly schema: 1;
  readonly operation: MoverOperation;
  readonly mover: string;
  /** Of the move; the same when it is repeated. */
  readonly id: string;
  readonly source: MoverSource;
  readonly parameters: MoverParameters;
  /** `prefix` begins every key that the mover may use in the location, and ends in a slash. `credentials` is the folder with location.json, cloud, ca.crt. */
  readonly target: { readonly kind: string; readonly name: string; readonly prefix: string; readonly credentials: string };
  /** On the way back, and at the deletion of what had been moved. */
  readonly moved?: MovedData;
  /** The object that Events are written about. */
  readonly about: { readonly apiVersion: string; readonly kind: string; readonly namespace: string; readonly name: string; readonly uid: string };
}

/** Where the data of a mover lies in a backup location. `plugins/` is the one folder of Velero's layout that is free for others. */
export function moverPrefix(mover: string): string {
  return `plugins/drayage-movers/${mover}/`;
}

const OPERATIONS: readonly unknown[] = ["backup", "restore", "delete"];

/** The request in a file's text. Throws VALIDATION_FAILED. */
export function parseMoverRequest(text: string): MoverRequest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw new DrayError("VALIDATION_FAILED", "Cannot read the mover's request: it is not JSON", { cause });
  }
  const request = (value ?? {}) as Partial<MoverRequest>;
  const isWhole =
    OPERATIONS.includes(request.operation) &&
    typeof request.id === "string" &&
    typeof request.source === "object" &&
    typeof request.target === "object" &&
    typeof request.parameters === "object";
  if (request.schema !== 1 || !isWhole)
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot read the mover's request: schema ${String(request.schema)} is not known, or a part is missing; schema 1 is wanted`,
    );
  return request as MoverRequest;
}

/** The result of a backup as a termination message. Throws VALIDATION_FAILED when it is too long, or is none. */
export function formatBackupResult(result: BackupResult): string {
  const { snapshotId, totalBytes, incrementalBytes, result: facts } = result;
  const text = JSON.stringify({ snapshotID: snapshotId, totalBytes, incrementalBytes, result: facts });
  if (utf8(text).length > TERMINATION_MESSAGE_BYTES_MAX)
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot tell the result of the mover: it has ${utf8(text).length} bytes, at most ${TERMINATION_MESSAGE_BYTES_MAX} are kept`,
    );
  if (parseMoverResult(text) === undefined)
    throw new DrayError("VALIDATION_FAILED", "Cannot tell the result of the mover: snapshotId, a text, and totalBytes, a whole number, are wanted");
  return text;
}

/** The failure of a mover as a termination message. Of a message that is too long the beginning is kept; a cancellation has a text of its own. */
export function formatFailure(message: string, canceled: boolean): string {
  const text = canceled ? DATA_PATH_CANCELED : message;
  const bytes = utf8(text);
  return bytes.length <= TERMINATION_MESSAGE_BYTES_MAX ? text : `${text.slice(0, TERMINATION_MESSAGE_BYTES_MAX / 4)}…`;
}

/** The result of a backup in a termination message, or undefined when it is not one. */
export function parseMoverResult(text: string): BackupResult | undefined {
  const value = objectIn(text);
  const id = value?.["snapshotID"];
  const totalBytes = count(value?.["totalBytes"]);
  const incrementalBytes = count(value?.["incrementalBytes"]);
  const facts = value?.["result"] ?? {};
  if (typeof id !== "string" || id === "" || totalBytes === undefined || incrementalBytes === undefined) return undefined;
  if (typeof facts !== "object" || Array.isArray(facts) || Object.values(facts).some((fact) => typeof fact !== "string")) return undefined;
  return { snapshotId: id, totalBytes, ...(value?.["incrementalBytes"] === undefined ? {} : { incrementalBytes }), result: facts as Record<string, string> };
}

/** The result of a restore or a deletion, which have little to tell: `{}` is one. */
export function parseMoverEnd(text: string): { readonly totalBytes: number } | undefined {
  const value = objectIn(text);
  const totalBytes = count(value?.["totalBytes"]);
  return value === undefined || totalBytes === undefined ? undefined : { totalBytes };
}

function objectIn(text: string): Readonly<Record<string, unknown>> | undefined {
  if (text.length > TERMINATION_MESSAGE_BYTES_MAX) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** A count of bytes; a missing one is 0. */
function count(value: unknown): number | undefined {
  if (value === undefined) return 0;
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : undefined;
}
