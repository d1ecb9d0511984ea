import { systemClock } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { at, type JsonObject } from "./json.ts";
import { configMap, eventually, startTestServer, type TestServer, take } from "./testing/test-server.ts";

const MAPS = "/api/v1/namespaces/default/configmaps";
const summary = (event: { type: string; object: JsonObject }): string => `${event.type} ${String(at(event.object, "metadata", "name") ?? "")}`;
const versionOf = (object: JsonObject): string => String(at(object, "metadata", "resourceVersion"));

let it_: TestServer;
let abort: AbortController;
let clock: VirtualClock;

beforeEach(async () => {
  // Certificates are checked against the machine's time, so the clock starts there and then stands still.
  clock = new VirtualClock(systemClock.nowMs());
  it_ = await startTestServer({ clock });
  abort = new AbortController();
});

afterEach(async () => {
  abort.abort();
  await it_[Symbol.asyncDispose]();
});

describe("a watch", () => {
  it("begins after the version it is given and misses nothing", async () => {
    const first = await it_.post(MAPS, configMap("a"));
    await it_.post(MAPS, configMap("b"));
    const events = it_.watch(`${MAPS}?watch=1&resourceVersion=${versionOf(first)}`, abort.signal)[Symbol.asyncIterator]();
    expect(summary((await events.next()).value)).toBe("ADDED b");
    await it_.merge(`${MAPS}/a`, { data: { x: "1" } });
    expect(summary((await events.next()).value)).toBe("MODIFIED a");
    await it_.delete(`${MAPS}/a`);
    const deleted = (await events.next()).value;
    expect(summary(deleted)).toBe("DELETED a");
    expect(Number(versionOf(deleted.object))).toBe(it_.server.storage.revision);
  });

  it("tells of objects that begin and cease to match as of new and deleted ones", async () => {
    const start = await it_.post(MAPS, configMap("a"));
    await it_.merge(`${MAPS}/a`, { metadata: { labels: { seen: "yes" } } });
    await it_.merge(`${MAPS}/a`, { metadata: { labels: { seen: "no" } } });
    await it_.delete(`${MAPS}/a`);
    await it_.post(MAPS, configMap("b", {}, { labels: { seen: "yes" } }));
    const events = await take(it_.watch(`${MAPS}?watch=1&labelSelector=seen%3Dyes&resourceVersion=${versionOf(start)}`, abort.signal), 3);
    expect(events.map(summary)).toEqual(["ADDED a", "DELETED a", "ADDED b"]);
    expect(at(events[1]?.object ?? {}, "metadata", "labels", "seen")).toBe("yes");
  });

  it("begins with the state when it is asked to, and marks its end", async () => {
    await it_.post(MAPS, configMap("a"));
    const query = "watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true&fieldSelector=metadata.name%3Da";
    const events = await take(it_.watch(`${MAPS}?${query}`, abort.signal), 2);
    expect(events.map(summary)).toEqual(["ADDED a", "BOOKMARK "]);
    expect(at(events[1]?.object ?? {}, "metadata", "annotations", "k8s.io/initial-events-end")).toBe("true");
    expect(versionOf(events[1]?.object ?? {})).toBe(String(it_.server.storage.revision));
  });

  it("gets an Expired error for a version that is forgotten, and so does a continued list", async () => {
    const first = await it_.post(MAPS, configMap("a"));
    for (const name of ["b", "c", "d"]) await it_.post(MAPS, configMap(name));
    const page = await it_.get(`${MAPS}?limit=2`);
    await it_.post(MAPS, configMap("e"));
    it_.server.compact();
    const [event] = await take(it_.watch(`${MAPS}?watch=1&resourceVersion=${versionOf(first)}`, abort.signal), 1);
    expect(event).toMatchObject({ type: "ERROR", object: { kind: "Status", reason: "Expired", code: 410 } });
    const next = await it_.call("GET", `${MAPS}?limit=2&continue=${String(at(page, "metadata", "continue"))}`);
    expect([next.code, next.body["reason"]]).toEqual([410, "Expired"]);
  });

  it("from a version that is yet to come is told to list anew", async () => {
    const [event] = await take(it_.watch(`${MAPS}?watch=1&resourceVersion=999999`, abort.signal), 1);
    expect(event).toMatchObject({ type: "ERROR", object: { reason: "Expired" } });
  });

  it("can be made late, so that another watch sees a change first", async () => {
    it_.server.faults.add({ matches: ({ info }) => info.isResource && info.plural === "secrets", delayEventsMs: 50 });
    const start = String(it_.server.storage.revision);
    const late = take(it_.watch(`/api/v1/namespaces/default/secrets?watch=1&resourceVersion=${start}`, abort.signal), 1);
    const early = take(it_.watch(`${MAPS}?watch=1&resourceVersion=${start}`, abort.signal), 1);
    await eventually(async () => (await it_.call("GET", "/readyz")).code === 200 && it_.server.watchCount === 2);
    await it_.post("/api/v1/namespaces/default/secrets", { metadata: { name: "first" } });
    await it_.post(MAPS, configMap("second"));
    expect((await early).map(summary)).toEqual(["ADDED second"]);
    await clock.advance(50);
    expect((await late).map(summary)).toEqual(["ADDED first"]);
  });

  it("ends when its time is up, when it is dropped, and when the server closes", async () => {
    await it_.post(MAPS, configMap("a"));
    const timed = take(it_.watch(`${MAPS}?watch=1&timeoutSeconds=30&fieldSelector=metadata.name%3Da`), 5);
    await eventually(async () => (await it_.call("GET", "/readyz")).code === 200 && it_.server.watchCount === 1);
    await clock.advance(30_000);
    expect((await timed).map(summary)).toEqual(["ADDED a"]);
    const dropped = take(it_.watch(`${MAPS}?watch=1&fieldSelector=metadata.name%3Da`), 5);
    await eventually(async () => (await it_.call("GET", "/readyz")).code === 200 && it_.server.watchCount === 1);
    it_.server.dropWatches();
    expect((await dropped).map(summary)).toEqual(["ADDED a"]);
    const closed = take(it_.watch(`${MAPS}?watch=1&fieldSelector=metadata.name%3Da`), 5);
    await eventually(async () => (await it_.call("GET", "/readyz")).code === 200 && it_.server.watchCount === 1);
    await it_.server.close();
    expect((await closed).map(summary)).toEqual(["ADDED a"]);
  });

  it("that asks for bookmarks hears how far it is", async () => {
    const start = String(it_.server.storage.revision);
    const events = take(it_.watch(`${MAPS}?watch=1&allowWatchBookmarks=true&resourceVersion=${start}`, abort.signal), 1);
    await eventually(async () => (await it_.call("GET", "/readyz")).code === 200 && it_.server.watchCount === 1);
    await it_.post("/api/v1/namespaces/default/secrets", { metadata: { name: "elsewhere" } });
    await clock.advance(60_000);
    expect((await events).map((event) => [event.type, versionOf(event.object)])).toEqual([["BOOKMARK", String(it_.server.storage.revision)]]);
  });

  it("escapes separators that would break a client's lines", async () => {
    await it_.post(MAPS, configMap("a", { text: "one\u2028two\nthree" }));
    const [event] = await take(it_.watch(`${MAPS}?watch=1&fieldSelector=metadata.name%3Da`, abort.signal), 1);
    expect(at(event?.object ?? {}, "data", "text")).toBe("one\u2028two\nthree");
  });

  it("of one object and of all namespaces see what they should", async () => {
    await it_.post("/api/v1/namespaces", { metadata: { name: "other" } });
    const start = String(it_.server.storage.revision);
    await it_.post(MAPS, configMap("a"));
    await it_.post("/api/v1/namespaces/other/configmaps", configMap("a"));
    await it_.post("/api/v1/namespaces/other/configmaps", configMap("b"));
    const all = await take(it_.watch(`/api/v1/configmaps?watch=1&resourceVersion=${start}`, abort.signal), 3);
    expect(all.map((event) => at(event.object, "metadata", "namespace"))).toEqual(["default", "other", "other"]);
    const one = await take(it_.watch(`/api/v1/watch/namespaces/other/configmaps/b?resourceVersion=${start}`, abort.signal), 1);
    expect(one.map(summary)).toEqual(["ADDED b"]);
  });

  it("in table form sends the columns once", async () => {
    await it_.post(MAPS, configMap("a"));
    await it_.post(MAPS, configMap("b"));
    const watching = it_.call("GET", `${MAPS}?watch=1&timeoutSeconds=1&labelSelector=!none`, undefined, {
      accept: "application/json;as=Table;v=v1;g=meta.k8s.io",
    });
    await eventually(async () => (await it_.call("GET", "/readyz")).code === 200 && it_.server.watchCount === 1);
    await clock.advance(1000);
    const { text } = await watching;
    const tables = text
      .trim()
      .split("\n")
      .map((line) => (JSON.parse(line) as { object: JsonObject }).object);
    expect(tables[0]?.["kind"]).toBe("Table");
    expect(tables.map((table) => table["columnDefinitions"] !== null)).toEqual([true, ...tables.slice(1).map(() => false)]);
  });
});
