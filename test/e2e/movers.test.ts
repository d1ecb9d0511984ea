/** Movers of others beside the built-in one: chosen, run, restored from, deleted with their backup, and met with everything that a mover can do wrong. */
import { join, resolve } from "node:path";
import {
  type DataMover,
  type DataMoverBackup,
  type DataMoverRestore,
  type DeleteBackupRequest,
  dataMoverBackups,
  dataMoverClasses,
  dataMoverRestores,
  dataMovers,
  deleteBackupRequests,
  MOVER_ANNOTATIONS,
} from "@drayage/api";
import { systemClock } from "@drayage/base";
import { configMaps, customResourceDefinitions, type GenericObject, namespaces, persistentVolumeClaims, pods, type ResourceType, secrets } from "@drayage/kube";
import { describeMover } from "@drayage/mover-sdk";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { run } from "../../apps/dray/src/main.ts";
import { RecordingTerminal } from "../../apps/dray/src/testing/recording-terminal.ts";
import images from "../../packages/mover-sdk/examples/registry-images.ts";
import tar from "../../packages/mover-sdk/examples/tar-volume.ts";
import { type SmallRegistry, startSmallRegistry } from "../../packages/mover-sdk/examples/testing/small-registry.ts";
import { Harness, VELERO } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "./sample-application.ts";

const examples = resolve(import.meta.dirname, "../../packages/mover-sdk/examples");

let harness: Harness;
let registry: SmallRegistry;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  await registerModule(tar, "tar-volume.ts");
  await registerModule(images, "registry-images.ts");
  registry = await startSmallRegistry();
});
afterEach(() => harness?.heal());
afterAll(async () => {
  await registry?.close();
  await harness?.destroy();
});

async function registerModule(mover: Parameters<typeof describeMover>[0], file: string): Promise<void> {
  const { name, ...spec } = describeMover(mover);
  await register(name, { ...spec, module: join(examples, file) } as unknown as DataMover["spec"]);
}

async function register(name: string, spec: DataMover["spec"]): Promise<void> {
  await harness.client.create(dataMovers, { apiVersion: "drayage.io/v1alpha1", kind: "DataMover", metadata: { name }, spec });
}

/** What movers keep in the bucket. */
async function movedKeys(): Promise<string[]> {
  const found: string[] = [];
  await harness.bucket(async (bucket) => {
    for await (const { key } of bucket.listAll("plugins/")) found.push(key);
  });
  return found;
}

const annotate = (namespace: string, name: string, annotations: Record<string, string>) =>
  harness.client.patch(persistentVolumeClaims, { namespace, name }, "merge", { metadata: { annotations } });

/** OpenShift's kind, as far as the example reads it. */
const imageStreams: ResourceType<GenericObject> = { group: "image.openshift.io", version: "v1", plural: "imagestreams", kind: "ImageStream", namespaced: true };

async function defineImageStreams(): Promise<void> {
  const open = { type: "object", "x-kubernetes-preserve-unknown-fields": true };
  await harness.client.create(customResourceDefinitions, {
    apiVersion: "apiextensions.k8s.io/v1",
    kind: "CustomResourceDefinition",
    metadata: { name: "imagestreams.image.openshift.io" },
    spec: {
      group: "image.openshift.io",
      scope: "Namespaced",
      names: { kind: "ImageStream", listKind: "ImageStreamList", plural: "imagestreams", singular: "imagestream" },
      versions: [{ name: "v1", served: true, storage: true, schema: { openAPIV3Schema: { type: "object", properties: { spec: open, status: open } } } }],
    },
  } as unknown as Parameters<typeof harness.client.create>[1] as never);
  await harness.seen(customResourceDefinitions, { fieldSelector: "metadata.name=imagestreams.image.openshift.io" }, ([found]) =>
    JSON.stringify((found as unknown as { status?: unknown } | undefined)?.status ?? "").includes('"Established"') ? true : undefined,
  );
}

