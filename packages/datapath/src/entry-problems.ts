/** What went wrong with single entries of a volume: data of the result, not exceptions, so that one unreadable file does not cost the rest. */
import { type Code, type DrayError, hasCode, isDrayError, messageOf } from "@drayage/base";
import { textOfByteString } from "@drayage/repo";

export interface EntryProblem {
  /** Below the root, as text. */
  readonly path: string;
  readonly message: string;
  readonly code?: Code;
}

/** A problem list keeps so many; all are counted. */
const KEPT_MAX = 1000;

export class ProblemList {
  readonly #kept: EntryProblem[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** The first ones. */
  get kept(): readonly EntryProblem[] {
    return this.#kept;
  }

  /** @param path - byte string below the root */
  add(path: string, problem: unknown): EntryProblem {
    const entry: EntryProblem = {
      path: textOfByteString(path),
      message: typeof problem === "string" ? problem : messageOf(problem),
      ...(isDrayError(problem) ? { code: problem.code } : {}),
    };
    this.#count++;
    if (this.#kept.length < KEPT_MAX) this.#kept.push(entry);
    return entry;
  }
}

/** Whether an error is one of a path on the volume, after which the rest can go on; what the repository or the store throws is not. */
export function isPathProblem(error: unknown): error is DrayError {
  return hasCode(error, "PATH_NOT_FOUND", "PATH_IO", "PATH_NO_SPACE", "PATH_ESCAPES_TARGET", "NOT_PERMITTED");
}
