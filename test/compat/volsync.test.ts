/**
 * ReplicationSource and ReplicationDestination in a cluster without VolSync, as a user of VolSync writes them: what they leave in the bucket is read and checked by the real restic,
 * and volumes come back equal.
 */
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  type ReplicationDestination,
  type ReplicationSource,
  replicationDestinations,
  replicationSources,
  VOLSYNC_OWNER_LABEL,
  volumeSnapshots,
} from "@drayage/api";
import { systemClock, systemRandom } from "@drayage/base";
import { openStorageUrl } from "@drayage/blob/locations";
import { namespaces, persistentVolumeClaims, persistentVolumes, pods, secrets } from "@drayage/kube";
import { openRepository } from "@drayage/repo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BUCKET, Harness, KEYS, REGION } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, inApplication, startApplication } from "../e2e/sample-application.ts";
import { peer } from "./peers.ts";

const NS = "shop";
const PASSWORD = "the password of the test";
const MODES = ["ReadWriteOnce"];

const isRoot = process.getuid?.() === 0;

let harness: Harness;

beforeAll(async () => {
  // The embedded image has restic where this machine has.
  process.env["DRAYAGE_RESTIC"] = peer("restic");
  harness = await Harness.start({ nodes: 1 });
  await deployApplication(harness, NS, { data: {}, large: {} });
  await harness.client.patch(namespaces, { name: NS }, "merge", { metadata: { annotations: { "volsync.backube/privileged-movers": "true" } } });
  await fillFolder(harness, NS, "data");
  await repositorySecret("restic-config", "data");
  await inApplication(harness, NS, "cd /volumes/large; for n in 1 2 3 4 5; do head -c 2500000 /dev/urandom > $n; done");
  await repositorySecret("large", "large");
}, 180_000);
afterAll(async () => {
  await harness?.destroy();
});

const addressOf = (path: string): string => `s3:${harness.store.url}/${BUCKET}/volsync/${path}`;

async function repositorySecret(name: string, path: string, over: Readonly<Record<string, string | undefined>> = {}): Promise<void> {
  const values: Record<string, string | undefined> = {
    RESTIC_REPOSITORY: addressOf(path),
    RESTIC_PASSWORD: PASSWORD,
    AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
    AWS_DEFAULT_REGION: REGION,
    ...over,
  };
  const data = Object.fromEntries(
    Object.entries(values).flatMap(([key, value]) => (value === undefined ? [] : [[key, Buffer.from(value).toString("base64")]])),
  );
  await harness.client.apply(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace: NS, name }, data }, { fieldManager: "user", force: true });
}

type SourceSpec = Omit<ReplicationSource["spec"], "restic"> & { restic?: Partial<NonNullable<ReplicationSource["spec"]["restic"]>> };

async function createSource(name: string, spec: SourceSpec, annotations: Record<string, string> = {}): Promise<void> {
  await harness.client.create(replicationSources, {
    apiVersion: "volsync.backube/v1alpha1",
    kind: "ReplicationSource",
    metadata: { namespace: NS, name, annotations },
    spec: { sourcePVC: "data", trigger: { manual: "one" }, ...spec, restic: { repository: "restic-config", copyMethod: "Direct", ...spec.restic } },
  });
}

async function createDestination(
  name: string,
  restic: Partial<NonNullable<ReplicationDestination["spec"]["restic"]>>,
  annotations: Record<string, string> = {},
): Promise<void> {
  await harness.client.create(replicationDestinations, {
    apiVersion: "volsync.backube/v1alpha1",
    kind: "ReplicationDestination",
    metadata: { namespace: NS, name, annotations },
    spec: {
      trigger: { manual: "one" },
      restic: { repository: "restic-config", copyMethod: "Direct", capacity: "16Mi", accessModes: MODES, storageClassName: "drayage-fs", ...restic },
    },
  });
}

const settled = ({ status }: ReplicationSource | ReplicationDestination, tag: string): boolean =>
  status?.lastManualSync === tag && status.conditions?.[0]?.reason === "WaitingForManual";
const sourceDone = (name: string, tag = "one"): Promise<ReplicationSource> =>
  harness.until(replicationSources, { namespace: NS, name }, (source) => settled(source, tag));
const destinationDone = (name: string, tag = "one"): Promise<ReplicationDestination> =>
  harness.until(replicationDestinations, { namespace: NS, name }, (destination) => settled(destination, tag));