const expectNoMovesLeft = async (): Promise<void> => {
  const left = [...(await harness.client.list(pods, { namespace: VELERO })).items, ...(await harness.client.list(secrets, { namespace: VELERO })).items].filter(
    ({ metadata }) => Object.keys(metadata.labels ?? {}).some((label) => label.startsWith("drayage.io/data-mover-")),
  );
  expect(left.map(({ metadata }) => metadata.name)).toEqual([]);
};

async function deleteBackup(name: string, attempt = "first"): Promise<void> {
  const request: DeleteBackupRequest = {
    apiVersion: "velero.io/v1",
    kind: "DeleteBackupRequest",
    metadata: { namespace: VELERO, name: `delete-${name}-${attempt}` },
    spec: { backupName: name },
  };
  await harness.client.create(deleteBackupRequests, request);
  await harness.seen(deleteBackupRequests, { namespace: VELERO }, (found) => {
    const failed = found.find(({ metadata, status }) => metadata.name === request.metadata.name && (status?.errors ?? []).length > 0);
    if (failed !== undefined) throw new Error(JSON.stringify(failed.status));
    return found.length === 0 ? true : undefined;
  });
}

describe("dray mover", () => {
  it("registers, lists, explains and removes", async () => {
    const dray = async (...words: string[]): Promise<string> => {
      const terminal = new RecordingTerminal({ env: { KUBECONFIG: harness.cluster.kubeconfigPath } });
      expect(await run(["mover", ...words], terminal)).toBe(0);
      return terminal.text;
    };
    await dray("remove", "tar");
    expect(await dray("list")).not.toContain("tar");
    expect(await dray("add", join(examples, "tar-volume.ts"), "--path", join(examples, "tar-volume.ts"))).toBe('Mover "tar" 1.0.0 is registered.\n');
    expect(await dray("list")).toMatch(/^tar +1\.0\.0 +persistentvolumeclaims +A volume as one tar file$/m);
    expect(await dray("describe", "tar")).toContain('  compression  <string, one of "none", "gzip", default "gzip">\n    How the file is compressed\n');
  });
});

