/** Volumes on a real node: backed up whatever is killed meanwhile, lost with their whole cluster, and brought back in another. */
import { type BackupSpec, backups, type DataDownload, type DataUpload } from "@drayage/api";
import { messageOf } from "@drayage/base";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { installManifests, MOVER_SERVICE_ACCOUNT, NODE_AGENT_NAME, SERVER_NAME, WEBHOOK_SERVICE, webhookConfigurationName } from "@drayage/install";
import { pods, validatingWebhookConfigurations } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Harness, VELERO } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "../e2e/sample-application.ts";
import { auditLogOf } from "./control-plane.ts";
import { permissionsInUse } from "./permissions-in-use.ts";
import { installByCommand } from "./real-cluster.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ installBy: installByCommand });
  await deployApplication(harness, "shop", { disk: { mode: "Block" }, files: {} });
  await fillFolder(harness, "shop", "files");
  await inApplication(harness, "shop", "head -c 4194304 /dev/urandom | dd of=/dev/disk bs=1M seek=2 conv=notrunc status=none");
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofShop = { includedNamespaces: ["shop"] };
const inPhase =
  (phase: string) =>
  ({ status }: DataUpload | DataDownload): boolean =>
    status?.phase === phase;
const of =
  (method: string, start: string) =>
  (request: RequestFacts): boolean =>
    request.method === method && request.key.startsWith(start);
const factsOfShop = async (inside: Harness, namespace: string): Promise<string[]> => [
  await factsOf(inside, namespace, "files"),
  await factsOf(inside, namespace, "disk", "Block"),
];
const change = (): Promise<string> =>
  inApplication(
    harness,
    "shop",
    "head -c 1048576 /dev/urandom > /volumes/files/more; head -c 2097152 /dev/urandom | dd of=/dev/disk bs=1M seek=9 conv=notrunc status=none; sync",
  );

it("a backup that names a mover that does not exist is refused when it is written, by what the server answers at its Service", async () => {
  const { client } = harness;
  const refusalOf = async (spec: BackupSpec): Promise<string | undefined> => {
    try {
      await client.create(backups, { metadata: { namespace: VELERO, name: "refused" }, spec }, { dryRun: true });
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  };
  await expect
    .poll(() => refusalOf({ datamover: "tape" }), { timeout: 60_000 })
    .toContain('admission webhook "backups.admission.drayage.io" denied the request: spec.datamover is "tape", and there is no such mover; there is drayage');
  expect(await refusalOf({ datamover: "drayage" })).toBeUndefined();
  const { webhooks = [] } = await client.get(validatingWebhookConfigurations, { name: webhookConfigurationName(VELERO) });
  expect(webhooks.map(({ clientConfig }) => [clientConfig.url, clientConfig.service?.name])).toEqual(webhooks.map(() => [undefined, WEBHOOK_SERVICE]));
});

it("movers that are killed fail their DataUploads and leave nothing, and the next backup completes", async () => {
  const hold = harness.hold(of("PUT", "kopia/shop/p"));
  await harness.startBackup("killed", ofShop);
  await hold.reached;
  // One at a time moves on a node.
  for (const claim of [0, 1]) {
    const { metadata } = await harness.upload("killed", inPhase("InProgress"));
    await harness.killProcessOf(metadata.name ?? "");
    await harness.uploads("killed", claim + 1, inPhase("Failed"));
  }
  for (const { status } of await harness.uploads("killed", 2)) expect(status?.message).toBe("mover ended with exit code 137");
  expect((await harness.endOfBackup("killed")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 2 });
  await harness.expectNothingLeft();
  hold.release();
  expect((await harness.backUp("next", ofShop)).status).toMatchObject({ phase: "Completed" });
  await harness.expectNothingLeft();
  expect(await harness.verifyRepository("shop")).toBe(2);
});

it("an upload whose pod is deleted is taken up again and goes on, also while the node-agent is replaced", async () => {
  await change();
  const hold = harness.hold(of("PUT", "kopia/shop/p"));
  await harness.startBackup("second", ofShop);
  await hold.reached;
  const { metadata } = await harness.upload("second", inPhase("InProgress"));
  await harness.client.delete(pods, { namespace: VELERO, name: metadata.name ?? "" }, { gracePeriodSeconds: 0 });
  await harness.replace("node-agent");
  hold.release();
  expect((await harness.endOfBackup("second")).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 2 });
  await harness.expectNothingLeft();
  expect(await harness.verifyRepository("shop")).toBe(4);
});

