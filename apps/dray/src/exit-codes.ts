/** How errors and results become exit codes and text: one table, the same for every command (docs/cli.md). */
import { type Code, hasCode, isAbort, isDrayError, messageOf } from "@drayage/base";

export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  partiallyFailed: 3,
  notFound: 4,
  accessDenied: 5,
  timedOut: 124,
  interrupted: 130,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** What each of them says, for docs/cli.md. */
export const EXIT_MEANINGS: Readonly<Record<keyof typeof EXIT, string>> = {
  ok: "it worked",
  failed: "it failed; also a backup, a restore, a verification or a demo that ended badly",
  usage: "the command line cannot be understood",
  partiallyFailed: "a backup or a restore ended PartiallyFailed, a snapshot left files out: the rest is kept",
  notFound: "what was asked for is not there",
  accessDenied: "wrong password, or no permission",
  timedOut: "it took longer than it may",
  interrupted: "ended by Ctrl-C or SIGTERM",
};

/** Error codes with an exit code of their own; every other one is `failed`. */
export const EXIT_OF_CODE: Readonly<Partial<Record<Code, ExitCode>>> = {
  USAGE: EXIT.usage,
  TIMED_OUT: EXIT.timedOut,
  BLOB_NOT_FOUND: EXIT.notFound,
  BLOB_BUCKET_NOT_FOUND: EXIT.notFound,
  REPO_NOT_FOUND: EXIT.notFound,
  REPO_MANIFEST_NOT_FOUND: EXIT.notFound,
  PATH_NOT_FOUND: EXIT.notFound,
  KUBE_NOT_FOUND: EXIT.notFound,
  BACKUP_NOT_FOUND: EXIT.notFound,
  REPO_WRONG_PASSWORD: EXIT.accessDenied,
  BLOB_ACCESS_DENIED: EXIT.accessDenied,
  KUBE_FORBIDDEN: EXIT.accessDenied,
  KUBE_UNAUTHORIZED: EXIT.accessDenied,
  NOT_PERMITTED: EXIT.accessDenied,
};

export function exitCodeOf(error: unknown, signal?: AbortSignal): ExitCode {
  if (isAbort(error, signal)) return EXIT.interrupted;
  return isDrayError(error) ? (EXIT_OF_CODE[error.code] ?? EXIT.failed) : EXIT.failed;
}

/** The text of a failure: what happened, what to do next, and where it came from when `debug` is on. */
export function renderError(error: unknown, options: { readonly debug?: boolean; readonly signal?: AbortSignal } = {}): string {
  if (isAbort(error, options.signal)) return "dray: interrupted\n";
  const lines = [`dray: ${messageOf(error)}`];
  if (isDrayError(error)) {
    const cause = error.cause === undefined ? undefined : messageOf(error.cause).split("\n", 1)[0]?.trim();
    if (cause !== undefined && cause !== "" && !error.message.includes(cause)) lines.push(`  because: ${cause}`);
    if (error.hint !== undefined) lines.push(`  hint: ${error.hint}`);
  }
  if (!isDrayError(error) || hasCode(error, "INVARIANT"))
    lines.push("  This is a defect of Drayage; please report it with the output of the same command with --debug.");
  if (options.debug === true && error instanceof Error && error.stack !== undefined) lines.push(error.stack);
  return `${lines.join("\n")}\n`;
}