describe("a mover that is an image", () => {
  const dray = async (...words: string[]): Promise<{ readonly code: number; readonly text: string }> => {
    // Pods take the time they take.
    const terminal = Object.assign(new RecordingTerminal({ env: { KUBECONFIG: harness.cluster.kubeconfigPath } }), { clock: systemClock as never });
    const code = await run(["mover", ...words], terminal);
    return { code, text: terminal.text + terminal.errors };
  };
  const nothingLeft = async (): Promise<void> => {
    const left = [...(await harness.client.list(pods, { namespace: VELERO })).items, ...(await harness.client.list(secrets, { namespace: VELERO })).items];
    expect(left.map(({ metadata }) => metadata.name ?? "").filter((name) => /^(describe-mover|validate)-/.test(name))).toEqual([]);
  };
  /** Ours with the example in it: what a vendor makes FROM it, with this as its entry point. */
  const program = ["drayage/dray:0.1.0", "--", "/dray", "data-mover", "run", `--module=${join(examples, "tar-volume.ts")}`];

  it("describes itself, and is checked by pods that move a volume", async () => {
    expect(await dray("add", ...program)).toEqual({ code: 0, text: 'Mover "tar" 1.0.0 is registered.\n' });
    const { spec } = await harness.client.get(dataMovers, { name: "tar" });
    expect(spec).toMatchObject({ image: "drayage/dray:0.1.0", command: program.slice(2), capabilities: { cancel: true }, description: tar.description });
    const { code, text } = await dray("validate", ...program);
    expect(text.match(/^pass {2}/gm), text).toHaveLength(11);
    expect(text).toContain("pass  stops when it is canceled, while its store does not answer\n");
    expect(text).toContain('Mover "tar" passes.\n');
    expect(code).toBe(0);
    expect(await movedKeys()).toEqual([]);
    await nothingLeft();
    await harness.client.delete(dataMovers, { name: "tar" });
    await registerModule(tar, "tar-volume.ts");
  });

  it.each([
    ["says nonsense", "echo done", /mover image "busybox": its describe printed no JSON: "done"/],
    ["says nothing", "exit 0", /its describe printed no JSON: it said nothing/],
    ["says too much", "head -c 1048576 /dev/zero | tr '\\0' x", /its describe printed more than 256 KiB/],
    ["fails", "echo 'no license' > /dev/termination-log; exit 3", /its describe ended with exit code 3: "no license"/],
    ["describes no mover", 'echo "{\\"name\\": \\"My Mover\\"}"', /name is "My Mover".*version is missing.*capabilities\.kinds is empty/],
    ["hangs", "sleep 600", /Cannot run mover image "busybox" to describe itself: it has not ended after 3 s/],
  ])("and %s is refused in bounded time, and leaves nothing", async (_what, script, message) => {
    const { code, text } = await dray("add", "busybox", "--timeout", "3s", "--", "sh", "-c", script);
    expect(text).toMatch(message);
    expect(code).not.toBe(0);
    await nothingLeft();
  });

  it("and cannot be pulled is refused at once", async () => {
    expect((await dray("add", "example.com/missing:1")).text).toMatch(
      /Cannot run mover image "example.com\/missing:1" to describe itself: (ErrImagePull|ImagePullBackOff)/,
    );
    await nothingLeft();
  });

  it("and is described well but moves nothing fails the checks that say so", async () => {
    const described = JSON.stringify({ ...describeMover(tar), name: "lazy" });
    const script = `case "$0" in describe) echo '${described}';; *) echo '{}' > /dev/termination-log;; esac`;
    const { code, text } = await dray("validate", "busybox", "--", "sh", "-c", script);
    expect(text).toContain("FAIL  refuses a request that it does not know: it ended with exit code 0 all the same\n");
    expect(text).toContain('FAIL  brings back what it backed up: its backup ended without a result: "{}"\n');
    expect(code).toBe(1);
    await nothingLeft();
  });
});

describe("a mover image that cannot be stopped", () => {
  it("is told so, and is killed", async () => {
    const description = JSON.stringify({ ...describeMover(tar), name: "deaf" });
    // It fails as it should, but for the store that never answers: there it does not hear.
    const script = `case "$0" in describe) echo '${description}'; exit;; esac
      at=$(sed -n 's/.*"s3Url":"http:..\\([^"]*\\)".*/\\1/p' /credentials/location.json)
      fail() { echo 'the store is broken' > /dev/termination-log; exit 3; }
      case "$at" in *:${new URL(harness.store.url).port}|*:9) fail;; esac
      trap '' TERM; exec 3<>/dev/tcp/$(echo "$at" | tr : /); echo 'GET / HTTP/1.1' >&3; read line <&3 || fail`;
    const terminal = Object.assign(new RecordingTerminal({ env: { KUBECONFIG: harness.cluster.kubeconfigPath } }), { clock: systemClock as never });
    expect(await run(["mover", "validate", "busybox", "--", "bash", "-c", script], terminal)).toBe(1);
    expect(terminal.text).toContain("pass  fails within its time when the store cuts every connection\n");
    expect(terminal.text).toContain("FAIL  stops when it is canceled, while its store does not answer: it had not ended 10 s after SIGTERM and was killed;");
    const left = (await harness.client.list(pods, { namespace: VELERO })).items.map(({ metadata }) => metadata.name ?? "");
    expect(left.filter((name) => name.startsWith("validate-"))).toEqual([]);
  });
});

