/** What a command may touch of the outside: streams, environment, clock, randomness, the signal of Ctrl-C. Injected, so that tests see every byte a command prints. */
import { type Clock, DrayError, type RandomSource, systemClock, systemRandom } from "@drayage/base";

export interface Terminal {
  /** Results. */
  out(text: string): void;
  /** Results that are bytes; resolves when there is room for more. */
  write(bytes: Uint8Array): Promise<void>;
  /** Messages, warnings, live progress. */
  err(text: string): void;
  readonly outIsTerminal: boolean;
  readonly errIsTerminal: boolean;
  /** Columns of the terminal; 80 where there is none. */
  readonly columns: number;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** What the process will exit with; a command that ends without an error may set it (3: partially failed). */
  exitCode: number;
  /** Whether --debug was given: then it is also told what a command asked of its store. */
  debug?: boolean;
  /** Asks for a secret without echo. Throws USAGE when nobody can be asked. */
  askSecret(prompt: string): Promise<string>;
  /** All of standard input. */
  readInput(): Promise<Uint8Array>;
}

/** The reason with which Ctrl-C and SIGTERM abort. */
export class Interrupted extends Error {
  override readonly name = "AbortError";
  readonly signalName: NodeJS.Signals;

  constructor(signalName: NodeJS.Signals) {
    super(`interrupted by ${signalName}`);
    this.signalName = signalName;
  }
}

/** The terminal of this process. The first signal asks the command to stop; a second one ends the process at once. */
export function processTerminal(): Terminal {
  const controller = new AbortController();
  for (const name of ["SIGINT", "SIGTERM"] as const) {
    process.on(name, () => {
      if (controller.signal.aborted) process.kill(process.pid, "SIGKILL");
      controller.abort(new Interrupted(name));
    });
  }
  // A reader that goes away (`dray … | head`) is not an error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") controller.abort(new Interrupted("SIGPIPE"));
  });
  return {
    out: (text) => void process.stdout.write(text),
    write: writeOut,
    err: (text) => void process.stderr.write(text),
    outIsTerminal: process.stdout.isTTY === true,
    errIsTerminal: process.stderr.isTTY === true,
    // A terminal that does not know its width says 0.
    columns: process.stderr.columns || process.stdout.columns || 80,
    env: process.env,
    cwd: process.cwd(),
    clock: systemClock,
    random: systemRandom,
    signal: controller.signal,
    exitCode: 0,
    askSecret,
    readInput,
  };
}

function writeOut(bytes: Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => {
      // A reader that goes away ends the command through the signal.
      if (error == null || (error as NodeJS.ErrnoException).code === "EPIPE") resolve();
      else reject(error);
    });
  });
}

async function readInput(): Promise<Uint8Array> {
  const parts: Buffer[] = [];
  for await (const part of process.stdin) parts.push(part as Buffer);
  return Buffer.concat(parts);
}

function askSecret(prompt: string): Promise<string> {
  const input = process.stdin;
  if (!input.isTTY) {
    return Promise.reject(
      new DrayError("USAGE", `Cannot ask for "${prompt}": standard input is not a terminal`, { hint: "Set DRAY_REPOSITORY_PASSWORD or pass --password-file." }),
    );
  }
  process.stderr.write(`${prompt}: `);
  return new Promise((resolve, reject) => {
    let text = "";
    const finish = (act: () => void): void => {
      input.setRawMode(false);
      input.pause();
      input.off("data", onData);
      process.stderr.write("\n");
      act();
    };
    const onData = (data: Buffer): void => {
      for (const character of data.toString("utf8")) {
        if (character === "\r" || character === "\n") {
          finish(() => resolve(text));
          return;
        }
        if (character === "\u0003") {
          finish(() => reject(new Interrupted("SIGINT")));
          return;
        }
        text = character === "\u007f" ? [...text].slice(0, -1).join("") : text + character;
      }
    };
    input.setRawMode(true);
    input.resume();
    input.on("data", onData);
  });
}
