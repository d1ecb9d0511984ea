/** Backups and restores from their first request to their last trace: what they choose, what they run, what they meet, and what is left of them in the bucket and in another cluster. */
import { gunzipSync } from "node:zlib";
import { type Backup, backupStorageLocations, backups, deleteBackupRequests, downloadRequests, restores } from "@drayage/api";
import { configMaps, namespaces, type Pod, persistentVolumeClaims, pods, secrets } from "@drayage/kube";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Harness, VELERO } from "./harness.ts";
import { claimOf, deployApplication, factsOf, fillFolder, inApplication, untilRunning } from "./sample-application.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

const resultsOf = async (kind: "backup" | "restore", name: string) => JSON.stringify(await harness.resultsOf(kind, name));

/** A namespace with a red and a blue ConfigMap and a red Secret. */
async function paint(namespace: string): Promise<void> {
  const { client } = harness;
  await client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } });
  for (const color of ["red", "blue"])
    await client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace, name: color, labels: { color } }, data: { color } });
  await client.create(secrets, { apiVersion: "v1", kind: "Secret", metadata: { namespace, name: "secret", labels: { color: "red" } }, data: {} });
}

/** What a test put there, of what a backup holds: `namespace/name` of ConfigMaps and Secrets. */
async function painted(backup: string): Promise<string[]> {
  const made = new Set(["red", "blue", "secret"]);
  return harness.archive(async (store) => {
    const archive = await store.openArchive(backup);
    try {
      return ["configmaps", "secrets"]
        .flatMap((resource) => archive.items(resource))
        .filter(({ name }) => made.has(name))
        .map(({ namespace, name }) => `${namespace}/${name}`);
    } finally {
      await archive.dispose();
    }
  });
}

describe("a backup", () => {
  beforeAll(async () => {
    for (const namespace of ["one", "two", "three"]) await paint(namespace);
  });

  it.each<[what: string, spec: Backup["spec"], items: string[]]>([
    [
      "the namespaces that are not excluded",
      { excludedNamespaces: ["two"], includedResources: ["configmaps", "secrets"] },
      ["one/blue", "one/red", "three/blue", "three/red", "one/secret", "three/secret"],
    ],
    ["the resources that are included", { includedNamespaces: ["one"], includedResources: ["configmaps"] }, ["one/blue", "one/red"]],
    ["the resources that are not excluded", { includedNamespaces: ["one"], excludedResources: ["configmaps"] }, ["one/secret"]],
    [
      "what has its labels",
      { includedNamespaces: ["one", "two"], labelSelector: { matchLabels: { color: "red" } } },
      ["one/red", "two/red", "one/secret", "two/secret"],
    ],
    [
      "what has the labels of one of its selectors",
      {
        includedNamespaces: ["one"],
        orLabelSelectors: [{ matchLabels: { color: "blue" } }, { matchExpressions: [{ key: "color", operator: "In", values: ["red"] }] }],
      },
      ["one/blue", "one/red", "one/secret"],
    ],
  ])("holds %s, and nothing else", async (what, spec, items) => {
    const name = what.replaceAll(/[^a-z]+/g, "-");
    expect((await harness.backUp(name, { ...spec, snapshotVolumes: false })).status).toMatchObject({ phase: "Completed" });
    expect((await painted(name)).sort()).toEqual([...items].sort());
  });

  it("of a namespace that is not there is PartiallyFailed and names it", async () => {
    const { status } = await harness.backUp("nowhere", { includedNamespaces: ["one", "nowhere"] });
    expect(status).toMatchObject({ phase: "PartiallyFailed", errors: 1 });
    expect(await resultsOf("backup", "nowhere")).toContain("nowhere");
    expect(await painted("nowhere")).toContain("one/red");
  });

  it("can be read through addresses that the server signs", async () => {
    await harness.backUp("readable", { includedNamespaces: ["one"] });
    const fetched = async (kind: "BackupLog" | "BackupResourceList"): Promise<string> => {
      const key = { namespace: VELERO, name: `readable-${kind.toLowerCase()}` };
      const spec = { target: { kind, name: "readable" } };
      await harness.client.create(downloadRequests, { apiVersion: "velero.io/v1", kind: "DownloadRequest", metadata: key, spec });
      const { status } = await harness.until(downloadRequests, key, ({ status }) => (status?.downloadURL ?? "") !== "");
      const response = await fetch(status?.downloadURL ?? "");
      expect(response.status).toBe(200);
      return gunzipSync(new Uint8Array(await response.arrayBuffer())).toString("utf8");
    };
    expect(await fetched("BackupLog")).toMatch(/level=info msg="Backed up a total of \d+ items" backup=velero\/readable/);
    expect(JSON.parse(await fetched("BackupResourceList"))).toMatchObject({ "v1/ConfigMap": expect.arrayContaining(["one/red"]) });
  });
});

