import { homedir } from "node:os";
import { join } from "node:path";
import type { Terminal } from "../terminal.ts";

/** Where this user's copies, limits and notes lie: DRAY_STATE_DIR, else a folder of ours in the XDG cache. Without it everything still works. */
export function stateFolder(env: Terminal["env"]): string {
  const chosen = env["DRAY_STATE_DIR"];
  if (chosen !== undefined && chosen !== "") return chosen;
  const cache = env["XDG_CACHE_HOME"];
  return join(cache !== undefined && cache !== "" ? cache : join(env["HOME"] ?? homedir(), ".cache"), "drayage");
}