const retag = (name: string, tag: string): Promise<unknown> =>
  harness.client.patch(replicationSources, { namespace: NS, name }, "merge", { spec: { trigger: { manual: tag } } });

/** Pods, claims and snapshots that were made for an object. */
async function childrenOf({ metadata }: ReplicationSource | ReplicationDestination): Promise<string[]> {
  const where = { namespace: NS, labelSelector: `${VOLSYNC_OWNER_LABEL}=${metadata.uid}` };
  const lists = [
    await harness.client.list(pods, where),
    await harness.client.list(persistentVolumeClaims, where),
    await harness.client.list(volumeSnapshots, where),
  ];
  return lists.flatMap(({ items }) => items.map((item) => `${item.kind} ${item.metadata.name}`));
}

async function restic(path: string, ...args: readonly string[]): Promise<string> {
  const env = {
    PATH: "/usr/bin:/bin",
    HOME: "/tmp",
    AWS_ACCESS_KEY_ID: KEYS.accessKeyId,
    AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey,
    AWS_DEFAULT_REGION: REGION,
  };
  const more = { RESTIC_REPOSITORY: addressOf(path), RESTIC_PASSWORD: PASSWORD };
  return (await promisify(execFile)(peer("restic"), ["--no-cache", ...args], { env: { ...env, ...more } })).stdout;
}

/** What a volume holds, without its own directory, of which restic keeps nothing. */
async function contents(namespace: string, claim: string): Promise<string> {
  return (await factsOf(harness, namespace, claim))
    .split("\n")
    .filter((line) => !line.startsWith(". ") && !line.startsWith("./lost+found"))
    .join("\n");
}

/** A claim of this namespace as an application of its own sees it. */
async function contentsOfClaim(claim: string): Promise<string> {
  const { client } = harness;
  await client.delete(pods, { namespace: NS, name: "app" });
  await harness.seen(pods, { namespace: NS, fieldSelector: "metadata.name=app" }, (found) => (found.length === 0 ? true : undefined));
  await startApplication(harness, NS, { data: {}, [claim]: {} });
  return contents(NS, claim);
}