describe("hooks", () => {
  const command = (script: string): string => JSON.stringify(["sh", "-c", script]);
  const annotations = (pre: string, onError = "Fail"): Record<string, string> => ({
    "pre.hook.backup.velero.io/command": command(pre),
    "pre.hook.backup.velero.io/on-error": onError,
    "post.hook.backup.velero.io/command": command("echo post >> /tmp/ran"),
  });
  const podOf = (name: string, metadata: Partial<Pod["metadata"]>): Pod => ({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { namespace: "hooked", name, ...metadata },
    spec: { terminationGracePeriodSeconds: 0, containers: [{ name: "main", image: "busybox", command: ["sleep", "100000"] }] },
  });
  /** What the hooks of a pod wrote, in order. */
  const ran = async (name: string): Promise<string> => {
    const { stdout } = await harness.client.podExec({ namespace: "hooked", name }, { command: ["sh", "-c", "cat /tmp/ran 2>/dev/null; rm -f /tmp/ran"] });
    return stdout.trim().replaceAll("\n", " ");
  };
  const podsIn = (backup: string): Promise<string[]> =>
    harness.archive(async (store) => {
      const archive = await store.openArchive(backup);
      try {
        return archive.items("pods").map(({ name }) => name);
      } finally {
        await archive.dispose();
      }
    });

  beforeAll(async () => {
    await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "hooked" } });
    const made = [
      podOf("annotated", { annotations: annotations("echo pre >> /tmp/ran") }),
      podOf("careless", { annotations: annotations("echo tried >> /tmp/ran; exit 7", "Continue") }),
      podOf("selected", { labels: { app: "selected" } }),
    ];
    for (const pod of made) await harness.client.create(pods, pod);
    for (const { metadata } of made) await harness.until(pods, { namespace: "hooked", name: metadata.name ?? "" }, ({ status }) => status?.phase === "Running");
  });

  it("run before and after, from annotations and from the spec; one that may fail fails and the pod is backed up", async () => {
    const exec = (script: string) => ({ exec: { command: ["sh", "-c", script], timeout: "20s" } });
    const { status } = await harness.backUp("hooks", {
      includedNamespaces: ["hooked"],
      hooks: {
        resources: [
          {
            name: "ours",
            includedNamespaces: ["hooked"],
            labelSelector: { matchLabels: { app: "selected" } },
            pre: [exec("echo one >> /tmp/ran"), exec("echo two >> /tmp/ran")],
            post: [exec("echo three >> /tmp/ran")],
          },
        ],
      },
    });
    expect(status).toMatchObject({ phase: "PartiallyFailed", hookStatus: { hooksAttempted: 7, hooksFailed: 1 } });
    expect([await ran("annotated"), await ran("careless"), await ran("selected")]).toEqual(["pre post", "tried post", "one two three"]);
    expect(await podsIn("hooks")).toEqual(["annotated", "careless", "selected"]);
    expect(await resultsOf("backup", "hooks")).toContain("exit code 7");
  });

  it("that must not fail and does keeps its pod out of the backup, and the others in", async () => {
    const pod = podOf("strict", { annotations: annotations("exit 9") });
    await harness.client.create(pods, pod);
    await harness.until(pods, { namespace: "hooked", name: "strict" }, ({ status }) => status?.phase === "Running");
    const { status } = await harness.backUp("strict", { includedNamespaces: ["hooked"] });
    expect(status).toMatchObject({ phase: "PartiallyFailed", hookStatus: { hooksFailed: 2 } });
    expect(await podsIn("strict")).not.toContain("strict");
    expect(await podsIn("strict")).toContain("annotated");
    expect(await resultsOf("backup", "strict")).toContain("exit code 9");
  });
});

