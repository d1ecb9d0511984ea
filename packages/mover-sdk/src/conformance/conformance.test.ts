import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import type { DataMover } from "../data-mover.ts";
import { conformance } from "./conformance.ts";
import type { MoverSample } from "./sample.ts";

const folder = mkdtempSync(join(tmpdir(), "conformance-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const sample: MoverSample = {
  async prepare(below) {
    mkdirSync(below, { recursive: true });
    const [from, to] = [join(below, "from"), join(below, "to")];
    writeFileSync(from, "payload");
    const source = (path: string) => ({ apiVersion: "v1", kind: "Note", name: "n", object: { path } });
    return {
      source: source(from),
      destination: source(to),
      differences: async () => (readFileSync(to, "utf8") === "payload" ? [] : ["the payload is another"]),
    };
  },
};

const pathOf = (object: unknown): string => (object as { path: string }).path;

/** A mover of one file that does everything right. */
const right: DataMover = {
  name: "notes",
  version: "1.0.0",
  description: "One file",
  capabilities: { kinds: ["notes"], cancel: true, progress: true, block: false, incremental: false },
  targets: ["BackupStorageLocation"],
  parameters: { type: "object", properties: {} },
  async backup({ source, id, target, signal, progress }) {
    const data = readFileSync(pathOf(source.object));
    await target.store.put(`${id}/note`, data, signal);
    signal.throwIfAborted();
    progress({ totalBytes: data.length, doneBytes: data.length });
    return { snapshotId: id, totalBytes: data.length };
  },
  async restore({ source, target, moved, signal }) {
    const data = await target.store.get(`${moved.snapshotId}/note`, signal);
    writeFileSync(pathOf(source.object), data);
    return { totalBytes: data.length };
  },
  async delete({ id, target }) {
    await target.store.delete(`${id}/note`);
  },
};

describe("conformance()", () => {
  it("passes a mover that does everything right", async () => {
    const report = await conformance(right, { folder, sample });
    expect(report.filter(({ ok }) => !ok)).toEqual([]);
  });

  it.each<[what: string, broken: Partial<DataMover>, check: string, message: RegExp]>([
    ["a name that cannot name objects", { name: "My Mover" }, "describes itself", /name is "My Mover"/],
    [
      "parameters that are no schema",
      { parameters: { type: "object", properties: { a: { type: "wrong", description: "a" } } } },
      "describes itself",
      /not a JSON Schema/,
    ],
    [
      "a schema that lets any name pass",
      { parameters: { type: "object", additionalProperties: true } },
      "refuses a parameter that it does not publish",
      /misspelt/,
    ],
    ["a complaint about the sample", { validate: async () => ["too old"] }, "finds nothing wrong with the sample", /too old/],
    ["a result without an id", { backup: async () => ({ snapshotId: "", totalBytes: 1 }) }, "brings back what it backed up", /snapshotId/],
    [
      "a result that does not fit into a termination message",
      { backup: async () => ({ snapshotId: "a", totalBytes: 1, result: { log: "x".repeat(1 << 20) } }) },
      "brings back what it backed up",
      /snapshotId, a text|bytes, at most/,
    ],
    [
      "progress that goes back",
      {
        backup: (context) => {
          context.progress({ totalBytes: 9, doneBytes: 8 });
          return right.backup(context);
        },
      },
      "says how far it is, and never goes back",
      /went back from 8 to 7/,
    ],
    ["data that stays after its deletion", { delete: async () => undefined }, "deletes all that it wrote, and can do so again", /still holds sample-1\/note/],
    [
      "one id for all backups",
      { backup: async (context) => ({ ...(await right.backup(context)), snapshotId: "same" }) },
      "keeps two backups apart",
      /both have the id "same"/,
    ],
    [
      "a failed store that it ignores",
      {
        backup: async (context) => {
          await right.backup(context).catch(() => undefined);
          return { snapshotId: context.id, totalBytes: 0 };
        },
      },
      "fails when the store fails, leaving what can be deleted",
      /succeeded all the same/,
    ],
    ["a restore of nothing that succeeds", { restore: async () => ({ totalBytes: 0 }) }, "fails to restore what is not there", /succeeded all the same/],
    [
      "a cancel that it ignores",
      { backup: (context) => right.backup({ ...context, signal: new AbortController().signal }) },
      "stops when it is told to",
      /went on to its end/,
    ],
  ])("finds %s", async (_what, broken, check, message) => {
    const report = await conformance({ ...right, ...broken }, { folder, sample });
    expect(report.find(({ name }) => name === check)).toMatchObject({ ok: false, message: expect.stringMatching(message) });
  });

  it("gives up on a mover that never ends, and goes on with the other checks", async () => {
    const report = await conformance({ ...right, restore: () => new Promise(() => undefined) }, { folder, sample, limitMs: 50 });
    expect(report.find(({ name }) => name === "brings back what it backed up")?.message).toBe("it has not ended after 0.05 s");
    expect(report.find(({ name }) => name === "deletes all that it wrote, and can do so again")?.ok).toBe(true);
  });
});
