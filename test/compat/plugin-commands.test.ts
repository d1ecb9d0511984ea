/** `dray plugin add|remove` beside Velero's own commands (1.18.3), on the server that `velero install` leaves on a real kube-apiserver: the Deployment becomes the same, and either takes away what the other added. */
import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { backups } from "@drayage/api";
import { type ConnectedClient, createKubeClient, deployments } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { programEntry } from "../program.ts";
import { peer } from "./peers.ts";
import { type RealApiServer, startRealApiServer } from "./real-api-server.ts";

const NS = "velero";
const IMAGE = "registry.example.com:5000/velero/velero-plugin-for-example:v1.2.3";
const BY_DIGEST = `openebs/velero-plugin@sha256:${"0".repeat(64)}`;
let server: RealApiServer;
let client: ConnectedClient;
let folder: string;

beforeAll(async () => {
  server = await startRealApiServer();
  folder = mkdtempSync(join(tmpdir(), "plugin-commands-"));
  const kubeconfig = JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "c", cluster: { server: server.url, "insecure-skip-tls-verify": true } }],
    users: [{ name: "u", user: { token: server.token } }],
    contexts: [{ name: "x", context: { cluster: "c", user: "u" } }],
    "current-context": "x",
  });
  writeFileSync(join(folder, "kubeconfig"), kubeconfig);
  client = createKubeClient({ kubeconfig, qps: 0 });
  await velero("install", "--use-volume-snapshots=false", "--no-default-backup-location", "--no-secret", "--image", "velero/velero:v1.18.3");
}, 120_000);
afterAll(async () => {
  await client?.close();
  await server?.stop();
  rmSync(folder, { recursive: true, force: true });
});
afterEach(async () => expect((await podSpec((await client.list(deployments, { namespace: NS })).items[0]?.metadata.name)).initContainers).toBeUndefined());

/** What it prints. Throws with its messages when it does not end with 0. */
async function run(program: string, args: readonly string[]): Promise<string> {
  const env = { PATH: process.env["PATH"], HOME: folder, KUBECONFIG: join(folder, "kubeconfig") };
  return (await promisify(execFile)(program, [...args, "-n", NS], { env, cwd: folder, timeout: 60_000 })).stdout;
}
const velero = (...args: readonly string[]): Promise<string> => run(peer("velero"), args);
const dray = (...args: readonly string[]): Promise<string> => run(process.execPath, [programEntry, ...args]);
const podSpec = async (name = "velero") => (await client.get(deployments, { namespace: NS, name })).spec.template.spec;

it("adds and removes a plug-in as Velero's command does, by its container's name and by its image", async () => {
  const before = await podSpec();
  const added = `Plug-in velero-velero-plugin-for-example added; the server starts anew with it. dray plugin get shows what it offers.\n`;
  await velero("plugin", "add", IMAGE, "--confirm");
  await velero("plugin", "add", BY_DIGEST, "--image-pull-policy", "Always", "--confirm");
  const withBoth = await podSpec();
  expect(withBoth.initContainers).toMatchObject([{ image: IMAGE }, { image: BY_DIGEST, imagePullPolicy: "Always" }]);
  await velero("plugin", "remove", "velero-velero-plugin-for-example");
  await velero("plugin", "remove", BY_DIGEST);
  expect(await podSpec()).toEqual(before);

  expect(await dray("plugin", "add", IMAGE)).toBe(added);
  await dray("plugin", "add", BY_DIGEST, "--image-pull-policy", "Always", "--confirm");
  expect(await podSpec()).toEqual(withBoth);
  await velero("plugin", "remove", IMAGE);
  await dray("plugin", "remove", "openebs-velero-plugin");
  expect(await podSpec()).toEqual(before);

  await velero("plugin", "add", IMAGE, "--confirm");
  expect(await dray("plugin", "remove", "velero-velero-plugin-for-example")).toBe(
    "Plug-in velero-velero-plugin-for-example removed; the server starts anew without it.\n",
  );
  expect(await podSpec()).toEqual(before);
});

it("changes nothing where Velero's command changes nothing", async () => {
  const before = await client.get(deployments, { namespace: NS, name: "velero" });
  await expect(velero("plugin", "remove", "nothing")).rejects.toThrow("init container nothing not found in Velero server deployment");
  await expect(dray("plugin", "remove", "nothing")).rejects.toThrow('Cannot remove plug-in "nothing": the server has none');
  await expect(velero("plugin", "add", IMAGE, "--image-pull-policy", "Sometimes")).rejects.toThrow("Sometimes");
  await expect(dray("plugin", "add", IMAGE, "--image-pull-policy", "Sometimes")).rejects.toThrow("Sometimes");
  expect(await client.get(deployments, { namespace: NS, name: "velero" })).toEqual(before);

  // Velero's adds it a second time, with five letters behind its name.
  await velero("plugin", "add", IMAGE, "--confirm");
  await expect(dray("plugin", "add", IMAGE)).rejects.toThrow('the server has "velero-velero-plugin-for-example" of image');
  await dray("plugin", "remove", IMAGE);
});

it("asks for a confirmation while the server is busy", async () => {
  await client.create(backups, { metadata: { namespace: NS, name: "long" }, spec: {}, status: { phase: "InProgress" } } as never);
  await expect(dray("plugin", "add", IMAGE)).rejects.toThrow(
    `Cannot add plug-in "${IMAGE}" without --confirm: the server starts anew, and Backup "long" would end`,
  );
  expect((await podSpec()).initContainers).toBeUndefined();
  await dray("plugin", "add", IMAGE, "--confirm");
  await expect(dray("plugin", "remove", IMAGE)).rejects.toThrow(`Cannot remove plug-in "${IMAGE}" without --confirm: the server starts anew`);
  await dray("plugin", "remove", IMAGE, "--confirm");
  await client.delete(backups, { namespace: NS, name: "long" });
});

it("finds a server by its label where it has another name", async () => {
  const { metadata, spec } = await client.get(deployments, { namespace: NS, name: "velero" });
  await client.delete(deployments, { namespace: NS, name: "velero" });
  await client.create(deployments, { metadata: { namespace: NS, name: "backups-velero", labels: metadata.labels }, spec } as never);
  await dray("plugin", "add", IMAGE);
  const ours = await podSpec("backups-velero");
  await dray("plugin", "remove", IMAGE);
  await velero("plugin", "add", IMAGE, "--confirm");
  expect(await podSpec("backups-velero")).toEqual(ours);
  await velero("plugin", "remove", IMAGE);
});
