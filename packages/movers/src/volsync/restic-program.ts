/** The `restic` program as a child of ours: its environment, its end, and the last of what it says. No secret is among its arguments. */
import { spawn } from "node:child_process";
import { type Clock, DrayError, type Logger } from "@drayage/base";

export interface ResticProgramOptions {
  /** A path, or a name that is looked for in PATH. */
  readonly program: string;
  readonly environment: Readonly<Record<string, string>>;
  /** Where it keeps copies of indexes. */
  readonly cache: string;
  readonly customCa?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly signal: AbortSignal;
}

export interface ResticRun {
  readonly code: number;
  /** Both of its outputs, at most the last 64 KiB. */
  readonly output: string;
}

/** Exit codes: restic 0.17 and later say by number what earlier ones said in words. */
export const RESTIC_EXIT = { ok: 0, failed: 1, incomplete: 3, noRepository: 10, locked: 11, wrongPassword: 12 } as const;

const OUTPUT_CHARS_MAX = 64 << 10;
/** Told to end, restic removes its lock first. */
const GRACE_MS = 20_000;

export class ResticProgram {
  readonly #options: ResticProgramOptions;
  #log = "";

  constructor(options: ResticProgramOptions) {
    this.#options = options;
  }

  /** What it has said in all runs so far, the last 64 KiB. */
  get log(): string {
    return this.#log;
  }

  /**
   * Runs it in `folder` and waits for its end, `limitMs` at most where that is given. Throws NOT_SUPPORTED when there is no such program, TIMED_OUT, and what the signal says.
   */
  async run(args: readonly string[], { folder = "/", limitMs }: { readonly folder?: string; readonly limitMs?: number } = {}): Promise<ResticRun> {
    const { program, environment, cache, customCa, clock, logger, signal } = this.#options;
    signal.throwIfAborted();
    const all = ["--cache-dir", cache, ...(customCa === undefined ? [] : ["--cacert", customCa]), ...args];
    logger.info("Running restic", { args: args.join(" ") });
    const child = spawn(program, all, { cwd: folder, env: { ...environment, RESTIC_PROGRESS_FPS: "0.1" }, stdio: ["ignore", "pipe", "pipe"] });
    let output = "";
    const take = (chunk: string): void => {
      output = (output + chunk).slice(-OUTPUT_CHARS_MAX);
      this.#log = (this.#log + chunk).slice(-OUTPUT_CHARS_MAX);
    };
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", take);
    let timedOut = false;
    const cancels: (() => void)[] = [];
    const end = (): void => {
      child.kill("SIGINT");
      cancels.push(clock.after(GRACE_MS, () => child.kill("SIGKILL")));
    };
    if (limitMs !== undefined) {
      cancels.push(
        clock.after(limitMs, () => {
          timedOut = true;
          end();
        }),
      );
    }
    signal.addEventListener("abort", end, { once: true });
    try {
      const code = await new Promise<number>((resolve, reject) => {
        child.once("error", (cause: NodeJS.ErrnoException) => reject(cannotStart(program, cause)));
        child.once("close", (exitCode) => resolve(exitCode ?? RESTIC_EXIT.failed));
      });
      signal.throwIfAborted();
      if (timedOut) throw new DrayError("TIMED_OUT", `Cannot run restic ${args[0] ?? ""}: it did not end within ${(limitMs ?? 0) / 1000} s${lastLine(output)}`);
      return { code, output };
    } finally {
      signal.removeEventListener("abort", end);
      for (const cancel of cancels) cancel();
    }
  }
}

function cannotStart(program: string, cause: NodeJS.ErrnoException): DrayError {
  if (cause.code !== "ENOENT") return new DrayError("NOT_SUPPORTED", `Cannot start "${program}": ${cause.message}`, { cause });
  return new DrayError("NOT_SUPPORTED", `Cannot back up to a restic repository: the image has no program "${program}"`, {
    cause,
    hint: 'Use an image with restic (docs/image.md), or the annotation "drayage.io/repository-format: kopia", which needs none.',
  });
}

/** The last thing it said, as the end of a sentence. */
export function lastLine(output: string): string {
  const line = output
    .split("\n")
    .map((text) => text.trim())
    .findLast((text) => text !== "");
  return line === undefined ? "" : `: ${line}`;
}
