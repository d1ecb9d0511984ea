/** One kopia client: its own configuration, cache and log, as a user of its own. */
import { execFile } from "node:child_process";
import { join } from "node:path";
import { promisify } from "node:util";
import { peer } from "./peers.ts";

const run = promisify(execFile);

/** Runs a command and gives its standard output. Throws with what it wrote when it fails. */
export type KopiaClient = (...args: string[]) => Promise<string>;

/** @param home - a folder of the client's own */
export function kopiaClient(home: string, password: string): KopiaClient {
  const env = {
    ...process.env,
    HOME: home,
    KOPIA_PASSWORD: password,
    KOPIA_CONFIG_PATH: join(home, "config"),
    KOPIA_CACHE_DIRECTORY: join(home, "cache"),
    KOPIA_LOG_DIR: join(home, "log"),
    KOPIA_CHECK_FOR_UPDATES: "false",
  };
  return async (...args) => (await run(peer("kopia"), args, { env, maxBuffer: 256 << 20 })).stdout;
}

/** Connects it to a repository in a folder, as somebody. */
export async function connectKopia(kopia: KopiaClient, path: string, user = "user", host = "host"): Promise<void> {
  await kopia("repository", "connect", "filesystem", "--path", path, `--override-username=${user}`, `--override-hostname=${host}`);
}
