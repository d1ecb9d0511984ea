import { spawn } from "node:child_process";
import { DrayError } from "@drayage/base";

export interface ProgramResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Administrators' programs (losetup, mkfs.ext4) are outside the search path of ordinary users. */
const SEARCH_PATH = `${process.env["PATH"] ?? "/usr/bin:/bin"}:/usr/sbin:/sbin`;
const OUTPUT_CHARACTERS_MAX = 1 << 20;

/**
 * Runs a program of the machine to its end and returns what it said; a non-zero exit is a result. Messages are in English, so that they can be matched.
 * Throws NOT_SUPPORTED when there is no such program.
 */
export function runProgram(command: string, args: readonly string[]): Promise<ProgramResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, PATH: SEARCH_PATH, LC_ALL: "C" } });
    let stdout = "";
    let stderr = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      stdout = (stdout + text).slice(0, OUTPUT_CHARACTERS_MAX);
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(0, OUTPUT_CHARACTERS_MAX);
    });
    child.once("error", (cause) =>
      reject(
        new DrayError("NOT_SUPPORTED", `Cannot run "${command}": it is not installed`, {
          cause,
          hint: "Install the packages util-linux, coreutils and e2fsprogs.",
        }),
      ),
    );
    child.once("close", (exitCode) => resolve({ exitCode: exitCode ?? -1, stdout, stderr: stderr.trim() }));
  });
}
