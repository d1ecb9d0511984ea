/** A reporter of vitest that writes what failed outside of every test, as a process that died with its file, to the file named by OUTSIDE_ERRORS: no other report has it. */
import { writeFileSync } from "node:fs";
import type { Reporter } from "vitest/node";

export const OUTSIDE_ERRORS_VARIABLE = "OUTSIDE_ERRORS";

export default class OutsideErrors implements Reporter {
  onTestRunEnd(...[, errors]: Parameters<NonNullable<Reporter["onTestRunEnd"]>>): void {
    const path = process.env[OUTSIDE_ERRORS_VARIABLE];
    if (path === undefined) return;
    writeFileSync(
      path,
      JSON.stringify(errors.map(({ stack, message, cause }) => [stack ?? message, describe(cause)].filter((text) => text !== "").join("\n"))),
    );
  }
}

function describe(cause: unknown): string {
  if (cause === undefined || cause === null) return "";
  const { stack, message } = cause as { readonly stack?: string; readonly message?: string };
  return stack ?? message ?? String(cause);
}
