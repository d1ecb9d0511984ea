/** A mover that lies in no image, in two installations of one cluster, each made by a DataProtectionApplication in a namespace of its own: each is given the files by itself, and one loses nothing with the other. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import {
  type Backup,
  backupStorageLocations,
  backups,
  type DataProtectionApplication,
  dataDownloads,
  dataMovers,
  dataProtectionApplications,
  dataUploads,
  deleteBackupRequests,
  restores,
} from "@drayage/api";
import { configMaps, daemonSets, deployments, secrets } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { programEntry } from "../program.ts";
import { BUCKET, ENDED, Harness, KEYS } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "./sample-application.ts";

const ONE = "adp-one";
const TWO = "adp-two";
const GUIDE = join(import.meta.dirname, "..", "..", "docs", "guides", "write-a-mover.md");
let harness: Harness;
let folder: string;

async function dray(...args: readonly string[]): Promise<string> {
  const env = { ...process.env, KUBECONFIG: harness.cluster.kubeconfigPath };
  return (await promisify(execFile)(process.execPath, [programEntry, ...args], { env, cwd: folder })).stdout;
}

async function installByApplication(starting: Harness, namespace: string): Promise<void> {
  const { client, store } = starting;
  await dray("install", "--operator", "-n", namespace, "--image", "drayage/dray:e2e", "--wait");
  const cloud = Buffer.from(`[default]\naws_access_key_id = ${KEYS.accessKeyId}\naws_secret_access_key = ${KEYS.secretAccessKey}\n`).toString("base64");
  await client.create(secrets, { metadata: { namespace, name: "cloud-credentials" }, type: "Opaque", data: { cloud } });
  const application: DataProtectionApplication = {
    metadata: { namespace, name: "dpa" },
    spec: {
      configuration: { velero: { defaultPlugins: ["aws", "csi"] }, nodeAgent: { enable: true, uploaderType: "kopia" } },
      backupLocations: [
        {
          name: "default",
          velero: {
            provider: "aws",
            default: true,
            objectStorage: { bucket: BUCKET, prefix: namespace },
            config: { region: "us-east-1", s3ForcePathStyle: "true", s3Url: store.url },
            credential: { name: "cloud-credentials", key: "cloud" },
          },
        },
      ],
    },
  };
  await client.create(dataProtectionApplications, application, { fieldValidation: "Strict" });
}

async function works(namespace: string): Promise<void> {
  await harness.until(deployments, { namespace, name: "velero" }, ({ status }) => Number(status?.["availableReplicas"] ?? 0) === 1);
  await harness.until(
    daemonSets,
    { namespace, name: "node-agent" },
    ({ status }) => Number((status as { numberReady?: number } | undefined)?.numberReady ?? 0) === 1,
  );
  await harness.until(backupStorageLocations, { namespace, name: "default" }, ({ status }) => status?.phase === "Available");
}

async function backUp(namespace: string, name: string): Promise<Backup> {
  const spec = { includedNamespaces: ["shop"], snapshotMoveData: true, datamover: "my-tar" };
  await harness.client.create(backups, { metadata: { namespace, name }, spec });
  return await harness.until(backups, { namespace, name }, ({ status }) => ENDED.includes(status?.phase ?? ""));
}

async function moved(namespace: string, backup: string): Promise<void> {
  const found = await backUp(namespace, backup);
  expect(found.status, JSON.stringify(found.status)).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
  const { items } = await harness.client.list(dataUploads, { namespace, labelSelector: `velero.io/backup-name=${backup}` });
  expect(items).toMatchObject([{ spec: { datamover: "my-tar" }, status: { phase: "Completed", dataMoverResult: { compression: "gzip" } } }]);
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "mover-installations-"));
  const [, code] = /```typescript\n(.*?)```/s.exec(readFileSync(GUIDE, "utf8")) ?? [];
  writeFileSync(join(folder, "mover.ts"), code ?? "");
  harness = await Harness.start({
    nodes: 1,
    installBy: async (starting) => {
      harness = starting;
      await installByApplication(starting, ONE);
      await installByApplication(starting, TWO);
    },
  });
  for (const namespace of [ONE, TWO]) await works(namespace);
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
  // Two operators, and what they install.
}, 240_000);
afterAll(async () => {
  await harness?.destroy();
  rmSync(folder, { recursive: true, force: true });
});

it("moves data in each installation that it was added in, and says at once where it was not", async () => {
  await dray("mover", "add", "./mover.ts", "-n", ONE);
  await moved(ONE, "first");
  expect((await backUp(TWO, "early")).status).toMatchObject({
    phase: "FailedValidation",
    validationErrors: [
      expect.stringContaining(`mover "my-tar" was not added in namespace "${TWO}": ConfigMap "drayage-mover-my-tar" with its files is not there`),
    ],
  });
  expect(await dray("mover", "describe", "my-tar", "-n", TWO)).toContain(
    `Added in:     ${ONE}\nAccepted:     no: mover "my-tar" was not added in namespace "${TWO}"`,
  );
  await dray("mover", "add", "./mover.ts", "-n", TWO);
  expect(await dray("mover", "describe", "my-tar", "-n", TWO)).toContain(`Added in:     ${ONE}, ${TWO}\nAccepted:     yes\n`);
  await moved(TWO, "second");
});

it("stays in one when it is removed from the other, where a restore fails at once and says why", async () => {
  expect(await dray("mover", "remove", "my-tar", "-n", ONE)).toBe(`Mover "my-tar" is removed from namespace "${ONE}", and stays for ${TWO}.\n`);
  await expect(dray("mover", "remove", "my-tar", "-n", ONE)).rejects.toThrow(`it was added in ${TWO}`);
  await moved(TWO, "third");
  const facts = await factsOf(harness, "shop", "files");
  await harness.deleteNamespace("shop");
  await harness.client.create(restores, { metadata: { namespace: ONE, name: "early" }, spec: { backupName: "first" } });
  await harness.until(restores, { namespace: ONE, name: "early" }, ({ status }) => status?.phase === "PartiallyFailed");
  const { items } = await harness.client.list(dataDownloads, { namespace: ONE });
  expect(items).toMatchObject([{ status: { phase: "Failed", message: expect.stringContaining(`mover "my-tar" was not added in namespace "${ONE}"`) } }]);
  await harness.deleteNamespace("shop");
  await harness.client.create(restores, { metadata: { namespace: TWO, name: "back" }, spec: { backupName: "third" } });
  await harness.until(restores, { namespace: TWO, name: "back" }, ({ status }) => status?.phase === "Completed");
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
});

it("keeps a backup whose data only it can delete, until it was added again", async () => {
  const remove = async (name: string) => {
    await harness.client.create(deleteBackupRequests, { metadata: { namespace: ONE, name }, spec: { backupName: "first" } });
    return await harness.seen(deleteBackupRequests, { namespace: ONE }, (found) => {
      const own = found.find(({ metadata }) => metadata.name === name);
      const errors = own?.status?.errors ?? [];
      return own === undefined ? "" : errors.length > 0 ? errors.join() : undefined;
    });
  };
  expect(await remove("too-early")).toContain(`mover "my-tar" was not added in namespace "${ONE}"`);
  await dray("mover", "add", "./mover.ts", "-n", ONE);
  expect(await remove("now")).toBe("");
  expect(await dray("mover", "remove", "my-tar", "-n", TWO)).toContain(`stays for ${ONE}`);
  await dray("mover", "remove", "my-tar", "-n", ONE);
  expect(await harness.client.find(dataMovers, { name: "my-tar" })).toBeUndefined();
  for (const namespace of [ONE, TWO]) expect(await harness.client.find(configMaps, { namespace, name: "drayage-mover-my-tar" })).toBeUndefined();
});
