import { type DataMover, dataMovers, MOVER_INSTALLATIONS } from "@drayage/api";
import { DrayError, hasCode } from "@drayage/base";
import { configMaps, type KubeClient, namespaces, retryOnConflict } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterAccess, type ClusterOptions, getNamed, withCluster, withClusterOptions } from "../cluster/access.ts";
import { installedNamespaces } from "../cluster/installed-namespaces.ts";
import { describeInstallations, formatInstallations, installationsOf, UNKNOWN_INSTALLATION } from "../movers/installations.ts";
import { moduleFilesName } from "../movers/module-files.ts";
import type { Terminal } from "../terminal.ts";

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .argument("<names...>", "movers")
    .action((names: string[], options: ClusterOptions) =>
      withCluster(options, terminal, async (access) => {
        for (const name of names) await getNamed(access.client, dataMovers, { name }, terminal.signal);
        for (const name of names) await removeMover(name, access, terminal);
      }),
    );
}

/**
 * Takes a mover from an installation, and from the cluster with the last that added it, never over what somebody else wrote meanwhile. Throws VALIDATION_FAILED where only others did, or may have,
 * and KUBE_NOT_FOUND.
 */
export async function removeMover(name: string, { client, namespace }: ClusterAccess, terminal: Terminal): Promise<void> {
  const { clock, random, signal } = terminal;
  const left = await retryOnConflict({ clock, random, signal }, async () => {
    const mover = await getNamed(client, dataMovers, { name }, signal);
    const others = await othersThatNeed(mover, client, namespace, signal);
    // Its files first: stopped after that, the same command does the rest.
    await client.delete(configMaps, { namespace, name: moduleFilesName(name) }, { signal });
    if (others.length === 0) {
      const { uid = "", resourceVersion = "" } = mover.metadata;
      await client.delete(dataMovers, { name }, { preconditions: { uid, resourceVersion }, signal });
    } else {
      const annotations = { ...mover.metadata.annotations, [MOVER_INSTALLATIONS]: formatInstallations(others) };
      await client.replace(dataMovers, { ...mover, metadata: { ...mover.metadata, annotations } }, { signal });
    }
    return others;
  });
  terminal.out(
    left.length === 0
      ? `Mover "${name}" is no longer registered. What it moved can be restored and deleted once it is again.\n`
      : `Mover "${name}" is removed from namespace "${namespace}", and stays for ${describeInstallations(left)}.\n`,
  );
}

/** The installations that keep a mover when this one does without. Throws VALIDATION_FAILED where this one has no part in it. */
async function othersThatNeed(mover: DataMover, client: KubeClient, namespace: string, signal: AbortSignal): Promise<readonly string[]> {
  const { name = "" } = mover.metadata;
  const noted = installationsOf(mover);
  const others: string[] = [];
  for (const other of noted) if (other !== namespace && other !== UNKNOWN_INSTALLATION && (await isThere(client, other, signal))) others.push(other);
  const suspects = noted.includes(UNKNOWN_INSTALLATION) ? await notNoted(client, [...noted, namespace], signal) : [];
  if (suspects.length > 0 && !noted.includes(namespace)) {
    throw new DrayError(
      "VALIDATION_FAILED",
      `Cannot remove mover "${name}" in namespace "${namespace}": it is not noted which installation added it, and it may be that of ${suspects.join(", ")}`,
      {
        hint: `Add it in each that uses it (dray mover add -n), which notes that, and remove it again. Or take it from all of them: kubectl delete datamover ${name}`,
      },
    );
  }
  // Where no other can have added it unnoted, this one has.
  const isOurs = noted.includes(namespace) || noted.includes(UNKNOWN_INSTALLATION);
  if (others.length > 0 && !isOurs) {
    throw new DrayError("VALIDATION_FAILED", `Cannot remove mover "${name}" in namespace "${namespace}": it was added in ${others.join(", ")}`, {
      hint: "-n names the namespace of an installation.",
    });
  }
  return suspects.length > 0 ? [...others, UNKNOWN_INSTALLATION] : others;
}

/** The installations that are not among those; where they cannot be seen there is one. */
async function notNoted(client: KubeClient, noted: readonly string[], signal: AbortSignal): Promise<readonly string[]> {
  const installed = await installedNamespaces(client, signal);
  return installed === undefined ? ["a namespace that you may not see"] : [...installed].filter((other) => !noted.includes(other)).sort();
}

/** An installation whose namespace is gone needs nothing any more; where that cannot be seen, it is taken to be there. */
async function isThere(client: KubeClient, namespace: string, signal: AbortSignal): Promise<boolean> {
  try {
    return (await client.find(namespaces, { name: namespace }, signal)) !== undefined;
  } catch (error) {
    if (!hasCode(error, "KUBE_FORBIDDEN")) throw error;
    return true;
  }
}
