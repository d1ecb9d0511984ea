/** What stands between commands and their store: limits, copies on this machine, counting. */
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { storageFromUrl } from "../repository-url.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

/** Who sleeps on it is woken at once, and how long that would have been is counted; what files take in real time counts as nothing. */
class ImpatientClock extends VirtualClock {
  waitedMs = 0;

  override async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.waitedMs += ms;
    await this.advance(ms);
  }
}

let folder: string;
let env: Record<string, string>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-limits-"));
  env = { DRAY_REPOSITORY: `file://${folder}/repository`, DRAY_REPOSITORY_PASSWORD: "secret horse", DRAY_STATE_DIR: join(folder, "state") };
  mkdirSync(join(folder, "data"));
  writeFileSync(join(folder, "data", "hello"), "hello, world\n");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function dray(line: string, more: Record<string, string> = {}) {
  const terminal = new RecordingTerminal({ env: { ...env, ...more }, cwd: folder });
  const exitCode = await run(line.split(" "), terminal);
  return { exitCode, out: terminal.text.replaceAll(folder, "/folder"), err: terminal.errors.replaceAll(folder, "/folder") };
}

describe("dray repo throttle", () => {
  it("shows that nothing is limited, then what is, without a password", async () => {
    const unlimited = await dray("repo throttle get", { DRAY_REPOSITORY_PASSWORD: "" });
    expect(unlimited).toEqual({
      exitCode: 0,
      err: "",
      out: [
        "Max Download Speed:            (unlimited)\n",
        "Max Upload Speed:              (unlimited)\n",
        "Max Read Requests Per Second:  (unlimited)\n",
        "Max Write Requests Per Second: (unlimited)\n",
        "Max List Requests Per Second:  (unlimited)\n",
        "Max Concurrent Reads:          (unlimited)\n",
        "Max Concurrent Writes:         (unlimited)\n",
      ].join(""),
    });
    const set = await dray("repo throttle set --upload-bytes-per-second=1048576 --read-requests-per-second 2.5 --concurrent-writes 3");
    expect(set.out).toContain("Max Upload Speed:              1.0 MiB/s\nMax Read Requests Per Second:  2.5\n");
    const json = await dray("repo throttle get --json");
    expect(JSON.parse(json.out)).toEqual({ type: "summary", maxUploadSpeedBytesPerSecond: 1048576, readsPerSecond: 2.5, concurrentWrites: 3, schema: 1 });
  });

  it("changes only what is named, and leaves no file where nothing is limited", async () => {
    await dray("repo throttle set --upload-bytes-per-second 5000 --list-requests-per-second 1");
    await dray("repo throttle set --upload-bytes-per-second unlimited");
    expect(JSON.parse((await dray("repo throttle get --json")).out)).toEqual({ type: "summary", listsPerSecond: 1, schema: 1 });
    await dray("repo throttle set --list-requests-per-second -");
    expect(readdirSync(join(folder, "state", "throttle"))).toEqual([]);
  });

  it("takes the ways to write a place for the same place, and other places for others", async () => {
    await dray(`repo throttle set --concurrent-reads 7 -r s3://bucket/a/?endpoint=http://one:9000&region=x`);
    const reads = async (url: string) => (JSON.parse((await dray(`repo throttle get --json -r ${url}`)).out) as { concurrentReads?: number }).concurrentReads;
    expect(await reads("s3://bucket/a?pathStyle=true&endpoint=http://one:9000")).toBe(7);
    expect(await reads("restic+s3://bucket/a?endpoint=http://one:9000")).toBe(7);
    expect(await reads("s3://bucket/a?endpoint=http://two:9000")).toBeUndefined();
    expect(await reads("s3://bucket/b?endpoint=http://one:9000")).toBeUndefined();
    await dray("repo throttle set --concurrent-reads 5 -r repository");
    expect(await reads(`file://${folder}/repository`)).toBe(5);
  });

  it.each([
    ["--upload-bytes-per-second 5MB", 'Cannot read --upload-bytes-per-second "5MB": a number of at least 0 or "unlimited" is wanted'],
    ["--concurrent-reads 1.5", 'Cannot read --concurrent-reads "1.5": a whole number of at least 0 or "unlimited" is wanted'],
    ["--write-requests-per-second=-1", 'Cannot read --write-requests-per-second "-1": a number of at least 0 or "unlimited" is wanted'],
    ["", "Cannot change the limits: no flag says which"],
  ])("refuses %j", async (flags, message) => {
    const refused = await dray(`repo throttle set ${flags}`.trim());
    expect(refused.exitCode).toBe(2);
    expect(refused.err).toContain(message);
  });

  it("stops a command whose limits are damaged, rather than run without any", async () => {
    await dray("repo create");
    await dray("repo throttle set --concurrent-reads 2");
    const [name = ""] = readdirSync(join(folder, "state", "throttle"));
    const path = join(folder, "state", "throttle", name);
    for (const text of ["{", "[]", '{"speed":1}', '{"readsPerSecond":-1}', '{"readsPerSecond":"fast"}']) {
      writeFileSync(path, text);
      expect((await dray("snapshot list")).exitCode, text).toBe(2);
    }
    expect((await dray("snapshot list")).err).toContain('"readsPerSecond" is "fast", a number of at least 0 is wanted\n  hint: Delete the file');
  });

  it("slows a command, and lets go one that waits when the limits are changed under it", async () => {
    await dray("repo throttle set --upload-bytes-per-second 1");
    const clock = new VirtualClock();
    const terminal = new RecordingTerminal({ env, cwd: folder, clock });
    const storage = await storageFromUrl(env["DRAY_REPOSITORY"] ?? "", terminal, { create: true });
    await storage.put("p1", new Uint8Array(1_000_000));
    let isStored = false;
    const waiting = storage.put("p2", new Uint8Array(1)).then(() => {
      isStored = true;
    });
    await clock.advance(60_000);
    expect(isStored).toBe(false);
    await dray("repo throttle set --upload-bytes-per-second unlimited");
    await clock.advance(2_000);
    await waiting;
    await storage.close();
  });
});

