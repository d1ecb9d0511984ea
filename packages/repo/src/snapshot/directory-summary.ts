/**
 * What lies below a directory, itself included (kopia-format.md 7.5): `summary` of a listing, and `summ` of the entry that names it.
 *
 *   {"size":408022,"files":7,"symlinks":1,"dirs":4,"maxTime":"…","incomplete":"checkpoint","numFailed":0,"numIgnoredErrors":1,"errors":[{"path":"…","error":"…"}]}
 *
 * `incomplete`, `numIgnoredErrors` and `errors` are left out when empty. `size` counts the bytes of files, not of link targets.
 */
import { DrayError } from "@drayage/base";
import { isMembers } from "../object/entry-document.ts";
import { goJsonString, goTime, parseGoTime } from "./go-text.ts";

export interface FailedEntry {
  /** Below the root of the snapshot. */
  readonly path: string;
  readonly error: string;
}

export interface DirectorySummary {
  /** Bytes of all files. */
  readonly size: number;
  readonly files: number;
  readonly symlinks: number;
  readonly directories: number;
  readonly maxTimeNs: bigint;
  /** Why not everything is there: `checkpoint`, `canceled`, `limit reached`. */
  readonly incomplete?: string;
  readonly failed: number;
  readonly ignoredErrors: number;
  /** At most FAILED_MAX. */
  readonly errors: readonly FailedEntry[];
}

const FAILED_MAX = 10;

export function encodeSummary(summary: DirectorySummary): string {
  let text = `{"size":${summary.size},"files":${summary.files},"symlinks":${summary.symlinks},"dirs":${summary.directories},"maxTime":"${goTime(summary.maxTimeNs)}"`;
  if (summary.incomplete !== undefined) text += `,"incomplete":${goJsonString(summary.incomplete)}`;
  text += `,"numFailed":${summary.failed}`;
  if (summary.ignoredErrors !== 0) text += `,"numIgnoredErrors":${summary.ignoredErrors}`;
  if (summary.errors.length > 0) {
    text += `,"errors":[${summary.errors.map(({ path, error }) => `{"path":${goJsonString(path)},"error":${goJsonString(error)}}`)}]`;
  }
  return `${text}}`;
}

/** Throws REPO_CORRUPT. */
export function decodeSummary(value: unknown, what: string): DirectorySummary {
  const members = isMembers(value) ? value : {};
  const { size = 0, files = 0, symlinks = 0, dirs = 0, maxTime, incomplete, numFailed = 0, numIgnoredErrors = 0, errors } = members;
  const counts = [size, files, symlinks, dirs, numFailed, numIgnoredErrors];
  if (!isMembers(value) || !counts.every((count) => typeof count === "number" && Number.isFinite(count))) {
    throw new DrayError("REPO_CORRUPT", `Cannot read ${what}: ${JSON.stringify(value)?.slice(0, 300)} is not a summary`);
  }
  return {
    size: size as number,
    files: files as number,
    symlinks: symlinks as number,
    directories: dirs as number,
    maxTimeNs: maxTime === undefined ? 0n : parseGoTime(maxTime),
    ...(typeof incomplete === "string" && incomplete !== "" ? { incomplete } : {}),
    failed: numFailed as number,
    ignoredErrors: numIgnoredErrors as number,
    errors: Array.isArray(errors) ? errors.filter(isFailedEntry).slice(0, FAILED_MAX) : [],
  };
}

/** Adds up what a directory holds. */
export class SummaryBuilder {
  #size = 0;
  #files = 0;
  #symlinks = 0;
  #directories = 1;
  #maxTimeNs: bigint | undefined;
  #incomplete: string | undefined;
  #failed = 0;
  #ignoredErrors = 0;
  #errors: FailedEntry[] = [];

  /** A copy to go on with, for a checkpoint. */
  clone(): SummaryBuilder {
    const copy = new SummaryBuilder();
    copy.#size = this.#size;
    copy.#files = this.#files;
    copy.#symlinks = this.#symlinks;
    copy.#directories = this.#directories;
    copy.#maxTimeNs = this.#maxTimeNs;
    copy.#incomplete = this.#incomplete;
    copy.#failed = this.#failed;
    copy.#ignoredErrors = this.#ignoredErrors;
    copy.#errors = [...this.#errors];
    return copy;
  }

  addFile(size: number, mtimeNs: bigint): void {
    this.#files++;
    this.#size += size;
    this.#seen(mtimeNs);
  }

  /** Many files at once; `maxTimeNs` is the latest of theirs. */
  addFiles(files: number, size: number, maxTimeNs: bigint): void {
    this.#files += files;
    this.#size += size;
    this.#seen(maxTimeNs);
  }

  addSymlink(mtimeNs: bigint): void {
    this.#symlinks++;
    this.#seen(mtimeNs);
  }

  addDirectory(mtimeNs: bigint, below: DirectorySummary): void {
    this.#size += below.size;
    this.#files += below.files;
    this.#symlinks += below.symlinks;
    this.#directories += below.directories;
    this.#failed += below.failed;
    this.#ignoredErrors += below.ignoredErrors;
    this.#incomplete ??= below.incomplete;
    this.#errors = [...this.#errors, ...below.errors].slice(0, FAILED_MAX);
    this.#seen(mtimeNs);
    this.#seen(below.maxTimeNs);
  }

  addFailure(failure: FailedEntry, ignored = false): void {
    if (ignored) this.#ignoredErrors++;
    else this.#failed++;
    if (this.#errors.length < FAILED_MAX) this.#errors.push(failure);
  }

  markIncomplete(why: string): void {
    this.#incomplete = why;
  }

  /** @param ownMtimeNs - of the directory itself, which counts only when nothing is in it */
  build(ownMtimeNs: bigint): DirectorySummary {
    return {
      size: this.#size,
      files: this.#files,
      symlinks: this.#symlinks,
      directories: this.#directories,
      maxTimeNs: this.#maxTimeNs ?? ownMtimeNs,
      ...(this.#incomplete === undefined ? {} : { incomplete: this.#incomplete }),
      failed: this.#failed,
      ignoredErrors: this.#ignoredErrors,
      errors: this.#errors,
    };
  }

  #seen(timeNs: bigint): void {
    if (this.#maxTimeNs === undefined || timeNs > this.#maxTimeNs) this.#maxTimeNs = timeNs;
  }
}

function isFailedEntry(value: unknown): value is FailedEntry {
  return isMembers(value) && typeof value["path"] === "string" && typeof value["error"] === "string";
}
