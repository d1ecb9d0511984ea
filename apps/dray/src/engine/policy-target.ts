/** Which policy a command means: `--global`, `@host`, `user@host`, `user@host:/path`, or a folder of this machine. */
import { isAbsolute, resolve } from "node:path";
import { DrayError } from "@drayage/base";
import { globalTarget, type PolicyTarget, parsePolicyTarget, type Repository } from "@drayage/repo";
import type { Terminal } from "../terminal.ts";

/** Throws USAGE when nothing, or both, says which. */
export function policyTarget(text: string | undefined, isGlobal: boolean, repository: Repository, terminal: Terminal): PolicyTarget {
  if (isGlobal === (text !== undefined)) {
    throw new DrayError(
      "USAGE",
      `Cannot choose a policy: ${isGlobal ? "a target and --global exclude each other" : "neither a target nor --global says which"}`,
      {
        hint: "For example: --global, @host, user@host, user@host:/path, or a folder.",
      },
    );
  }
  if (text === undefined) return globalTarget;
  const isPath = isAbsolute(text) || text.startsWith(".") || !text.includes("@");
  if (!isPath || text === "(global)") return parsePolicyTarget(text);
  return { ...repository.identity, path: resolve(terminal.cwd, text) };
}