describe("a restore", () => {
  let facts = "";
  beforeAll(async () => {
    await deployApplication(harness, "shop", { files: {} });
    await fillFolder(harness, "shop", "files");
    facts = await factsOf(harness, "shop", "files");
    await paintInto("shop");
    expect((await harness.backUp("shop", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });
  });
  const paintInto = async (namespace: string): Promise<void> => {
    await harness.client.create(configMaps, {
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { namespace, name: "settings" },
      data: { answer: "42", old: "kept" },
    });
  };
  const settings = async (namespace: string) => (await harness.client.get(configMaps, { namespace, name: "settings" })).data;

  it("into another namespace brings everything there, and leaves what it came from alone", async () => {
    const { status } = await harness.restore("copy", { backupName: "shop", namespaceMapping: { shop: "copy" } });
    expect(status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "copy");
    expect(await factsOf(harness, "copy", "files")).toBe(facts);
    expect(await settings("copy")).toEqual({ answer: "42", old: "kept" });
    const restored = await harness.client.get(configMaps, { namespace: "copy", name: "settings" });
    expect(restored.metadata.labels).toMatchObject({ "velero.io/backup-name": "shop", "velero.io/restore-name": "copy" });
    expect(await factsOf(harness, "shop", "files")).toBe(facts);
    await harness.expectNothingLeft();
  });

  it("takes only what its own selectors choose", async () => {
    const { status } = await harness.restore("few", { backupName: "shop", namespaceMapping: { shop: "few" }, includedResources: ["configmaps"] });
    expect(status).toMatchObject({ phase: "Completed" });
    expect(await settings("few")).toEqual({ answer: "42", old: "kept" });
    expect((await harness.client.list(pods, { namespace: "few" })).items).toEqual([]);
  });

  it("over what is there warns of what differs and leaves it; with the policy update it brings it back to what was", async () => {
    await harness.client.patch(configMaps, { namespace: "copy", name: "settings" }, "merge", { data: { answer: "43", mine: "new" } });
    await inApplication(harness, "copy", "echo changed > /volumes/files/empty");
    const again = { backupName: "shop", namespaceMapping: { shop: "copy" } };
    const warned = await harness.restore("again", again);
    expect(warned.status).toMatchObject({ phase: "Completed" });
    expect(warned.status?.warnings).toBeGreaterThan(0);
    expect(await resultsOf("restore", "again")).toContain('ConfigMap \\"settings\\" already exists');
    expect(await settings("copy")).toEqual({ answer: "43", mine: "new", old: "kept" });

    expect((await harness.restore("update", { ...again, existingResourcePolicy: "update" })).status).toMatchObject({ phase: "Completed" });
    expect(await settings("copy")).toMatchObject({ answer: "42", old: "kept" });
    // Data is never written over, whatever the policy.
    expect(await inApplication(harness, "copy", "cat /volumes/files/empty")).toBe("changed\n");
  });

  it("of a backup whose claim is still there leaves its data alone and says so", async () => {
    await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "held" } });
    await harness.client.create(persistentVolumeClaims, claimOf("held", "files", {}));
    const { status } = await harness.restore("held", { backupName: "shop", namespaceMapping: { shop: "held" } });
    expect(status?.phase).toMatch(/Completed|PartiallyFailed/);
    expect(await resultsOf("restore", "held")).toContain('Claim \\"held/files\\" exists already: its data is left as it is');
  });
});