describe("a ReplicationSource", () => {
  it("makes the repository and a snapshot in it as VolSync's mover does, and tells so", async () => {
    await createSource("data", { restic: { retain: { last: "2" } } });
    const source = await sourceDone("data");
    expect(source.status).toMatchObject({ latestMoverStatus: { result: "Successful" }, lastSyncDuration: expect.stringMatching(/s$/) as string });
    expect(source.status?.lastSyncStartTime).toBeUndefined();
    const [snapshot] = JSON.parse(await restic("data", "snapshots", "--json")) as { hostname: string; paths: string[]; tags?: string[] }[];
    expect(snapshot).toMatchObject({ hostname: "volsync", paths: ["/data"] });
    expect(await childrenOf(source)).toEqual([]);
  });

  it("goes on from there at the next tag, from a snapshot of the volume, keeps what it is told to, and leaves nothing behind", async () => {
    await inApplication(harness, NS, "echo second > /volumes/data/deep/er/second");
    const path = { namespace: NS, name: "data" };
    await harness.client.patch(replicationSources, path, "merge", {
      spec: { trigger: { manual: "two" }, restic: { copyMethod: "Snapshot", cacheCapacity: "16Mi" } },
    });
    await sourceDone("data", "two");
    await harness.client.patch(replicationSources, path, "merge", { spec: { trigger: { manual: "three" }, restic: { copyMethod: "Clone" } } });
    const source = await sourceDone("data", "three");
    expect(JSON.parse(await restic("data", "snapshots", "--json"))).toHaveLength(2);
    expect(await restic("data", "check", "--read-data")).toContain("no errors were found");
    expect(await restic("data", "ls", "latest")).toContain("/deep/er/second");
    expect(await childrenOf(source)).toEqual(["PersistentVolumeClaim volsync-src-data-cache"]);
  });

  it("says what is wrong with the password, the Secret and the store, and goes on once it is right", async () => {
    await repositorySecret("bad", "data", { RESTIC_PASSWORD: undefined });
    await createSource("bad", { restic: { repository: "bad" } });
    const key = { namespace: NS, name: "bad" };
    const missing = await harness.until(replicationSources, key, ({ status }) => status?.conditions?.[0]?.reason === "Error");
    expect(missing.status?.conditions?.[0]).toMatchObject({ status: "False", message: 'secret "shop/bad" of the repository has no key "RESTIC_PASSWORD"' });
    await repositorySecret("bad", "data", { RESTIC_PASSWORD: "another" });
    await retag("bad", "two");
    const wrong = await harness.until(replicationSources, key, ({ status }) => status?.latestMoverStatus?.result === "Failed");
    expect(wrong.status?.latestMoverStatus?.logs).toMatch(/wrong password|no key found/);
    await harness.until(
      replicationSources,
      key,
      ({ status }) => status?.conditions?.[0]?.message.includes("the password is that of none of its keys") === true,
    );
    const heal = harness.store.faults.add({ matches: () => true, fault: { kind: "error", code: "SlowDown" } });
    await repositorySecret("bad", "data");
    await retag("bad", "three");
    await harness.seen(pods, { namespace: NS, labelSelector: `${VOLSYNC_OWNER_LABEL}=${wrong.metadata.uid}` }, (found) =>
      found.some(({ metadata }) => metadata.name?.endsWith("-3") === true) ? true : undefined,
    );
    heal();
    expect((await sourceDone("bad", "three")).status?.latestMoverStatus?.result).toBe("Successful");
  });

  it("copies a claim only when its owner has brought it to rest, and tells the owner when it is copied", async () => {
    const { client } = harness;
    const key = { namespace: NS, name: "data" };
    const annotate = (annotations: Record<string, string | null>) => client.patch(persistentVolumeClaims, key, "merge", { metadata: { annotations } });
    const copyIs = (status: string) =>
      harness.until(persistentVolumeClaims, key, ({ metadata }) => metadata.annotations?.["volsync.backube/latest-copy-status"] === status);
    await annotate({ "volsync.backube/use-copy-trigger": "" });
    await repositorySecret("rest", "rest");
    await createSource("rest", { restic: { repository: "rest", copyMethod: "Snapshot" } });
    await copyIs("WaitingForTrigger");
    await inApplication(harness, NS, "echo yes > /volumes/data/at-rest; sync");
    await annotate({ "volsync.backube/copy-trigger": "one" });
    const { metadata } = await copyIs("Completed");
    expect(metadata.annotations?.["volsync.backube/latest-copy-trigger"]).toBe("one");
    await inApplication(harness, NS, "mv /volumes/data/at-rest /volumes/data/goes-on; sync");
    await sourceDone("rest");
    const listing = await restic("rest", "ls", "latest");
    expect([listing.includes("/at-rest"), listing.includes("/goes-on")]).toEqual([true, false]);
    await inApplication(harness, NS, "rm /volumes/data/goes-on");
    await annotate({ "volsync.backube/use-copy-trigger": null });
  });

  it("takes everything along when it is deleted in the middle", async () => {
    const hold = harness.hold(({ method, key }) => method === "PUT" && key.includes("volsync/doomed/data/"));
    await repositorySecret("doomed", "doomed");
    await createSource("doomed", { restic: { repository: "doomed", copyMethod: "Clone" } });
    await hold.reached;
    const doomed = await harness.client.get(replicationSources, { namespace: NS, name: "doomed" });
    await harness.client.delete(replicationSources, { namespace: NS, name: "doomed" });
    hold.release();
    const where = { namespace: NS, labelSelector: `${VOLSYNC_OWNER_LABEL}=${doomed.metadata.uid}` };
    await harness.seen(pods, where, (left) => (left.length === 0 ? true : undefined));
    await harness.seen(persistentVolumeClaims, where, (left) => (left.length === 0 ? true : undefined));
  });
});