describe("--bandwidth", () => {
  it("limits what one command sends and fetches, and the stricter of it and the place's own limit holds", async () => {
    await dray("repo throttle set --upload-bytes-per-second 500");
    const clock = new ImpatientClock();
    const terminal = new RecordingTerminal({ env, cwd: folder, clock });
    const storage = await storageFromUrl(env["DRAY_REPOSITORY"] ?? "", terminal, { create: true, bandwidth: 1000 });
    const waitedMs = async (work: () => Promise<unknown>): Promise<number> => {
      const before = clock.waitedMs;
      await work();
      return clock.waitedMs - before;
    };
    // What comes first may go at once, and makes the debt that the next one waits for.
    await storage.put("p1", new Uint8Array(10_000));
    expect(await waitedMs(() => storage.put("p2", new Uint8Array(1)))).toBeGreaterThan(18_000);
    await storage.get("p1");
    const fetched = await waitedMs(() => storage.get("p2"));
    expect(fetched).toBeGreaterThan(8_000);
    expect(fetched).toBeLessThan(12_000);
    await storage.close();
  });

  it("is taken by what moves data, and refused where it is no number of bytes", async () => {
    await dray("repo create");
    const created = await dray("snapshot create data --bandwidth 20M");
    expect(created.exitCode).toBe(0);
    const id = /[0-9a-f]{32}/.exec(created.out)?.[0] ?? "";
    expect((await dray(`snapshot restore ${id} restored --bandwidth 1G`)).exitCode).toBe(0);
    expect(readFileSync(join(folder, "restored", "hello"), "utf8")).toBe("hello, world\n");
    for (const wrong of ["0", "20MB", "fast", "-1"]) {
      const refused = await dray(`snapshot create data --bandwidth=${wrong}`);
      expect(refused.exitCode).toBe(2);
      expect(refused.err).toContain(`Cannot read --bandwidth "${wrong}": a whole number of bytes above 0 is wanted`);
    }
  });
});

describe("copies on this machine", () => {
  it("answer what never changes, are shown with their size, and are made again when damaged", async () => {
    const copies = { DRAY_CACHE_MIB: "16" };
    await dray("repo create", copies);
    await dray("snapshot create data --source user@host:/data", copies);
    rmSync(join(folder, "state"), { recursive: true });
    const cold = await dray("snapshot list --debug", copies);
    expect(cold.exitCode).toBe(0);
    const warm = await dray("snapshot list --debug", copies);
    expect(warm.out).toBe(cold.out);
    expect(cold.err).toMatch(/0 of \d+ answers were on this machine/);
    expect(warm.err).toMatch(/([1-9]\d*) of \1 answers were on this machine/);
    const stored = join(folder, "state", "blobs");
    const files = readdirSync(stored, { recursive: true, encoding: "utf8", withFileTypes: true }).filter((entry) => entry.isFile());
    expect(files.length).toBeGreaterThan(0);
    expect((await dray("repo status", copies)).out).toMatch(/Copies: +.* of indexes; [\d.]+ KiB of blobs, of at most 16\.0 MiB in \/folder\/state\/blobs\n/);
    for (const file of files) writeFileSync(join(file.parentPath, file.name), readFileSync(join(file.parentPath, file.name)).fill(7, 0, 5));
    const repaired = await dray("snapshot list", copies);
    expect(repaired).toMatchObject({ exitCode: 0, out: cold.out });
    expect(repaired.err).toContain("Fetching a blob again, its local copy was damaged");
    expect((await dray("snapshot list", copies)).err).toBe("");
  });

  it("are not asked when the question is what the store holds", async () => {
    const copies = { DRAY_CACHE_MIB: "16" };
    await dray("repo create", copies);
    await dray("snapshot create data --source user@host:/data", copies);
    await dray("snapshot list", copies);
    const pack = readdirSync(join(folder, "repository"), { recursive: true, encoding: "utf8", withFileTypes: true }).filter(
      (entry) => entry.isFile() && /^q|\/q/.test(join(entry.parentPath, entry.name).slice(join(folder, "repository").length + 1)),
    );
    for (const file of pack) rmSync(join(file.parentPath, file.name));
    expect((await dray("snapshot list", copies)).exitCode).toBe(0);
    expect((await dray("snapshot verify", copies)).exitCode).not.toBe(0);
  });

  it("are none of folders, unless somebody asks for them", async () => {
    await dray("repo create");
    await dray("snapshot list");
    expect((await dray("repo status")).out).toMatch(/Copies: +.* of indexes; no blobs\n/);
    expect((await dray("repo status", { DRAY_CACHE_MIB: "lots" })).err).toContain('Cannot read DRAY_CACHE_MIB "lots": a number of MiB is wanted');
  });
});

describe("--debug", () => {
  it("tells what was asked of the store", async () => {
    await dray("repo create");
    expect((await dray("snapshot list --debug")).err).toMatch(/\ndray: file:\/\/\/folder\/repository: \d+ get of [\d.]+ KiB in \d\.\d\d s.*; \d+ list in /);
    expect((await dray("snapshot list")).err).not.toContain(" get ");
  });
});
