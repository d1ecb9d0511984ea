/** What a policy is for: everything, a host, a user on a host, or a path of theirs (kopia-format.md 7.7). */
import { DrayError } from "@drayage/base";
import type { Labels } from "../manifest/manifest-content.ts";
import type { SnapshotSource } from "../snapshot/snapshot-source.ts";

export const POLICY_TYPE = "policy";

/** Empty parts stand for all: `""@""` is the global policy. */
export type PolicyTarget = SnapshotSource;

export const globalTarget: PolicyTarget = { userName: "", host: "", path: "" };

/** The labels of a policy's manifest. */
export function policyLabels({ userName, host, path }: PolicyTarget): Labels {
  if (path !== "") return { type: POLICY_TYPE, policyType: "path", hostname: host, username: userName, path };
  if (userName !== "") return { type: POLICY_TYPE, policyType: "user", hostname: host, username: userName };
  if (host !== "") return { type: POLICY_TYPE, policyType: "host", hostname: host };
  return { type: POLICY_TYPE, policyType: "global" };
}

export function targetOfLabels(labels: Labels): PolicyTarget {
  return { userName: labels["username"] ?? "", host: labels["hostname"] ?? "", path: labels["path"] ?? "" };
}

/** `(global)`, `@host`, `user@host` or `user@host:/path`, as Kopia writes them. */
export function formatPolicyTarget({ userName, host, path }: PolicyTarget): string {
  if (userName === "" && host === "") return "(global)";
  return `${userName}@${host}${path === "" ? "" : `:${path}`}`;
}

/** Throws USAGE. */
export function parsePolicyTarget(text: string): PolicyTarget {
  if (text === "(global)") return globalTarget;
  const match = /^([^@]*)@([^:]+)(?::(.+))?$/s.exec(text);
  const [, userName = "", host = "", path = ""] = match ?? [];
  if (match === null || (userName === "" && path !== "")) {
    throw new DrayError("USAGE", `Cannot read policy target ${JSON.stringify(text)}: (global), @host, user@host or user@host:/path is wanted`);
  }
  return { userName, host, path };
}

/** From the most particular to the most general: the policies that have a say about a source. */
export function targetsAbove(target: PolicyTarget): PolicyTarget[] {
  const { userName, host } = target;
  const targets: PolicyTarget[] = [];
  for (let path = target.path; path !== ""; ) {
    targets.push({ userName, host, path });
    const above = parentPath(path);
    if (above === path) break;
    path = above;
  }
  if (userName !== "") targets.push({ userName, host, path: "" });
  if (host !== "") targets.push({ userName: "", host, path: "" });
  targets.push(globalTarget);
  return targets;
}

/** The path above, by slashes of either kind: sources may be of Windows. A path without any is its own. */
function parentPath(path: string): string {
  const [, volume = "", rest = ""] = /^([A-Za-z]:(?=[\\/]))?(.*)$/s.exec(path) ?? [];
  const trimmed = rest.length > 1 ? rest.replace(/[\\/]$/, "") : rest;
  const last = Math.max(trimmed.lastIndexOf("/"), trimmed.lastIndexOf("\\"));
  if (last < 0) return path;
  return volume + trimmed.slice(0, Math.max(last, 1));
}
