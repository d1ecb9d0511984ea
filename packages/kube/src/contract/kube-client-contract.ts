/**
 * What every implementation of the client port does, in front of every API server: the fake, the embedded one, a real one.
 * The server needs ConfigMaps, Leases and PersistentVolumeClaims, and one namespace that is the suite's own.
 */
import { systemClock, systemRandom } from "@drayage/base";
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

/** Declares the suite; call it at the top level of a test file. */
export function kubeClientContract(name: string, connect: () => Promise<ContractTarget>): void {
  describe(`the Kubernetes client against ${name}`, () => {
    let target: ContractTarget;
    let client: KubeClient;
    let counter = 0;
    beforeAll(async () => {
      target = await connect();
      client = target.client;
    });
    afterAll(() => target.close());

    const config = (data: Record<string, string> = {}, metadata: Partial<ConfigMap["metadata"]> = {}): ConfigMap => ({
      metadata: { namespace: target.namespace, name: `contract-${++counter}`, ...metadata },
      data,
    });

    it("creates an object with an identity, and reads the same one", async () => {
      const created = await client.create(configMaps, config({ a: "1" }));
      expect(created).toMatchObject({ apiVersion: "v1", kind: "ConfigMap", data: { a: "1" } });
      expect(created.metadata.uid).toMatch(/^[0-9a-f-]{36}$/);
      expect(created.metadata.resourceVersion).toMatch(/^\d+$/);
      expect(created.metadata.creationTimestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
      expect(await client.get(configMaps, keyOf(created))).toEqual(created);
    });

    it("refuses to create what exists with KUBE_ALREADY_EXISTS", async () => {
      const created = await client.create(configMaps, config());
      await expect(client.create(configMaps, { metadata: { namespace: target.namespace, name: created.metadata.name ?? "" } })).rejects.toMatchObject({
        code: "KUBE_ALREADY_EXISTS",
      });
    });

    it("completes generateName with five characters", async () => {
      const { namespace } = target;
      const created = await client.create(configMaps, { metadata: { namespace, generateName: "generated-" } });
      expect(created.metadata.name).toMatch(/^generated-[a-z0-9]{5}$/);
    });

    it("tells a missing object by KUBE_NOT_FOUND from get, undefined from find and false from delete", async () => {
      const key = { namespace: target.namespace, name: "nobody" };
      await expect(client.get(configMaps, key)).rejects.toMatchObject({ code: "KUBE_NOT_FOUND" });
      expect(await client.find(configMaps, key)).toBeUndefined();
      expect(await client.delete(configMaps, key)).toBe(false);
    });

    it("replaces only the version it read", async () => {
      const first = await client.create(configMaps, config({ a: "1" }));
      const second = await client.replace(configMaps, { ...first, data: { a: "2" } });
      expect(second.metadata.resourceVersion).not.toBe(first.metadata.resourceVersion);
      await expect(client.replace(configMaps, { ...first, data: { a: "3" } })).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
      expect((await client.get(configMaps, keyOf(first))).data).toEqual({ a: "2" });
    });

    it("lets exactly one of two writers of the same version win", async () => {
      const seen = await client.create(configMaps, config());
      const outcomes = await Promise.allSettled(["a", "b"].map((writer) => client.replace(configMaps, { ...seen, data: { writer } })));
      expect(outcomes.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    });

    it("updates through read, change and replace until it succeeds", async () => {
      const created = await client.create(configMaps, config({ count: "0" }));
      const add = () =>
        updateObject(client, configMaps, keyOf(created), (current) => ({ ...current, data: { count: String(Number(current.data?.["count"]) + 1) } }), RETRY);
      await Promise.all([add(), add(), add()]);
      expect((await client.get(configMaps, keyOf(created))).data).toEqual({ count: "3" });
    });

    it("merges a merge patch, removing what is null", async () => {
      const created = await client.create(configMaps, config({ a: "1", b: "2" }, { labels: { x: "1", y: "2" } }));
      const patched = await client.patch(configMaps, keyOf(created), "merge", { data: { a: null, c: "3" }, metadata: { labels: { y: null } } });
      expect(patched.data).toEqual({ b: "2", c: "3" });
      expect(patched.metadata.labels).toEqual({ x: "1" });
    });

    it("applies a JSON patch, and refuses one whose test fails with KUBE_INVALID", async () => {
      const created = await client.create(configMaps, config({ a: "1" }));
      const patched = await client.patch(configMaps, keyOf(created), "json", [
        { op: "test", path: "/data/a", value: "1" },
        { op: "add", path: "/data/b", value: "2" },
        { op: "remove", path: "/data/a" },
      ]);
      expect(patched.data).toEqual({ b: "2" });
      const failing = client.patch(configMaps, keyOf(created), "json", [{ op: "test", path: "/data/b", value: "other" }]);
      await expect(failing).rejects.toMatchObject({ code: "KUBE_INVALID" });
    });

    it("changes nothing in a dry run", async () => {
      const created = await client.create(configMaps, config({ a: "1" }));
      const dry = await client.replace(configMaps, { ...created, data: { a: "2" } }, { dryRun: true });
      expect(dry.data).toEqual({ a: "2" });
      expect((await client.get(configMaps, keyOf(created))).data).toEqual({ a: "1" });
    });

    it("keeps the status apart from the rest where the kind has a status subresource", async () => {
      const claim = await client.create(persistentVolumeClaims, {
        metadata: { namespace: target.namespace, name: `contract-${++counter}` },
        spec: { accessModes: ["ReadWriteOnce"], storageClassName: "contract", resources: { requests: { storage: "1Gi" } } },
        status: { phase: "Lost" },
      });
      expect(claim.status?.phase).not.toBe("Lost");
      const withStatus = await client.replaceStatus(persistentVolumeClaims, {
        ...claim,
        status: { phase: "Lost" },
        metadata: { ...claim.metadata, annotations: { through: "status" } },
      });
      expect(withStatus.status?.phase).toBe("Lost");
      const replaced = await client.replace(persistentVolumeClaims, {
        ...withStatus,
        status: { phase: "Bound" },
        metadata: { ...withStatus.metadata, labels: { a: "b" } },
      });
      expect(replaced.status?.phase).toBe("Lost");
      expect(replaced.metadata.labels).toEqual({ a: "b" });
      const patched = await client.patchStatus(persistentVolumeClaims, keyOf(claim), "merge", { status: { phase: "Pending" } });
      expect(patched.status?.phase).toBe("Pending");
      await client.patch(persistentVolumeClaims, keyOf(claim), "merge", { metadata: { finalizers: null } });
      await client.delete(persistentVolumeClaims, keyOf(claim));
    });

    it("keeps a deleted object until its last finalizer is gone", async () => {
      const created = await client.create(configMaps, config({}, { finalizers: ["example.com/one", "example.com/two"] }));
      expect(await client.delete(configMaps, keyOf(created))).toBe(true);
      const deleting = await client.get(configMaps, keyOf(created));
      expect(deleting.metadata.deletionTimestamp).toBeDefined();
      await client.replace(configMaps, { ...deleting, metadata: { ...deleting.metadata, finalizers: ["example.com/two"] } });
      expect(await client.find(configMaps, keyOf(created))).toBeDefined();
      await client.patch(configMaps, keyOf(created), "merge", { metadata: { finalizers: null } });
      expect(await client.find(configMaps, keyOf(created))).toBeUndefined();
    });

    it("deletes only the object whose UID was meant", async () => {
      const created = await client.create(configMaps, config());
      const wrong = client.delete(configMaps, keyOf(created), { preconditions: { uid: "00000000-0000-4000-8000-000000000000" } });
      await expect(wrong).rejects.toMatchObject({ code: "KUBE_CONFLICT" });
      expect(await client.delete(configMaps, keyOf(created), { preconditions: { uid: created.metadata.uid ?? "" } })).toBe(true);
    });

    it("lists by labels and by name, page by page, with apiVersion and kind on each item", async () => {
      const set = `set-${++counter}`;
      for (let index = 0; index < 5; index++) await client.create(configMaps, config({}, { labels: { set, odd: String(index % 2) } }));
      const page = await client.list(configMaps, { namespace: target.namespace, labelSelector: `set=${set}`, limit: 2 });
      expect(page.items).toHaveLength(2);
      expect(page.items[0]).toMatchObject({ apiVersion: "v1", kind: "ConfigMap" });
      expect(page.metadata.continue).toBeTruthy();
      const rest = await client.list(configMaps, {
        namespace: target.namespace,
        labelSelector: `set=${set}`,
        limit: 10,
        continue: page.metadata.continue ?? "",
      });
      expect(new Set([...page.items, ...rest.items].map(({ metadata }) => metadata.uid)).size).toBe(5);
      const odd: string[] = [];
      for await (const object of client.listAll(configMaps, { namespace: target.namespace, labelSelector: `set=${set},odd in (1)` }))
        odd.push(formatKey(keyOf(object)));
      expect(odd).toHaveLength(2);
      const name = page.items[0]?.metadata.name ?? "";
      const byName = await client.list(configMaps, { namespace: target.namespace, fieldSelector: `metadata.name=${name}` });
      expect(byName.items.map(({ metadata }) => metadata.name)).toEqual([name]);
      await client.deleteCollection(configMaps, { namespace: target.namespace, labelSelector: `set=${set}` });
      expect((await client.list(configMaps, { namespace: target.namespace, labelSelector: `set=${set}` })).items).toEqual([]);
    });

    it("watches from a version on: added, modified, deleted, in order", async () => {
      const set = `set-${++counter}`;
      const options = { namespace: target.namespace, labelSelector: `set=${set}` };
      const { metadata } = await client.list(configMaps, options);
      const created = await client.create(configMaps, config({}, { labels: { set } }));
      await client.replace(configMaps, { ...created, data: { a: "1" } });
      await client.delete(configMaps, keyOf(created));
      const events = await take(client.watch(configMaps, { ...options, resourceVersion: metadata.resourceVersion ?? "" }), 3);
      expect(events.map(({ type }) => type)).toEqual(["ADDED", "MODIFIED", "DELETED"]);
    });

    it("shows an object that leaves a selection as deleted, and one that enters as added", async () => {
      const set = `set-${++counter}`;
      const options = { namespace: target.namespace, labelSelector: `set=${set}` };
      const { metadata } = await client.list(configMaps, options);
      const created = await client.create(configMaps, config({}));
      const inside = await client.patch(configMaps, keyOf(created), "merge", { metadata: { labels: { set } } });
      await client.replace(configMaps, { ...inside, metadata: { ...inside.metadata, labels: { set: "other" } } });
      const events = await take(client.watch(configMaps, { ...options, resourceVersion: metadata.resourceVersion ?? "" }), 2);
      expect(events.map(({ type }) => type)).toEqual(["ADDED", "DELETED"]);
    });

    it("ends a watch with the signal's own reason", async () => {
      const ending = new AbortController();
      const { metadata } = await client.list(configMaps, { namespace: target.namespace });
      const iterator = client
        .watch(configMaps, { namespace: target.namespace, resourceVersion: metadata.resourceVersion ?? "", signal: ending.signal })
        [Symbol.asyncIterator]();
      const next = iterator.next();
      const reason = new Error("enough");
      ending.abort(reason);
      await expect(next).rejects.toBe(reason);
    });

    it("refuses an object without a namespace before anything is sent", async () => {
      await expect(client.create(configMaps, { metadata: { name: "homeless" } })).rejects.toMatchObject({ code: "KUBE_BAD_REQUEST" });
    });

    it("fills a cache, and tells a recreated object as gone and new", async () => {
      const set = `set-${++counter}`;
      const before = await client.create(configMaps, config({ a: "1" }, { labels: { set } }));
      const informer = startInformer(configMaps, { client, ...RETRY, logger: memoryLogger(), namespace: target.namespace, labelSelector: `set=${set}` });
      const seen: string[] = [];
      const finished = Promise.withResolvers<void>();
      informer.onChange((old, current) => {
        seen.push(old === undefined ? "new" : current === undefined ? "gone" : "changed");
        if (current?.data?.["a"] === "2") finished.resolve();
      });
      await informer.synced();
      expect(informer.get(keyOf(before))?.metadata.uid).toBe(before.metadata.uid);
      await client.delete(configMaps, keyOf(before));
      await client.create(configMaps, { metadata: { namespace: target.namespace, name: before.metadata.name ?? "", labels: { set } }, data: { a: "2" } });
      await finished.promise;
      informer.stop();
      expect(seen).toEqual(["new", "gone", "new"]);
    });
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
