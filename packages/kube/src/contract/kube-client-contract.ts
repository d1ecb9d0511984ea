/**
 * What every implementation of the client port does, in front of every API server: the fake, the embedded one, a real one.
 * The server needs ConfigMaps, Leases and PersistentVolumeClaims, and one namespace that is the suite's own.
 */
import { invariant, systemClock, systemRandom } from "@drayage/base";
import { memoryLogger } from "@drayage/base/testing";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import {
  type ConfigMap,
  configMaps,
  formatKey,
  type KubeClient,
  keyOf,
  persistentVolumeClaims,
  startInformer,
  updateObject,
  type WatchEvent,
} from "../index.ts";

export interface ContractTarget {
  readonly client: KubeClient;
  /** Exists and is empty. */
  readonly namespace: string;
  close(): Promise<void>;
}

const RETRY = { clock: systemClock, random: systemRandom };

/** The target once it is connected, and what the tests share. */
class Suite {
  #target: ContractTarget | undefined;
  #counter = 0;

  async connect(connect: () => Promise<ContractTarget>): Promise<void> {
    this.#target = await connect();
  }

  async close(): Promise<void> {
    await this.#target?.close();
  }

  get target(): ContractTarget {
    invariant(this.#target !== undefined, "Cannot run the contract: the target is not connected");
    return this.#target;
  }

  get client(): KubeClient {
    return this.target.client;
  }

  get namespace(): string {
    return this.target.namespace;
  }

  next(): number {
    return ++this.#counter;
  }

  config(data: Record<string, string> = {}, metadata: Partial<ConfigMap["metadata"]> = {}): ConfigMap {
    return { metadata: { namespace: this.namespace, name: `contract-${this.next()}`, ...metadata }, data };
  }
}

/** Declares the suite; call it at the top level of a test file. */
export function kubeClientContract(name: string, connect: () => Promise<ContractTarget>): void {
  describe(`the Kubernetes client against ${name}`, () => {
    const suite = new Suite();
    beforeAll(() => suite.connect(connect));
    afterAll(() => suite.close());
    objectsContract(suite);
    changesContract(suite);
    deletionsContract(suite);
    watchesContract(suite);
  });
}

/** Reading, creating and listing. */
function objectsContract(suite: Suite): void {
  it("creates an object with an identity, and reads the same one", async () => {
    const created = await suite.client.create(configMaps, suite.config({ a: "1" }));
    expect(created).toMatchObject({ apiVersion: "v1", kind: "ConfigMap", data: { a: "1" } });
    expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
    expect(created.metadata.resourceVersion).toMatch(/^\d+$/);
    expect(created.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    expect(await suite.client.get(configMaps, keyOf(created))).toEqual(created);
  });

  it("refuses to create what exists with KUBE_ALREADY_EXISTS", async () => {
    const created = await suite.client.create(configMaps, suite.config());
    await expect(suite.client.create(configMaps, { metadata: { namespace: suite.namespace, name: created.metadata.name ?? "" } })).rejects.toMatchObject({
      code: "KUBE_ALREADY_EXISTS",
    });
  });

  it("completes generateName with five characters", async () => {
    const { namespace } = suite;
    const created = await suite.client.create(configMaps, { metadata: { namespace, generateName: "generated-" } });
    expect(created.metadata.name).toMatch(/^generated-[a-z0-9]{5}$/);
  });

  it("tells a missing object by KUBE_NOT_FOUND from get, undefined from find and false from delete", async () => {
    const key = { namespace: suite.namespace, name: "nobody" };
    await expect(suite.client.get(configMaps, key)).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
    expect(await suite.client.find(configMaps, key)).toBeUndefined();
    expect(await suite.client.delete(configMaps, key)).toBe(false);
  });

  it("lists by labels and by name, page by page, with apiVersion and kind on each item", async () => {
    const set = `set-${suite.next()}`;
    for (let index = 0; index < 5; index++) await suite.client.create(configMaps, suite.config({}, { labels: { set, odd: String(index % 2) } }));
    const page = await suite.client.list(configMaps, { namespace: suite.namespace, labelSelector: `set=${set}`, limit: 2 });
    expect(page.items).toHaveLength(2);
    expect(page.items[0]).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
    expect(page.metadata.continue).toBeTruthy();
    const rest = await suite.client.list(configMaps, {
      namespace: suite.namespace,
      labelSelector: `set=${set}`,
      limit: 10,
      continue: page.metadata.continue ?? "",
    });
    expect(new Set([...page.items, ...rest.items].map(({ metadata }) => metadata.uid)).size).toBe(5);
    const odd: string[] = [];
    for await (const object of suite.client.listAll(configMaps, { namespace: suite.namespace, labelSelector: `set=${set},odd in (1)` }))
      odd.push(formatKey(keyOf(object)));
    expect(odd).toHaveLength(2);
    const name = page.items[0]?.metadata.name ?? "";
    const byName = await suite.client.list(configMaps, { namespace: suite.namespace, fieldSelector: `metadata.name=${name}` });
    expect(byName.items.map(({ metadata }) => metadata.name)).toEqual([name]);
    await suite.client.deleteCollection(configMaps, { namespace: suite.namespace, labelSelector: `set=${set}` });
    expect((await suite.client.list(configMaps, { namespace: suite.namespace, labelSelector: `set=${set}` })).items).toEqual([]);
  });

  it("refuses an object without a namespace before anything is sent", async () => {
    await expect(suite.client.create(configMaps, { metadata: { name: "homeless" } })).rejects.toMatchObject({ code: "KUBE_BAD_REQUEST" });
  });
}

/** Writing to what is there. */
function changesContract(suite: Suite): void {
  it("replaces only the version it read", async () => {
    const first = await suite.client.create(configMaps, suite.config({ a: "1" }));
    const second = await suite.client.replace(configMaps, { ...first, data: { a: "2" } });
    expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
    await expect(suite.client.replace(configMaps, { ...first, data: { a: "3" } })).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
    expect((await suite.client.get(configMaps, keyOf(first))).data).toEqual({ a: "2" });
  });

  it("lets exactly one of two writers of the same version win", async () => {
    const seen = await suite.client.create(configMaps, suite.config());
    const outcomes = await Promise.allSettled(["a", "b"].map((writer) => suite.client.replace(configMaps, { ...seen, data: { writer } })));
    expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
  });

  it("updates through read, change and replace until it succeeds", async () => {
    const created = await suite.client.create(configMaps, suite.config({ count: "0" }));
    const add = () =>
      updateObject(
        suite.client,
        configMaps,
        keyOf(created),
        (current) => ({ ...current, data: { count: String(Number(current.data?.["count"]) + 1) } }),
        RETRY,
      );
    await Promise.all([add(), add(), add()]);
    expect((await suite.client.get(configMaps, keyOf(created))).data).toEqual({ count: "3" });
  });

  it("merges a merge patch, removing what is null", async () => {
    const created = await suite.client.create(configMaps, suite.config({ a: "1", b: "2" }, { labels: { x: "1", y: "2" } }));
    const patched = await suite.client.patch(configMaps, keyOf(created), "merge", { data: { a: null, c: "3" }, metadata: { labels: { y: null } } });
    expect(patched.data).toEqual({ b: "2", c: "3" });
    expect(patched.metadata.labels).toEqual({ x: "1" });
  });

  it("applies a JSON patch, and refuses one whose test fails with KUBE_INVALID", async () => {
    const created = await suite.client.create(configMaps, suite.config({ a: "1" }));
    const patched = await suite.client.patch(configMaps, keyOf(created), "json", [
      { op: "test", path: "/data/a", value: "1" },
      { op: "add", path: "/data/b", value: "2" },
      { op: "remove", path: "/data/a" },
    ]);
    expect(patched.data).toEqual({ b: "2" });
    const failing = suite.client.patch(configMaps, keyOf(created), "json", [{ op: "test", path: "/data/b", value: "other" }]);
    await expect(failing).rejects.toMatchObject({ code: "KUBE_INVALID" });
  });

  it("changes nothing in a dry run", async () => {
    const created = await suite.client.create(configMaps, suite.config({ a: "1" }));
    const dry = await suite.client.replace(configMaps, { ...created, data: { a: "2" } }, { dryRun: true });
    expect(dry.data).toEqual({ a: "2" });
    expect((await suite.client.get(configMaps, keyOf(created))).data).toEqual({ a: "1" });
  });

  it("keeps the status apart from the rest where the kind has a status subresource", async () => {
    const claim = await suite.client.create(persistentVolumeClaims, {
      metadata: { namespace: suite.namespace, name: `contract-${suite.next()}` },
      spec: { accessModes: ["ReadWriteOnce"], storageClassName: "contract", resources: { requests: { storage: "1Gi" } } },
      status: { phase: "Lost" },
    });
    expect(claim.status?.phase).not.toBe("Lost");
    const withStatus = await suite.client.replaceStatus(persistentVolumeClaims, {
      ...claim,
      status: { phase: "Lost" },
      metadata: { ...claim.metadata, annotations: { through: "status" } },
    });
    expect(withStatus.status?.phase).toBe("Lost");
    const replaced = await suite.client.replace(persistentVolumeClaims, {
      ...withStatus,
      status: { phase: "Bound" },
      metadata: { ...withStatus.metadata, labels: { a: "b" } },
    });
    expect(replaced.status?.phase).toBe("Lost");
    expect(replaced.metadata.labels).toEqual({ a: "b" });
    const patched = await suite.client.patchStatus(persistentVolumeClaims, keyOf(claim), "merge", { status: { phase: "Pending" } });
    expect(patched.status?.phase).toBe("Pending");
    await suite.client.patch(persistentVolumeClaims, keyOf(claim), "merge", { metadata: { finalizers: null } });
    await suite.client.delete(persistentVolumeClaims, keyOf(claim));
  });
}

/** Deleting. */
function deletionsContract(suite: Suite): void {
  it("keeps a deleted object until its last finalizer is gone", async () => {
    const created = await suite.client.create(configMaps, suite.config({}, { finalizers: ["example.com/one", "example.com/two"] }));
    expect(await suite.client.delete(configMaps, keyOf(created))).toBe(true);
    const deleting = await suite.client.get(configMaps, keyOf(created));
    expect(deleting.metadata.deletionTimestamp).toBeDefined();
    await suite.client.replace(configMaps, { ...deleting, metadata: { ...deleting.metadata, finalizers: ["example.com/two"] } });
    expect(await suite.client.find(configMaps, keyOf(created))).toBeDefined();
    await suite.client.patch(configMaps, keyOf(created), "merge", { metadata: { finalizers: null } });
    expect(await suite.client.find(configMaps, keyOf(created))).toBeUndefined();
  });

  it("deletes only the object whose UID was meant", async () => {
    const created = await suite.client.create(configMaps, suite.config());
    const wrong = suite.client.delete(configMaps, keyOf(created), { preconditions: { uid: "00000000-0000-4000-8000-000000000000" } });
    await expect(wrong).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
    expect(await suite.client.delete(configMaps, keyOf(created), { preconditions: { uid: created.metadata.uid ?? "" } })).toBe(true);
  });
}

/** Following changes. */
function watchesContract(suite: Suite): void {
  it("watches from a version on: added, modified, deleted, in order", async () => {
    const set = `set-${suite.next()}`;
    const options = { namespace: suite.namespace, labelSelector: `set=${set}` };
    const { metadata } = await suite.client.list(configMaps, options);
    const created = await suite.client.create(configMaps, suite.config({}, { labels: { set } }));
    await suite.client.replace(configMaps, { ...created, data: { a: "1" } });
    await suite.client.delete(configMaps, keyOf(created));
    const events = await take(suite.client.watch(configMaps, { ...options, resourceVersion: metadata.resourceVersion ?? "" }), 3);
    expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
  });

  it("shows an object that leaves a selection as deleted, and one that enters as added", async () => {
    const set = `set-${suite.next()}`;
    const options = { namespace: suite.namespace, labelSelector: `set=${set}` };
    const { metadata } = await suite.client.list(configMaps, options);
    const created = await suite.client.create(configMaps, suite.config({}));
    const inside = await suite.client.patch(configMaps, keyOf(created), "merge", { metadata: { labels: { set } } });
    await suite.client.replace(configMaps, { ...inside, metadata: { ...inside.metadata, labels: { set: "other" } } });
    const events = await take(suite.client.watch(configMaps, { ...options, resourceVersion: metadata.resourceVersion ?? "" }), 2);
    expect(events.map(({ type }) => type)).toEqual(["ADDED", "DELETED"]);
  });

  it("ends a watch with the signal's own reason", async () => {
    const ending = new AbortController();
    const { metadata } = await suite.client.list(configMaps, { namespace: suite.namespace });
    const iterator = suite.client
      .watch(configMaps, { namespace: suite.namespace, resourceVersion: metadata.resourceVersion ?? "", signal: ending.signal })
      [Symbol.asyncIterator]();
    const next = iterator.next();
    const reason = new Error("enough");
    ending.abort(reason);
    await expect(next).rejects.toBe(reason);
  });

  it("fills a cache, and tells a recreated object as gone and new", async () => {
    const set = `set-${suite.next()}`;
    const before = await suite.client.create(configMaps, suite.config({ a: "1" }, { labels: { set } }));
    const informer = startInformer(configMaps, {
      client: suite.client,
      ...RETRY,
      logger: memoryLogger(),
      namespace: suite.namespace,
      labelSelector: `set=${set}`,
    });
    const seen: string[] = [];
    const finished = Promise.withResolvers<void>();
    informer.onChange((old, current) => {
      seen.push(old === undefined ? "new" : current === undefined ? "gone" : "changed");
      if (current?.data?.["a"] === "2") finished.resolve();
    });
    await informer.synced();
    expect(informer.get(keyOf(before))?.metadata.uid).toBe(before.metadata.uid);
    await suite.client.delete(configMaps, keyOf(before));
    await suite.client.create(configMaps, { metadata: { namespace: suite.namespace, name: before.metadata.name ?? "", labels: { set } }, data: { a: "2" } });
    await finished.promise;
    informer.stop();
    expect(seen).toEqual(["new", "gone", "new"]);
  });
}

async function take<T>(events: AsyncIterable<WatchEvent<T>>, count: number): Promise<WatchEvent<T>[]> {
  const taken: WatchEvent<T>[] = [];
  for await (const event of events) {
    if (event.type === "BOOKMARK") continue;
    taken.push(event);
    if (taken.length === count) break;
  }
  return taken;
}