it("a download whose mover is killed fails, and the next one fills the volumes of another namespace", async () => {
  const hold = harness.hold(of("GET", "kopia/shop/p"));
  const asked = { backupName: "second", namespaceMapping: { shop: "copy" } };
  await harness.startRestore("killed", asked);
  await hold.reached;
  const { metadata } = await harness.download("killed", inPhase("InProgress"));
  await harness.killProcessOf(metadata.name ?? "");
  await harness.download("killed", inPhase("Failed"));
  hold.release();
  expect((await harness.endOfRestore("killed")).status).toMatchObject({ phase: "PartiallyFailed" });
  await harness.expectNothingLeft();
  await harness.deleteNamespace("copy");
  expect((await harness.restore("copied", asked)).status).toMatchObject({ phase: "Completed" });
  await untilRunning(harness, "copy");
  expect(await factsOfShop(harness, "copy")).toEqual(await factsOfShop(harness, "shop"));
  await harness.expectNothingLeft();
});

/** Permissions that other scenarios want; that each of them is needed, and no other, is tested under the same rules in apps/dray/src/roles/permissions.test.ts. */
const USED_ELSEWHERE = new Set([
  // What a namespace's tenants have their storage look for, and what the node-agent's ConfigMap names.
  ...["get", "create", "update", "delete"].map((verb) => `${verb} configmaps`),
  "get priorityclasses.scheduling.k8s.io (cluster)",
  // Volumes that change their mode after they were moved as devices.
  "create persistentvolumes (cluster)",
  "delete persistentvolumes (cluster)",
  "list volumeattachments.storage.k8s.io (cluster)",
  // File-system backups, rotated keys, orphans, repositories that are tried again, an Event that is told twice.
  ...["get", "list", "watch", "update"].flatMap((verb) => ["podvolumebackups", "podvolumerestores"].map((kind) => `${verb} ${kind}.velero.io`)),
  "update secrets",
  // Whoever tells a mover what has changed on a device asks whether it may read the snapshot; the mover itself never does.
  "get volumesnapshots.snapshot.storage.k8s.io",
  "get datauploads.velero.io",
  "get datadownloads.velero.io",
  "get backuprepositories.velero.io",
  "patch backuprepositories.velero.io",
  "patch events",
]);

it("no role was refused anything, and node-agents and movers have used what they are permitted: without it the API server refuses what was done here", () => {
  const manifests = installManifests({ namespace: VELERO, image: "", repositoryPassword: "", nodeAgent: true });
  for (const account of [NODE_AGENT_NAME, MOVER_SERVICE_ACCOUNT, SERVER_NAME]) {
    const { unused, refused } = permissionsInUse(auditLogOf(harness.cluster.directory), manifests, VELERO, account);
    expect(refused, account).toEqual([]);
    // The server restores whatever users have, so it may do what they may.
    if (account !== SERVER_NAME)
      expect(
        unused.filter((permission) => !USED_ELSEWHERE.has(permission)),
        account,
      ).toEqual([]);
  }
});

it("a cluster that is lost comes back in a new one: its backup is found in the bucket and restored", async () => {
  const facts = await factsOfShop(harness, "shop");
  await harness.cluster.destroy();
  const other = await harness.another({ installBy: installByCommand });
  try {
    await other.until(backups, { namespace: VELERO, name: "second" }, ({ status }) => status?.phase === "Completed");
    expect((await other.restore("back", { backupName: "second" })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(other, "shop");
    expect(await factsOfShop(other, "shop")).toEqual(facts);
    await other.expectNothingLeft();
  } finally {
    await other.destroy();
  }
});
