/** Keys of the object store that are rotated while data moves: what is under way goes on with the new ones, in both directions, and so does everything after it. */
import type { RequestFacts } from "@drayage/embedded/object-store";
import { secrets } from "@drayage/kube";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Harness, KEYS, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

const ofShop = { includedNamespaces: ["shop"] };
const ROTATED = { accessKeyId: "e2e-rotated", secretAccessKey: "nor this one" };
/** A node-agent looks once a minute at what has run for a minute, and a kubelet brings a changed Secret into a pod once a minute. */
const LIMIT_MS = 280_000;

let harness: Harness;
let facts: string;
beforeAll(async () => {
  harness = await Harness.start();
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
  facts = await factsOf(harness, "shop", "files");
  expect((await harness.backUp("first", ofShop)).status).toMatchObject({ phase: "Completed" });
});
afterAll(() => harness?.destroy());

/** The store takes these keys and no others, and the location's Secret has them. */
async function rotateTo(keys: typeof KEYS): Promise<void> {
  harness.store.accept(keys);
  const cloud = `[default]\naws_access_key_id = ${keys.accessKeyId}\naws_secret_access_key = ${keys.secretAccessKey}\n`;
  const data = { cloud: Buffer.from(cloud).toString("base64") };
  await harness.client.patch(secrets, { namespace: VELERO, name: "cloud-credentials" }, "merge", { data });
}

const stores = ({ method, key }: RequestFacts): boolean => method === "PUT" && key.startsWith("kopia/shop/p");
const fetches = ({ method, key }: RequestFacts): boolean => method === "GET" && key.startsWith("kopia/shop/p");

it("an upload and a download that are under way go on with the new keys, and the next backup has them from its beginning", {
  timeout: 2 * LIMIT_MS,
}, async () => {
  const held = harness.hold(fetches);
  await harness.startRestore("under-way", { backupName: "first", namespaceMapping: { shop: "copy" } });
  await held.reached;
  await inApplication(harness, "shop", "head -c 100000 /dev/urandom > /volumes/files/changing; sync");
  const holding = harness.hold(stores);
  await harness.startBackup("under-way", ofShop);
  await holding.reached;

  await rotateTo(ROTATED);
  holding.release();
  held.release();
  const [backup, restore] = await Promise.all([harness.endOfBackup("under-way", LIMIT_MS), harness.endOfRestore("under-way", LIMIT_MS)]);
  expect(backup.status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 1 });
  expect(restore.status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 1 });
  const refused = harness.store.requests
    .list()
    .filter(({ errorCode }) => errorCode === "InvalidAccessKeyId")
    .map(({ operation }) => operation);
  expect(refused).toEqual(expect.arrayContaining(["PutObject", "GetObject"]));
  await untilRunning(harness, "copy");
  expect(await factsOf(harness, "copy", "files")).toBe(facts);
  expect((await harness.backUp("after", ofShop)).status).toMatchObject({ phase: "Completed" });
  await rotateTo(KEYS);
  expect(await harness.verifyRepository("shop")).toBe(3);
  await harness.expectNothingLeft();
});
