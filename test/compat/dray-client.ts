/** Command lines of dray on a repository in a folder, in this process. */
import { systemRandom } from "@drayage/base";
import { run } from "../../apps/dray/src/main.ts";
import { RecordingTerminal } from "../../apps/dray/src/testing/recording-terminal.ts";

/** Runs a command and gives what it printed. Throws with its messages when it does not end with 0. */
export type DrayClient = (...args: string[]) => Promise<string>;

export function drayClient(path: string, password: string): DrayClient {
  return async (...args) => {
    const terminal = new RecordingTerminal({ env: { DRAY_REPOSITORY: `file://${path}`, DRAY_REPOSITORY_PASSWORD: password }, cwd: path, random: systemRandom });
    const exitCode = await run(args, terminal);
    if (exitCode !== 0) throw new Error(`dray ${args.join(" ")} ended with ${exitCode}: ${terminal.errors}${terminal.text}`);
    return terminal.text;
  };
}
