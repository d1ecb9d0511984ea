/** Stores that go away and come back, passwords that do not fit, and blobs that are not what they were: each is survived or named, and never taken for good. */
import { basename } from "node:path";
import { backupRepositories, backupStorageLocations, type DataDownload, type DataUpload } from "@drayage/api";
import type { RequestFacts } from "@drayage/embedded/object-store";
import { persistentVolumeClaims, secrets } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness, REPOSITORY_PASSWORD, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

const ofShop = { includedNamespaces: ["shop"] };
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

const hasFailed = ({ status }: DataUpload | DataDownload): boolean => status?.phase === "Failed";
const stores = ({ method, key }: RequestFacts): boolean => method === "PUT" && key.startsWith("kopia/shop/p");
const fetches = ({ method, key }: RequestFacts): boolean => method === "GET" && key.startsWith("kopia/shop/p");
const changeSomething = (): Promise<string> => inApplication(harness, "shop", "head -c 100000 /dev/urandom > /volumes/files/changing; sync");
const restoreInto = (name: string, namespace: string) => harness.restore(name, { backupName: "first", namespaceMapping: { shop: namespace } });

describe("a store", () => {
  it("that fails for a while is waited for, in both directions", async () => {
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
    expect((await harness.upload("cut-off", hasFailed)).status?.message).toMatch(/^Cannot store blob "[pq]\S+" in s3:\/\/backups\/kopia\/shop\/: /);
    const unavailable = await harness.until(backupStorageLocations, location, ({ status }) => status?.phase === "Unavailable");
    expect(unavailable.status?.message).toMatch(/^BackupStorageLocation "default" is unavailable: Cannot use s3:\/\/backups\/: /);
    harness.store.faults.outage = "none";
    expect((await harness.endOfBackup("cut-off")).status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 1 });
    await harness.until(backupStorageLocations, location, ({ status }) => status?.phase === "Available");
    await harness.expectNothingLeft();
    expect(await harness.verifyRepository("shop")).toBe(2);
    expect((await harness.backUp("after", ofShop)).status).toMatchObject({ phase: "Completed" });
    expect(await harness.verifyRepository("shop")).toBe(3);
    await harness.expectNothingLeft();
  });

  it("that is away while a repository is to be made is tried again by the next backup, however soon that comes", async () => {
    const ofFresh = { includedNamespaces: ["fresh"] };
    await deployApplication(harness, "fresh", { files: {} });
    await fillFolder(harness, "fresh", "files");
    const heal = harness.store.faults.add({ matches: ({ key }) => key.startsWith("kopia/fresh/"), fault: { kind: "error", code: "InternalError" } });
    expect((await harness.backUp("fresh-1", ofFresh)).status).toMatchObject({ phase: "PartiallyFailed" });
    expect((await harness.upload("fresh-1")).status?.message).toMatch(
      /^backup repository is not ready: Cannot read blob "kopia.repository" of s3:\/\/backups\/kopia\/fresh\/: /,
    );
    heal();
    expect((await harness.backUp("fresh-2", ofFresh)).status).toMatchObject({ phase: "Completed" });
    expect(await harness.verifyRepository("fresh")).toBe(1);
    await harness.expectNothingLeft();
  });
});

describe("a password that does not fit", () => {
  const setPassword = async (password: string): Promise<void> => {
    const data = { "repository-password": Buffer.from(password).toString("base64") };
    await harness.client.patch(secrets, { namespace: VELERO, name: "velero-repo-credentials" }, "merge", { data });
  };
  const mismatch = 'Cannot open repository at "s3://backups/kopia/shop/": the password does not match "kopia.repository"';

  it("fails movements, makes the repository NotReady, writes nothing, and is forgotten once it is put right", async () => {
    await setPassword("something else");
    const before = await harness.blobs("shop", "");
    expect((await harness.backUp("wrong", ofShop)).status).toMatchObject({ phase: "PartiallyFailed" });
    const hint = "Check the password; the one of the installation that created the repository is needed.";
    expect((await harness.upload("wrong")).status).toMatchObject({ phase: "Failed", message: `${mismatch}. ${hint}` });

    // As in a new cluster that was installed with another password.
    const key = { namespace: VELERO, name: "shop-default-kopia" };
    await harness.client.delete(backupRepositories, key);
    expect((await restoreInto("wrong", "wrong")).status).toMatchObject({ phase: "PartiallyFailed", restoreItemOperationsFailed: 1 });
    expect((await harness.download("wrong")).status).toMatchObject({ phase: "Failed", message: `backup repository is not ready: ${mismatch}` });
    expect((await harness.client.get(backupRepositories, key)).status).toEqual({ phase: "NotReady", message: mismatch });
    expect(await harness.blobs("shop", "")).toEqual(before);
    await harness.expectNothingLeft();

    await setPassword(REPOSITORY_PASSWORD);
    expect((await harness.backUp("right", ofShop)).status).toMatchObject({ phase: "Completed" });
    expect((await harness.client.get(backupRepositories, key)).status).toMatchObject({ phase: "Ready" });
    await harness.expectNothingLeft();
  });
});

describe("a blob that was changed", () => {
  const flipped = (bytes: Uint8Array): Uint8Array => {
    // Often enough to strike whatever is in use: packs also hold padding, and an index of their own for emergencies.
    const changed = Uint8Array.from(bytes);
    for (let at = 0; at < changed.length; at += 128) changed[at] = (changed[at] ?? 0) ^ 1;
    return changed;
  };
  const cutShort = (bytes: Uint8Array): Uint8Array => bytes.slice(0, bytes.length >> 1);

  it.each([
    ["a pack, bits flipped", "pack-flipped", "p", flipped],
    ["a pack, cut short", "pack-cut", "p", cutShort],
    ["a pack of listings, bits flipped", "listing-flipped", "q", flipped],
    ["an index, bits flipped", "index-flipped", "x", flipped],
    ["an index, cut short", "index-cut", "x", cutShort],
    ["the format blob, cut short", "format-cut", "kopia.repository", cutShort],
  ] as const)("is named by a restore, which hands no volume over: %s", async (_title, name, prefix, damage) => {
    const kept = new Map<string, Uint8Array>();
    for (const key of await harness.blobs("shop", prefix)) {
      await harness.changeBlob(key, (bytes) => {
        kept.set(key, bytes);
        return damage(bytes);
      });
    }
    try {
      expect((await restoreInto(name, name)).status).toMatchObject({ phase: "PartiallyFailed", restoreItemOperationsFailed: 1 });
      const { status } = await harness.download(name);
      expect(status?.phase).toBe("Failed");
      expect([...kept.keys()].filter((key) => status?.message?.includes(`"${basename(key)}"`))).toHaveLength(1);
      await harness.expectNothingLeft();
      const claims = (await harness.client.list(persistentVolumeClaims, { namespace: name })).items;
      expect(claims.map((claim) => [claim.spec.volumeName, claim.status?.phase])).toEqual([[undefined, "Pending"]]);
    } finally {
      for (const [key, bytes] of kept) await harness.changeBlob(key, () => bytes);
    }
  });

  it("and is as it was again is restored", async () => {
    expect((await restoreInto("well", "well")).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "well");
    expect(await factsOf(harness, "well", "files")).toBe(facts);
    await harness.expectNothingLeft();
  });
});
