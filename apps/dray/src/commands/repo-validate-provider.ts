import { randomHex } from "@drayage/base";
import { RetryingStorage } from "@drayage/blob";
import type { CheckResult } from "@drayage/blob/validation";
import type { Command } from "commander";
import { repositoryUrl } from "../engine/repository-access.ts";
import { formatJson } from "../engine/values.ts";
import { EXIT } from "../exit-codes.ts";
import type { Terminal } from "../terminal.ts";

interface Options {
  readonly quick?: boolean;
  readonly json?: boolean;
}

export function define(command: Command, terminal: Terminal): void {
  command
    .argument("[url]", "the place, as in --repository (DRAY_REPOSITORY)")
    .option("--quick", "leave out what moves megabytes or makes a thousand requests")
    .option("--json", "events and results as JSON, one a line")
    .action((url: string | undefined, options: Options) => validate(url, options, terminal));
}

/** Works below the place, under a name of its own which is removed in the end; what lies at the place is neither read nor written. */
async function validate(given: string | undefined, options: Options, terminal: Terminal): Promise<void> {
  const { clock, random, signal } = terminal;
  const url = repositoryUrl(given === undefined ? {} : { repository: given }, terminal);
  const { openStorageUrl, removeFolderBelow } = await import("@drayage/blob/locations");
  const { validateProvider } = await import("@drayage/blob/validation");
  const below = `drayage-validation-${randomHex(random, 8)}`;
  const storage = new RetryingStorage(await openStorageUrl(url, terminal, { create: true, below, assumeConditionalPut: true }), { clock, random });
  let failed = 0;
  let lacking = 0;
  let passed = 0;
  try {
    if (options.json !== true) terminal.out(`Checking ${storage.description}\n`);
    for await (const result of validateProvider(storage, {
      nowMs: () => clock.nowMs(),
      monotonicMs: () => clock.monotonicMs(),
      signal,
      quick: options.quick === true,
    })) {
      if (result.failure === undefined) passed++;
      else if (result.check.needed) failed++;
      else lacking++;
      terminal.out(options.json === true ? formatJson(eventOf(result)) : linesOf(result));
    }
  } finally {
    await storage.close();
    await removeFolderBelow(url, below);
  }
  const usable = failed === 0;
  if (options.json === true) terminal.out(formatJson({ type: "summary", place: storage.description, usable, passed, failed, lacking }));
  else if (usable)
    terminal.out(`The place can hold repositories: ${passed} guarantees are kept${lacking === 0 ? "" : `, ${lacking} that none depends on is not`}\n`);
  else terminal.out(`The place must not hold repositories: ${failed} of ${passed + failed + lacking} guarantees are not kept\n`);
  if (!usable) terminal.exitCode = EXIT.failed;
}

function eventOf({ check, failure, durationMs }: CheckResult): Readonly<Record<string, unknown>> {
  const seen = failure === undefined ? {} : { seen: failure, meaning: check.otherwise };
  return {
    type: "check",
    name: check.name,
    passed: failure === undefined,
    needed: check.needed,
    guarantee: check.guarantee,
    ...seen,
    durationMs: Math.round(durationMs),
  };
}

function linesOf({ check, failure }: CheckResult): string {
  if (failure === undefined) return `  ok    ${check.guarantee}\n`;
  return `  ${check.needed ? "FAIL" : "no  "}  ${check.guarantee}\n          Seen: ${failure}\n          Means: ${check.otherwise}\n`;
}
