/** In which order the resources of a backup come back. */

import { compareUtf8 } from "@drayage/base";
import type { Discovery } from "@drayage/kube";
import { groupResourceOf } from "@drayage/kube";
import type { RestorePriorities } from "../server-settings.ts";

/**
 * The resources that are in the backup: those of high priority first, then the others in byte order, then those of low priority.
 * Priorities may be written in any form that discovery understands; one that it does not know stands for itself.
 */
export async function restoreOrder(inBackup: readonly string[], priorities: RestorePriorities, discovery: Discovery, signal?: AbortSignal): Promise<string[]> {
  const resolve = async (names: readonly string[]): Promise<string[]> => {
    const resolved: string[] = [];
    for (const name of names) {
      const found = inBackup.includes(name) ? undefined : await discovery.find(name, signal);
      resolved.push(found === undefined ? name : groupResourceOf(found));
    }
    return [...new Set(resolved)].filter((name) => inBackup.includes(name));
  };
  const high = await resolve(priorities.high);
  const low = (await resolve(priorities.low)).filter((name) => !high.includes(name));
  const rest = inBackup.filter((name) => !high.includes(name) && !low.includes(name)).sort(compareUtf8);
  return [...high, ...rest, ...low];
}