describe("a ReplicationDestination", () => {
  it("fills a volume of its own that is equal to the source's, byte for byte", async () => {
    await createDestination("back", {});
    const { status } = await destinationDone("back");
    expect(status).toMatchObject({ latestImage: { kind: "PersistentVolumeClaim", name: "volsync-back-dest" }, latestMoverStatus: { result: "Successful" } });
    expect(await contentsOfClaim("volsync-back-dest")).toBe(await contents(NS, "data"));
  });

  it("leaves in a volume that is there already nothing but what the snapshot holds, where that is wanted", async () => {
    await inApplication(harness, NS, "cd /volumes/volsync-back-dest; mkdir -p deep/more; echo other > deep/more/other; echo x >> big; ln -s /etc outside");
    await createDestination("exact", { destinationPVC: "volsync-back-dest", enableFileDeletion: true });
    await destinationDone("exact");
    expect(await contents(NS, "volsync-back-dest")).toBe(await contents(NS, "data"));
  });

  it("goes back by number, and gives a snapshot as its image", async () => {
    await createDestination("image", { copyMethod: "Snapshot", previous: 1, cleanupTempPVC: true });
    const destination = await destinationDone("image");
    const { latestImage } = destination.status ?? {};
    expect(latestImage).toMatchObject({ apiGroup: "snapshot.storage.k8s.io", kind: "VolumeSnapshot" });
    const image = await harness.client.get(volumeSnapshots, { namespace: NS, name: latestImage?.name ?? "" });
    expect(image.status?.readyToUse).toBe(true);
    expect(await childrenOf(destination)).toEqual([`VolumeSnapshot ${latestImage?.name}`]);
  });

  // Only there have volumes the size that is asked for.
  if (isRoot) {
    it("says that its volume is too small for what is restored, and leaves nothing behind when it is deleted", async () => {
      const { client } = harness;
      await createSource("large", { sourcePVC: "large", restic: { repository: "large" } });
      await sourceDone("large");
      await createDestination("small", { repository: "large", storageClassName: "drayage-fs-image", capacity: "8Mi" });
      const key = { namespace: NS, name: "small" };
      const failed = await harness.until(replicationDestinations, key, ({ status }) => status?.latestMoverStatus?.result === "Failed");
      expect(failed.status?.latestMoverStatus?.logs).toContain("no space is left on the device");
      expect(failed.status?.lastManualSync).toBeUndefined();
      await client.delete(replicationDestinations, key);
      const where = { namespace: NS, labelSelector: `${VOLSYNC_OWNER_LABEL}=${failed.metadata.uid}` };
      await harness.seen(pods, where, (left) => (left.length === 0 ? true : undefined));
      await harness.seen(persistentVolumeClaims, where, (left) => (left.length === 0 ? true : undefined));
      await harness.seen(persistentVolumes, {}, (left) => (left.every(({ spec }) => spec.claimRef?.name !== "volsync-small-dest") ? true : undefined));
    });
  }

  it("restores nothing, and says so, where no snapshot is as old as it is asked for", async () => {
    await createDestination("old", { restoreAsOf: "2001-01-01T00:00:00Z" });
    expect((await destinationDone("old")).status?.latestMoverStatus).toMatchObject({
      result: "Successful",
      logs: expect.stringContaining("none fits") as string,
    });
  });
});

describe("a repository of Kopia's format", () => {
  const kopia = { "drayage.io/repository-format": "kopia" };

  it("takes the volume by choice and gives it back", async () => {
    await repositorySecret("kopia", "kopia");
    await createSource("as-kopia", { restic: { repository: "kopia" } }, kopia);
    await sourceDone("as-kopia");
    const url = `s3://${BUCKET}/volsync/kopia?endpoint=${encodeURIComponent(harness.store.url)}&region=${REGION}&pathStyle=true`;
    const env = { AWS_ACCESS_KEY_ID: KEYS.accessKeyId, AWS_SECRET_ACCESS_KEY: KEYS.secretAccessKey };
    const storage = await openStorageUrl(url, { env, clock: systemClock, random: systemRandom });
    const repository = await openRepository(storage, { password: PASSWORD, readOnly: true });
    const { snapshots } = await repository.snapshots.list({});
    expect(snapshots.map(({ source }) => source)).toEqual([{ userName: "as-kopia", host: NS, path: "/data" }]);
    await repository.close();
    await storage.close();
    await createDestination("from-kopia", { repository: "kopia" }, kopia);
    await destinationDone("from-kopia");
    expect(await contentsOfClaim("volsync-from-kopia-dest")).toBe(await contents(NS, "data"));
  });

  it("is not made where restic's is", async () => {
    await createSource("mixed", {}, kopia);
    const { status } = await harness.until(
      replicationSources,
      { namespace: NS, name: "mixed" },
      (source) => source.status?.latestMoverStatus?.result === "Failed",
    );
    expect(status?.latestMoverStatus?.logs).toContain("a restic repository is in its place");
  });
});