describe("three movers in one backup", () => {
  it("each move what is theirs and bring it back, and it goes with the backup", async () => {
    await defineImageStreams();
    await deployApplication(harness, "shop", { ours: {}, theirs: {} });
    for (const claim of ["ours", "theirs"]) await fillFolder(harness, "shop", claim);
    const facts = [await factsOf(harness, "shop", "ours"), await factsOf(harness, "shop", "theirs")];
    await annotate("shop", "theirs", { [MOVER_ANNOTATIONS.mover]: "tar", [MOVER_ANNOTATIONS.parameters]: '{"compression":"none"}' });
    const digest = registry.addImage("shop/web", "v1", Buffer.alloc(300_000, "layer"));
    await harness.client.create(imageStreams, {
      apiVersion: "image.openshift.io/v1",
      kind: "ImageStream",
      metadata: { namespace: "shop", name: "web" },
      status: { tags: [{ tag: "v1" }] },
    });
    await harness.client.create(dataMoverClasses, {
      apiVersion: "drayage.io/v1alpha1",
      kind: "DataMoverClass",
      metadata: { name: "images" },
      spec: { mover: "images", parameters: { insecure: true, registry: registry.host }, selector: { resources: ["imagestreams.image.openshift.io"] } },
    });

    expect((await harness.backUp("all", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed", backupItemOperationsCompleted: 3 });
    const [ours, theirs] = await harness.uploads("all", 2);
    expect(ours?.spec.datamover).toBeUndefined();
    expect(theirs).toMatchObject({
      metadata: { annotations: { [MOVER_ANNOTATIONS.chosen]: "tar", [MOVER_ANNOTATIONS.reason]: "its annotation names it" } },
      spec: { datamover: "tar", dataMoverConfig: { compression: "none", exclude: "[]" } },
      status: { phase: "Completed", snapshotID: theirs?.metadata.uid, dataMoverResult: { compression: "none" } },
    });
    const [move] = (await harness.client.list(dataMoverBackups, { namespace: VELERO })).items;
    expect(move).toMatchObject({
      metadata: { annotations: { [MOVER_ANNOTATIONS.reason]: 'DataMoverClass "images" fits' } },
      spec: {
        mover: "images",
        parameters: { insecure: true, format: "any", registry: registry.host },
        source: { kind: "ImageStream", namespace: "shop", name: "web" },
      },
      status: { phase: "Completed", result: { images: "1" }, conditions: [{ type: "Ready", status: "True" }] },
    });
    expect(await movedKeys()).toHaveLength(1 + 5);
    await harness.expectNothingLeft();
    await expectNoMovesLeft();

    await harness.deleteNamespace("shop");
    registry.empty();
    expect((await harness.restore("all", { backupName: "all" })).status).toMatchObject({ phase: "Completed", restoreItemOperationsCompleted: 3 });
    await untilRunning(harness, "shop");
    expect([await factsOf(harness, "shop", "ours"), await factsOf(harness, "shop", "theirs")]).toEqual(facts);
    expect(registry.digest("shop/web", "v1")).toBe(digest);
    expect((await harness.client.list(dataMoverRestores, { namespace: VELERO })).items.map(({ status }) => status?.phase)).toEqual(["Completed"]);
    await harness.expectNothingLeft();
    await expectNoMovesLeft();

    // A mover that is registered no more leaves nothing behind in silence.
    await harness.client.delete(dataMovers, { name: "tar" });
    await expect(deleteBackup("all")).rejects.toThrow(
      /PersistentVolumeClaim \\"shop\/theirs\\" that mover \\"tar\\" moved: the mover is not registered any more/,
    );
    expect((await movedKeys()).filter((key) => key.includes("/tar/"))).toHaveLength(1);
    expect(await harness.archive((store) => store.listBackups())).toContain("all");
    await registerModule(tar, "tar-volume.ts");
    await deleteBackup("all", "again");
    expect(await movedKeys()).toEqual([]);
    expect((await harness.client.list(dataMoverBackups, { namespace: VELERO })).items).toEqual([]);
  });
});

describe("a mover that", () => {
  const misbehaving = {
    silent: "exit 0",
    nonsense: "echo done > /dev/termination-log",
    endless: "head -c 1048576 /dev/zero | tr '\\0' x > /dev/termination-log",
    dying: "exit 137",
    failing: "echo 'the array is on fire' > /dev/termination-log; exit 3",
    stubborn: "trap '' TERM; while :; do sleep 1; done",
  };
  const move = (name: string, over: Partial<DataMoverBackup["spec"]> = {}): DataMoverBackup => ({
    apiVersion: "drayage.io/v1alpha1",
    kind: "DataMoverBackup",
    metadata: { namespace: VELERO, name },
    spec: {
      source: { apiVersion: "v1", kind: "ConfigMap", namespace: "bad", name: "note" },
      mover: name,
      target: { kind: "BackupStorageLocation", name: "default" },
      ...over,
    },
  });
  const ended = (name: string): Promise<DataMoverBackup> =>
    harness.until(dataMoverBackups, { namespace: VELERO, name }, ({ status }) => ["Completed", "Failed", "Canceled"].includes(status?.phase ?? ""));

  /** After the end, whoever made them takes pods and Secrets away. */
  const untilNoMovesLeft = async (): Promise<void> => {
    for (const type of [pods, secrets] as (typeof secrets)[])
      await harness.seen(type, { namespace: VELERO }, (found) => {
        const isMove = (label: string): boolean => label.startsWith("drayage.io/data-mover-");
        return found.some(({ metadata }) => Object.keys(metadata.labels ?? {}).some(isMove)) ? undefined : true;
      });
  };

  it("says nothing, or nonsense, or too much, fails, dies, or cannot be stopped ends in bounded time with a message that names it, and leaves nothing", async () => {
    await harness.client.create(namespaces, { apiVersion: "v1", kind: "Namespace", metadata: { name: "bad" } });
    await harness.client.create(configMaps, { apiVersion: "v1", kind: "ConfigMap", metadata: { namespace: "bad", name: "note" }, data: {} });
    for (const [name, script] of Object.entries(misbehaving)) {
      await register(name, {
        version: "1.0.0",
        description: name,
        image: "busybox",
        // Deleting is what they do well.
        command: ["sh", "-c", `[ "$0" != delete ] || { echo '{}' > /dev/termination-log; exit 0; }; ${script}`],
        capabilities: { kinds: ["configmaps"] },
        parameters: { type: "object", properties: {} },
      });
      await harness.client.create(dataMoverBackups, move(name, name === "stubborn" ? { timeout: "2s" } : {}));
    }
    await harness.client.create(dataMoverBackups, move("nobody"));
    const messages: Record<string, string> = {};
    for (const name of [...Object.keys(misbehaving), "nobody"]) {
      const { status } = await ended(name);
      messages[name] = `${status?.phase}: ${status?.message}`;
    }
    expect(messages).toMatchObject({
      silent: 'Failed: mover "silent" ended without a result: it said nothing',
      nonsense: 'Failed: mover "nonsense" ended without a result: its last message is "done\\n"',
      endless: expect.stringMatching(/^Failed: mover "endless" ended without a result: its last message is "x{200}"$/),
      dying: expect.stringMatching(/^Failed: mover "dying" failed: mover ended with exit code 137/),
      failing: 'Failed: mover "failing" failed: the array is on fire',
      stubborn: 'Canceled: mover "stubborn" has not ended after 2 s',
      nobody: expect.stringMatching(/^Failed: data mover "nobody" does not exist: the movers here are .*"images".*"tar"/),
    });
    for (const name of Object.keys(misbehaving))
      await harness.until(dataMoverBackups, { namespace: VELERO, name }, ({ status }) => status?.dataRemoved === true);
    await harness.seen(pods, { namespace: VELERO, labelSelector: "drayage.io/data-move" }, (found) => (found.length === 0 ? true : undefined));
    await harness.seen(secrets, { namespace: VELERO, labelSelector: "drayage.io/data-mover-backup" }, (found) => (found.length === 0 ? true : undefined));
  });

  it("does so with what it brings back ends in the same way", async () => {
    const spec = { source: move("").spec.source, snapshotID: "s", target: { kind: "BackupStorageLocation", name: "default" } };
    for (const mover of Object.keys(misbehaving))
      await harness.client.create(dataMoverRestores, {
        metadata: { namespace: VELERO, name: `back-${mover}` },
        spec: { ...spec, mover, ...(mover === "stubborn" ? { timeout: "2s" } : {}) },
      });
    const messages: Record<string, string> = {};
    for (const mover of Object.keys(misbehaving)) {
      const isEnded = ({ status }: DataMoverRestore): boolean => ["Completed", "Failed", "Canceled"].includes(status?.phase ?? "");
      const { status } = await harness.until(dataMoverRestores, { namespace: VELERO, name: `back-${mover}` }, isEnded);
      messages[mover] = `${status?.phase}: ${status?.message}`;
    }
    expect(messages).toEqual({
      silent: 'Failed: mover "silent" ended without a result: it said nothing',
      nonsense: 'Failed: mover "nonsense" ended without a result: its last message is "done\\n"',
      endless: expect.stringMatching(/^Failed: mover "endless" ended without a result: its last message is "x{200}"$/),
      dying: expect.stringMatching(/^Failed: mover "dying" failed: mover ended with exit code 137/),
      failing: 'Failed: mover "failing" failed: the array is on fire',
      stubborn: 'Canceled: mover "stubborn" has not ended after 2 s',
    });
    await untilNoMovesLeft();
  });

  it("is a module and does so ends in the same way", async () => {
    const modules: Record<string, string> = {
      "says-nothing": "",
      "says-nonsense": 'return "done";',
      "names-no-snapshot": "return { totalBytes: 1 };",
      "says-too-much": 'return { snapshotId: id, totalBytes: 1, result: { list: "x".repeat(1 << 20) } };',
      "ends-well-too-soon": "process.exit(0);",
      "dies-badly": 'process.kill(process.pid, "SIGKILL"); await new Promise(() => undefined);',
      "is-on-fire": 'throw new Error("the array is on fire");',
      "never-listens": "for (;;);",
    };
    const source = (name: string, body: string): string => `export default {
      name: "${name}", version: "1.0.0", description: "${name}", targets: ["BackupStorageLocation"], parameters: { type: "object", properties: {} },
      capabilities: { kinds: ["configmaps"], cancel: true, progress: true, block: false, incremental: false },
      async backup({ id }) { ${body} }, async restore() { return { totalBytes: 0 }; }, async delete() {},
    };`;
    const data = Object.fromEntries(Object.entries(modules).map(([name, body]) => [`${name}.mjs`, source(name, body)]));
    await harness.client.create(configMaps, { metadata: { namespace: VELERO, name: "bad-modules" }, data });
    for (const name of Object.keys(modules)) {
      const described = { version: "1.0.0", description: name, capabilities: { kinds: ["configmaps"] }, parameters: { type: "object", properties: {} } };
      await register(name, { ...described, module: `/mover/${name}.mjs`, moduleFiles: "bad-modules" });
      await harness.client.create(dataMoverBackups, move(name, name === "never-listens" ? { timeout: "2s" } : {}));
    }
    const messages: Record<string, string> = {};
    for (const name of Object.keys(modules)) {
      const { status } = await ended(name);
      messages[name] = `${status?.phase}: ${status?.message}`;
      await harness.until(dataMoverBackups, { namespace: VELERO, name }, (found) => found.status?.dataRemoved === true);
    }
    expect(messages).toEqual({
      "says-nothing": 'Failed: mover "says-nothing" failed: Cannot tell the result of the mover: its backup returned nothing, an object is wanted',
      "says-nonsense": 'Failed: mover "says-nonsense" failed: Cannot tell the result of the mover: its backup returned "done", an object is wanted',
      "names-no-snapshot": expect.stringContaining("snapshotId, a text, and totalBytes, a whole number, are wanted"),
      "says-too-much": expect.stringMatching(/^Failed: .*: it has 10\d{5} bytes, at most 4096 are kept$/),
      "ends-well-too-soon": 'Failed: mover "ends-well-too-soon" ended without a result: it said nothing',
      "dies-badly": expect.stringMatching(/^Failed: mover "dies-badly" failed: mover ended with /),
      "is-on-fire": 'Failed: mover "is-on-fire" failed: the array is on fire',
      "never-listens": 'Canceled: mover "never-listens" has not ended after 2 s',
    });
    await harness.seen(pods, { namespace: VELERO, labelSelector: "drayage.io/data-move" }, (found) => (found.length === 0 ? true : undefined));
  });

  it("never ends keeps its backup no longer than the backup gives an operation, beside one that ends well", async () => {
    await register("well", {
      version: "1.0.0",
      description: "Ends well",
      image: "busybox",
      command: ["sh", "-c", `[ "$0" = backup ] && echo '{"snapshotID":"kept","totalBytes":3}' > /dev/termination-log || echo '{}' > /dev/termination-log`],
      capabilities: { kinds: ["configmaps"] },
      parameters: { type: "object", properties: {} },
    });
    await harness.client.create(namespaces, { metadata: { name: "held" } });
    for (const mover of ["stubborn", "well"])
      await harness.client.create(configMaps, { metadata: { namespace: "held", name: mover, annotations: { [MOVER_ANNOTATIONS.mover]: mover } }, data: {} });
    const { status } = await harness.backUp("held", { includedNamespaces: ["held"], itemOperationTimeout: "20s" });
    expect(status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsCompleted: 1, backupItemOperationsFailed: 1 });
    const operations = await harness.archive((store) => store.getItemOperations("held"));
    const told = operations.map(({ spec, status: { phase, error } }) => `${spec.resourceIdentifier.Name}: ${phase} ${error ?? ""}`).sort();
    expect(told).toEqual([
      'stubborn: Failed Asynchronous action timed out: mover "stubborn" has not ended after 20 s',
      expect.stringMatching(/^well: Completed/),
    ]);
    await untilNoMovesLeft();
  });

  it("fails takes the rest of its backup not with it, and the backup says so", async () => {
    await harness.client.patch(configMaps, { namespace: "bad", name: "note" }, "merge", {
      metadata: { annotations: { [MOVER_ANNOTATIONS.mover]: "failing" } },
    });
    const { status } = await harness.backUp("bad", { includedNamespaces: ["bad"] });
    expect(status).toMatchObject({ phase: "PartiallyFailed", backupItemOperationsFailed: 1 });
    const [operation] = await harness.archive((store) => store.getItemOperations("bad"));
    expect(operation?.status.error).toContain('mover "failing" failed: the array is on fire');
  });

  it("does not exist, or is given what its schema does not take, keeps its item out of the backup at once", async () => {
    const annotations = (values: Record<string, string>) =>
      harness.client.patch(configMaps, { namespace: "bad", name: "note" }, "merge", { metadata: { annotations: values } });
    await annotations({ [MOVER_ANNOTATIONS.mover]: "nobody" });
    expect((await harness.backUp("nobody", { includedNamespaces: ["bad"] })).status).toMatchObject({ phase: "PartiallyFailed" });
    expect(JSON.stringify(await harness.resultsOf("backup", "nobody"))).toContain("it does not exist; there is");
    await annotations({ [MOVER_ANNOTATIONS.mover]: "failing", [MOVER_ANNOTATIONS.parameters]: '{"speed":9}' });
    expect((await harness.backUp("wrong", { includedNamespaces: ["bad"] })).status).toMatchObject({ phase: "PartiallyFailed" });
    expect(JSON.stringify(await harness.resultsOf("backup", "wrong"))).toContain("is not a parameter");
  });
});
