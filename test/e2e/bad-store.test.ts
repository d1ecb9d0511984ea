/** Stores that go away and come back, passwords that do not fit, and blobs that are not what they were. */
import { backupRepositories, backupStorageLocations, type DataDownload, type DataUpload } from "@drayage/api";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { persistentVolumeClaims, secrets } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness, REPOSITORY_PASSWORD, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

let harness: Harness;
let facts: string;
beforeAll(async () => {
  harness = await Harness.start();
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
  facts = await factsOf(harness, "shop", "files");
  expect((await harness.backUp("first", ofShop)).status).toMatchObject({ phase: "Completed" });
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const ofShop = { includedNamespaces: ["shop"] };
const hasFailed = ({ status }: DataUpload | DataDownload): boolean => status?.phase === "Failed";
const stores = ({ method, key }: RequestFacts): boolean => method === "PUT" && key.startsWith("kopia/shop/p");
const fetches = ({ method, key }: RequestFacts): boolean => method === "GET" && key.startsWith("kopia/shop/p");
const changeSomething = (): Promise<string> => inApplication(harness, "shop", "head -c 100000 /dev/urandom > /volumes/files/changing; sync");

const restoreInto = (name: string, namespace: string) => harness.restore(name, { backupName: "first", namespaceMapping: { shop: namespace } });

describe("a store", () => {
  it("that fails for a while is waited for", async () => {
    await changeSomething();
    harness.store.faults.add({ matches: stores, fault: { kind: "error", code: "SlowDown" }, times: 2 });
    harness.store.faults.add({ matches: stores, fault: { kind: "reset" }, times: 2 });
    harness.store.faults.add({ matches: stores, fault: { kind: "lostAnswer" }, times: 1 });
    expect((await harness.backUp("patient", ofShop)).status).toMatchObject({ phase: "Completed" });
    harness.store.faults.add({ matches: fetches, fault: { kind: "truncate", afterBytes: 1000 }, times: 4 });
    expect((await restoreInto("patient", "patient")).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "patient");
    expect(await factsOf(harness, "patient", "files")).toBe(facts);
    await harness.expectNothingLeft();
  });

  it("that goes away in the middle fails the upload clearly, and the next backup completes when it is back", async () => {
    const location = { namespace: VELERO, name: "default" };
    await harness.client.patch(backupStorageLocations, location, "merge", { spec: { validationFrequency: "2s" } });
    await changeSomething();
    const hold = harness.hold(stores);
    await harness.startBackup("cut-off", ofShop);
    await hold.reached;
    harness.store.faults.outage = "reset";
    hold.release();
    const upload = await harness.upload("cut-off", hasFailed);
    const unavailable = await harness.until(backupStorageLocations, location, ({ status }) => status?.phase === "Unavailable");
    expect(upload.status).toMatchObject({ phase: "Failed", message: expect.stringMatching(/s3:\/\/backups/) });
    expect(unavailable.status?.message).toMatch(/s3:\/\/backups/);
    harness.store.faults.outage = "none";
    await harness.until(backupStorageLocations, location, ({ status }) => status?.phase === "Available");
    await harness.expectNothingLeft();
    expect(await harness.verifyRepository("shop")).toBe(2);
    expect((await harness.backUp("after", ofShop)).status).toMatchObject({ phase: "Completed" });
    expect(await harness.verifyRepository("shop")).toBe(3);
  });

  it("that is away while a repository is made is tried again by the next backup", async () => {
    await deployApplication(harness, "fresh", { files: {} });
    await fillFolder(harness, "fresh", "files");
    const remove = harness.store.faults.add({ matches: ({ key }) => key.startsWith("kopia/fresh/"), fault: { kind: "error", code: "InternalError" } });
    remove();
    expect((await harness.backUp("fresh-2", { includedNamespaces: ["fresh"] })).status).toMatchObject({ phase: "Completed" });
    expect(await harness.verifyRepository("fresh")).toBe(1);
  });
});

describe("a password", () => {
  const setPassword = (password: string) =>
    harness.client.patch(secrets, { namespace: VELERO, name: "velero-repo-credentials" }, "merge", {
      data: { "repository-password": Buffer.from(password).toString("base64") },
    });

  it("that does not fit fails uploads and makes the repository NotReady, and harms nothing", async () => {
    await setPassword("something else");
    const before = await harness.blobs("shop", "");
    expect((await harness.backUp("wrong-1", ofShop)).status).toMatchObject({ phase: "PartiallyFailed" });
    expect((await harness.upload("wrong-1")).status).toMatchObject({ phase: "Failed", message: expect.stringMatching(/password/i) });
    const key = { namespace: VELERO, name: "shop-default-kopia" };
    await harness.client.delete(backupRepositories, key);
    expect((await harness.backUp("wrong-2", ofShop)).status).toMatchObject({ phase: "PartiallyFailed" });
    expect((await harness.client.get(backupRepositories, key)).status).toMatchObject({ phase: "NotReady", message: expect.stringMatching(/password/i) });
    expect(await harness.blobs("shop", "")).toEqual(before);
    expect((await restoreInto("wrong", "wrong")).status).toMatchObject({ phase: "PartiallyFailed" });
    expect((await harness.download("wrong")).status).toMatchObject({ phase: "Failed" });
    await harness.expectNothingLeft();
    await setPassword(REPOSITORY_PASSWORD);
    // A repository that is not ready is tried again every five minutes; one that is deleted, at once.
    await harness.client.delete(backupRepositories, key);
    expect((await harness.backUp("right", ofShop)).status).toMatchObject({ phase: "Completed" });
  });
});

describe("a blob", () => {
  const flip = (bytes: Uint8Array): Uint8Array => {
    const changed = Uint8Array.from(bytes);
    const at = changed.length >> 1;
    changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  const cut = (bytes: Uint8Array): Uint8Array => bytes.slice(0, bytes.length >> 1);

  it.each([
    ["pack", "p", "flipped", flip],
    ["pack", "p", "cut short", cut],
    ["pack of metadata", "q", "flipped", flip],
    ["index", "x", "flipped", flip],
    ["index", "x", "cut short", cut],
    ["format blob", "kopia.repository", "cut short", cut],
  ] as const)("%s %s that is %s is named by the restore, which restores nothing silently", async (what, prefix, how, damage) => {
    const name = `${what}-${how}`.replaceAll(" ", "-");
    const keys = await harness.blobs("shop", prefix);
    const kept = new Map<string, Uint8Array>();
    for (const key of keys)
      await harness.changeBlob(key, (bytes) => {
        kept.set(key, bytes);
        return damage(bytes);
      });
    const restore = await restoreInto(name, name);
    expect(keys.length).toBeGreaterThan(0);
    expect(restore.status).toMatchObject({ phase: "PartiallyFailed" });
    // What is damaged is named: the content and its pack, the index or the format blob.
    expect((await harness.download(name)).status).toMatchObject({
      phase: "Failed",
      message: expect.stringMatching(/pack|index|blob|content|repository|format/i),
    });
    for (const [key, bytes] of kept) await harness.changeBlob(key, () => bytes);
    await harness.expectNothingLeft();
    const claims = (await harness.client.list(persistentVolumeClaims, { namespace: name })).items;
    expect(claims.map((claim) => claim.status?.phase)).not.toContain("Bound");
  });

  it("that is well again", async () => {
    expect((await restoreInto("well", "well")).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "well");
    expect(await factsOf(harness, "well", "files")).toBe(facts);
  });
});
