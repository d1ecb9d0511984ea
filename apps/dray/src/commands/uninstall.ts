import { builtInMover } from "@drayage/api";
import { DrayError } from "@drayage/base";
import { GUEST_NODE_AGENT, guestManifests, installManifests, type Manifest, NODE_AGENT_NAME, operatorManifests, webhookConfiguration } from "@drayage/install";
import { daemonSets, deployments, type KubeClient, type KubeObject } from "@drayage/kube";
import type { Command } from "commander";
import { type ClusterOptions, withCluster, withClusterOptions } from "../cluster/access.ts";
import { removeInstallation } from "../cluster/installation.ts";
import { installedNamespaces } from "../cluster/installed-namespaces.ts";
import { parseTimeout } from "../cluster/timeout.ts";
import type { Terminal } from "../terminal.ts";

interface Options extends ClusterOptions {
  readonly confirm?: boolean;
  readonly withKinds?: boolean;
  readonly timeout?: string;
}

const LIMIT_MS = 2 * 60_000;

export function define(command: Command, terminal: Terminal): void {
  withClusterOptions(command)
    .option("--confirm", "yes, remove")
    .option("--with-kinds", "also the CustomResourceDefinitions, and with them every Backup and Restore of every namespace")
    .option("--timeout <duration>", "how long it may take until everything is gone, 2m when left out")
    .action((options: Options) => {
      if (options.confirm !== true) {
        throw new DrayError("USAGE", "Cannot remove the installation without --confirm", {
          hint: "The bucket is not touched: a later installation on it finds every backup again, given the repository password.",
        });
      }
      const limitMs = parseTimeout(options.timeout) ?? LIMIT_MS;
      return withCluster(options, terminal, async ({ client, namespace }) => {
        const manifests = await manifestsToRemove(client, namespace, terminal.signal);
        const removed = await removeInstallation(client, manifests, { withKinds: options.withKinds === true, limitMs }, terminal);
        for (const line of removed) terminal.out(`${line} removed\n`);
        if (removed.length === 0) terminal.out(`Nothing of Drayage was found in namespace "${namespace}".\n`);
        else terminal.out("The backups stay where they are: an installation on the same bucket, with the recovery file, finds all of them.\n");
      });
    });
}

/**
 * What of this namespace is Drayage's. Beside a Velero server that is what `install --guest` brought; namespace, kinds, locations and passwords are Velero's, and everything it has made goes with them.
 */
export async function manifestsToRemove(client: KubeClient, namespace: string, signal: AbortSignal): Promise<readonly Manifest[]> {
  // What the server registered goes last, when nobody is there to register it again.
  const own = [webhookConfiguration(namespace, ""), ...installManifests({ namespace, image: "", repositoryPassword: "", credentials: "", nodeAgent: true })];
  const isOurs = (object: KubeObject | undefined): boolean => object?.metadata.labels?.["app.kubernetes.io/name"] === "drayage";
  const velero = await client.find(deployments, { namespace, name: "velero" }, signal);
  const isForeign = velero !== undefined && velero.metadata.labels?.["app.kubernetes.io/managed-by"] !== "drayage-operator";
  const guests = await client.find(daemonSets, { namespace, name: GUEST_NODE_AGENT }, signal);
  if (isForeign || isOurs(guests)) {
    const inPlace = isOurs(await client.find(daemonSets, { namespace, name: NODE_AGENT_NAME }, signal));
    const beside = guestManifests({ namespace, image: "", claimBuiltin: false });
    return inPlace ? [...beside, ...guestManifests({ namespace, image: "", claimBuiltin: true }).filter(({ kind }) => kind === "DaemonSet")] : beside;
  }
  // What is last goes first: an operator that is there would make everything again.
  // The registration of the built-in mover is of the whole cluster, and that of every other installation too.
  const installed = await installedNamespaces(client, signal);
  const isLast = installed !== undefined && [...installed].every((other) => other === namespace);
  const registration = isLast ? [{ ...builtInMover("") } as unknown as Manifest] : [];
  return [...own, ...registration, ...operatorManifests({ namespace, image: "" }).filter(({ kind, metadata }) => !has(own, kind, metadata.name))];
}

function has(manifests: readonly Manifest[], kind: string, name: string): boolean {
  return manifests.some((manifest) => manifest.kind === kind && manifest.metadata.name === name);
}
