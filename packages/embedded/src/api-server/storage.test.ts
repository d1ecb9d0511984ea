import { appendFileSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { nullLogger } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { ApiObject } from "./json.ts";
import { type Change, Storage, type StorageOptions } from "./storage.ts";

let directory: string;
let storage: Storage;

const open = (options: Partial<StorageOptions> = {}): Storage => new Storage({ directory, logger: nullLogger, ...options });
const object = (name: string, value = "", namespace = "ns"): ApiObject => ({ apiVersion: "v1", kind: "Thing", metadata: { name, namespace }, value });
const names = (objects: readonly ApiObject[] | undefined): (string | undefined)[] | undefined => objects?.map((it) => it.metadata.name);

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "drayage-storage-"));
  storage = open();
});

afterEach(() => {
  storage.close();
  rmSync(directory, { recursive: true, force: true });
});

describe("the storage", () => {
  it("gives every change the next revision and keeps the objects of a resource in the order of their keys", () => {
    for (const name of ["b", "a", "c"]) storage.put("things", object(name));
    storage.put("others", object("x"));
    expect(names(storage.list("things"))).toEqual(["a", "b", "c"]);
    expect(storage.list("things").map((it) => it.metadata.resourceVersion)).toEqual(["2", "1", "3"]);
    expect(storage.revision).toBe(4);
    storage.put("things", object("d", "", "ns2"));
    expect(names(storage.list("things", "ns2"))).toEqual(["d"]);
    expect(names(storage.list("things", "n"))).toEqual([]);
  });

  it("keeps everything over a restart, with its history", () => {
    storage.put("things", object("a", "1"));
    storage.put("things", object("a", "2"));
    storage.put("things", object("b"));
    storage.remove("things", "ns/b");
    storage.close();
    storage = open();
    expect(storage.revision).toBe(4);
    expect(storage.get("things", "ns/a")).toMatchObject({ value: "2", metadata: { resourceVersion: "2" } });
    expect(storage.changesSince(1)?.map((it) => [it.revision, it.type])).toEqual([
      [2, "MODIFIED"],
      [3, "ADDED"],
      [4, "DELETED"],
    ]);
    expect(storage.put("things", object("c")).metadata.resourceVersion).toBe("5");
  });

  it("answers as of an earlier revision while history reaches back", () => {
    storage.put("things", object("a", "1"));
    storage.put("things", object("b", "1"));
    const revision = storage.revision;
    storage.put("things", object("a", "2"));
    storage.remove("things", "ns/b");
    storage.put("things", object("c", "1"));
    expect(storage.listAt("things", revision)?.map((it) => [it.metadata.name, it["value"]])).toEqual([
      ["a", "1"],
      ["b", "1"],
    ]);
    storage.compact(revision);
    expect(names(storage.listAt("things", revision))).toEqual(["a", "b"]);
    expect(storage.listAt("things", revision - 1)).toBeUndefined();
    expect(storage.changesSince(revision - 1)).toBeUndefined();
    expect(storage.changesSince(revision)?.length).toBe(3);
  });

  it("forgets the oldest changes beyond its limits of number and size", () => {
    storage.close();
    storage = open({ historyMax: 8 });
    for (let index = 0; index < 50; index++) storage.put("things", object("a", String(index)));
    expect(storage.oldestRevision).toBeGreaterThanOrEqual(40);
    expect(storage.changesSince(storage.oldestRevision)?.length).toBe(50 - storage.oldestRevision);
    storage.close();
    storage = open({ historyMaxBytes: 2000 });
    for (let index = 0; index < 50; index++) storage.put("things", object("a", "x".repeat(300)));
    expect(storage.changesSince(storage.oldestRevision)?.length).toBeLessThan(10);
  });

  it("delivers changes in order, also those that a listener makes", () => {
    const seen: string[] = [];
    const note = (who: string) => (change: Change) => void seen.push(`${who}:${change.object.metadata.name}`);
    storage.subscribe((change) => {
      if (change.object.metadata.name === "first") storage.put("things", object("second"));
    });
    storage.subscribe(note("late"));
    storage.put("things", object("first"));
    expect(seen).toEqual(["late:first", "late:second"]);
  });

  it("goes on when a listener fails", () => {
    const seen: string[] = [];
    storage.subscribe(() => {
      throw new Error("broken");
    });
    storage.subscribe((change) => void seen.push(change.object.metadata.name ?? ""));
    storage.put("things", object("a"));
    expect(seen).toEqual(["a"]);
  });

  it("takes nothing after it is closed", () => {
    storage.close();
    expect(storage.closed).toBe(true);
    expect(() => storage.put("things", object("a"))).toThrow(/it is closed/);
  });

  it("cuts off a line that was not written to its end", () => {
    storage.put("things", object("a"));
    storage.close();
    appendFileSync(join(directory, "state.jsonl"), '{"v":2,"r":"things","o":{"metad');
    storage = open();
    expect(storage.revision).toBe(1);
    storage.put("things", object("b"));
    storage.close();
    storage = open();
    expect(names(storage.list("things"))).toEqual(["a", "b"]);
  });

  it("refuses a file with a damaged line in it, naming the line", () => {
    storage.put("things", object("a"));
    storage.put("things", object("b"));
    storage.close();
    const path = join(directory, "state.jsonl");
    writeFileSync(path, readFileSync(path, "utf8").replace('"r":"things"', '"r:"things"'));
    expect(() => open()).toThrow(/line 2 is not readable/);
    writeFileSync(path, '{"log":"something else"}\n');
    expect(() => open()).toThrow(/line 1 is not readable/);
    rmSync(path);
    storage = open();
  });

  it("writes the file anew when it is mostly history, and loses nothing", () => {
    storage.close();
    storage = open({ rewriteAboveBytes: 4000 });
    for (let index = 0; index < 200; index++) storage.put("things", object(index % 2 === 0 ? "a" : "b", `value ${index}`));
    expect(statSync(join(directory, "state.jsonl")).size).toBeLessThan(12_000);
    storage.close();
    storage = open();
    expect(storage.revision).toBe(200);
    expect(storage.list("things").map((it) => it["value"])).toEqual(["value 198", "value 199"]);
    // What was written anew is a state without a past.
    expect(storage.oldestRevision).toBeGreaterThan(100);
  });
});