describe("a bucket", () => {
  it("that cannot be reached makes its location Unavailable, and a backup into it fails validation; it comes back by itself", async () => {
    const key = { namespace: VELERO, name: "default" };
    const phase = (wanted: string) => harness.until(backupStorageLocations, key, ({ status }) => status?.phase === wanted);
    await harness.client.patch(backupStorageLocations, key, "merge", { spec: { validationFrequency: "1s" } });
    harness.store.faults.outage = "unavailable";
    const { status } = await phase("Unavailable");
    expect(status?.message).toMatch(/^BackupStorageLocation "default" is unavailable: /);
    const refused = await harness.backUp("refused", { includedNamespaces: ["one"] });
    expect(refused.status?.phase).toBe("FailedValidation");
    expect(refused.status?.validationErrors?.join()).toMatch(/"default" is (currently )?unavailable/i);
    harness.heal();
    await phase("Available");
    expect((await harness.backUp("accepted", { includedNamespaces: ["one"] })).status).toMatchObject({ phase: "Completed" });
  });

  it("is what another cluster follows: its backups appear there, restore there, and go when the bucket loses them", async () => {
    await harness.archive((store) => store.deleteBackup("readable"));
    const other = await harness.another();
    try {
      await other.until(backups, { namespace: VELERO, name: "shop" }, ({ status }) => status?.phase === "Completed");
      expect((await other.restore("over-there", { backupName: "shop" })).status).toMatchObject({ phase: "Completed" });
      await untilRunning(other, "shop");
      expect(await factsOf(other, "shop", "files")).toBe(await factsOf(harness, "shop", "files"));
      expect((await other.client.list(backups, { namespace: VELERO })).items.map(({ metadata }) => metadata.name)).not.toContain("readable");

      await other.client.patch(backupStorageLocations, { namespace: VELERO, name: "default" }, "merge", { spec: { backupSyncPeriod: "1s" } });
      await harness.archive((store) => store.deleteBackup("accepted"));
      await other.seen(backups, { namespace: VELERO }, (found) => (found.some(({ metadata }) => metadata.name === "accepted") ? undefined : true));
      expect((await other.client.list(backups, { namespace: VELERO })).items.map(({ metadata }) => metadata.name)).toContain("shop");
    } finally {
      await other.destroy();
    }
  });
});

describe("deleting a backup", () => {
  it("takes its files, its snapshots and its restores' records away, and nothing of other backups", async () => {
    await harness.backUp("second", { includedNamespaces: ["shop"] });
    expect(await harness.verifyRepository("shop")).toBe(2);
    const name = "shop-delete";
    const spec = { backupName: "shop" };
    await harness.client.create(deleteBackupRequests, { apiVersion: "velero.io/v1", kind: "DeleteBackupRequest", metadata: { namespace: VELERO, name }, spec });
    await harness.seen(backups, { namespace: VELERO, fieldSelector: "metadata.name=shop" }, (found) => (found.length === 0 ? true : undefined));
    expect(await harness.archive((store) => store.listBackups())).toContain("second");
    const left = await harness.bucket(async (store) => {
      const keys: string[] = [];
      for (const prefix of ["backups/shop/", "restores/copy/", "restores/again/"]) for await (const { key } of store.listAll(prefix)) keys.push(key);
      return keys;
    });
    expect(left).toEqual([]);
    expect(await harness.verifyRepository("shop")).toBe(1);
    const records = (await harness.client.list(restores, { namespace: VELERO })).items.filter((restore) => restore.spec.backupName === "shop");
    expect(records).toEqual([]);
    expect((await harness.restore("after", { backupName: "second", namespaceMapping: { shop: "after" } })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "after");
    expect(await factsOf(harness, "after", "files")).toBe(await factsOf(harness, "shop", "files"));
    await harness.expectNothingLeft();
  });
});
