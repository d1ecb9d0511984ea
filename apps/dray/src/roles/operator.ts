/** `dray operator`: makes an installation of each DataProtectionApplication of its namespace, one leader at a time. */
import { errorFields, randomHex } from "@drayage/base";
import { letGoOfBuckets, startCloudStorageController, startDpaController } from "@drayage/controllers";
import { OPERATOR_NAME } from "@drayage/install";
import { deployments, type KubeClient, runAsLeader } from "@drayage/kube";
import type { Command } from "commander";
import type { Terminal } from "../terminal.ts";
import { programVersion } from "../version.ts";
import { type Role, type RoleOptions, runRole, untilAborted, withRoleOptions } from "./role.ts";
import { S3Buckets } from "./s3-buckets.ts";

interface Options extends RoleOptions {
  readonly image?: string;
}

const LEASE = "drayage-operator";
/** What a pod that is being ended may still ask. */
const REMOVAL_MS = 5_000;

export function define(command: Command, terminal: Terminal): void {
  withRoleOptions(command)
    .option("--image <name>", "the image of what it makes (RELATED_IMAGE_VELERO, else its own)")
    .action((options: Options) => {
      // OLM says here which namespace the operator is for.
      const watched = terminal.env["WATCH_NAMESPACE"];
      const namespace = options.namespace ?? (watched === "" ? undefined : watched);
      return runRole("operator", { ...options, ...(namespace === undefined ? {} : { namespace }) }, terminal, (role) => operate(role, options, terminal));
    });
}

async function operate(role: Role, options: Options, terminal: Terminal): Promise<void> {
  const { client, clock, random, logger, namespace, signal } = role;
  const image = options.image ?? terminal.env["RELATED_IMAGE_VELERO"] ?? (await ownImage(client, namespace, signal));
  const pod = terminal.env["POD_NAME"];
  const identity = `${pod ?? "operator"}_${randomHex(random, 4)}`;
  // A container is started again when its process has ended, so an earlier process of this pod is gone for sure.
  const hasEnded = (holder: string): boolean => pod !== undefined && holder.startsWith(`${pod}_`);
  await runAsLeader({ client, lease: { namespace, name: LEASE }, identity, hasEnded, clock, random, logger, signal }, async (leading) => {
    const controller = startDpaController({ client, clock, random, logger, namespace, image });
    const buckets = startCloudStorageController({ client, clock, random, logger, namespace, buckets: new S3Buckets(client, namespace) });
    logger.info("Leading", { image });
    await untilAborted(leading);
    await buckets.stop();
    await controller.stop();
    await letGoWhenRemoved(role);
  });
}

/** Of an operator that was removed no CloudStorage waits for the deletion of its bucket. Where that fails (docs/operator.md), somebody has to let them go by hand. */
async function letGoWhenRemoved({ client, clock, random, logger, namespace }: Role): Promise<void> {
  const signal = AbortSignal.timeout(REMOVAL_MS);
  try {
    const found = await client.find(deployments, { namespace, name: OPERATOR_NAME }, signal);
    if (found !== undefined && found.metadata.deletionTimestamp === undefined) return;
    const names = await letGoOfBuckets({ client, clock, random, namespace, signal });
    if (names.length > 0) logger.info("The operator was removed: CloudStorages do not wait for it, and their buckets stay", { names });
  } catch (error) {
    logger.warn("CloudStorages may wait for an operator that was removed", errorFields(error));
  }
}

async function ownImage(client: KubeClient, namespace: string, signal: AbortSignal): Promise<string> {
  const image = (await client.find(deployments, { namespace, name: OPERATOR_NAME }, signal))?.spec.template.spec.containers[0]?.image;
  return image ?? `drayage/dray:${programVersion()}`;
}
