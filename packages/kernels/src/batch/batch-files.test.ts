import { closeSync, linkSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemCalls } from "../system/system-calls.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr } from "../testing/index.ts";
import { ATTRIBUTES, type BatchFiles, type DirectoryNames, FILE_STATUS, nameBytes, ROW, ROW_SLOTS } from "./batch-files.ts";
import { nativeFiles } from "./native-files.ts";
import { portableFiles } from "./portable-files.ts";

let root: string;
let fd: number;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "batch-"));
  fd = openSync(root, "r");
});
afterEach(() => {
  closeSync(fd);
  rmSync(root, { recursive: true, force: true });
});

const builds = (await kernelBuilds())
  .filter(({ name }) => !name.includes("without"))
  .map(({ name, addon }) => ({ name, files: addon === undefined ? portableFiles(systemCalls) : nativeFiles(addon) }));
/** Without attributes, of any size. */
const PLAIN = { attributes: false, bytesMax: 2 ** 31 } as const;
const textOf = (names: DirectoryNames): string[] => Array.from(names.ends, (_, i) => Buffer.from(nameBytes(names, i)).toString("latin1"));

/** Rows without what no two looks agree on, by name. */
function factsOf(files: BatchFiles, names: DirectoryNames): Map<string, Record<string, number | bigint>> {
  const rows = new Float64Array(names.ends.length * ROW_SLOTS);
  const words = new BigUint64Array(rows.buffer);
  files.statEntries(fd, names, { from: 0, to: names.ends.length }, true, rows);
  const { status, mode, size, seconds, nanoseconds, uid, gid, links, blocks, attributes } = ROW;
  const numbers = { status, mode, size, seconds, nanoseconds, uid, gid, links, blocks, attributes };
  const facts = new Map<string, Record<string, number | bigint>>();
  for (const [i, name] of textOf(names).entries()) {
    const at = i * ROW_SLOTS;
    const row: Record<string, number | bigint> = {};
    for (const [key, slot] of Object.entries(numbers)) row[key] = rows[at + slot] ?? Number.NaN;
    for (const key of ["inode", "device", "special"] as const) row[key] = words[at + ROW[key]] ?? 0n;
    facts.set(name, row);
  }
  return facts;
}

describe.for(builds)("directories and files many at a time, $name build", ({ files }) => {
  const [reference] = builds;

  it("lists directories first, each part by bytes, names of any bytes", () => {
    for (const name of ["b", "a", "Z", "é", "z"]) writeFileSync(join(root, name), "");
    writeFileSync(Buffer.from(`${root}/\xff\x01`, "latin1"), "");
    for (const name of ["y", "c"]) mkdirSync(join(root, name));
    const names = files.listDirectory(fd);
    expect(names.directories).toBe(2);
    expect(textOf(names)).toEqual(["c", "y", "Z", "a", "b", "z", Buffer.from("é").toString("latin1"), "\xff\x01"]);
    // The position of the open directory is its owner's: a second look sees the same.
    expect(textOf(files.listDirectory(fd))).toEqual(textOf(names));
  });

  it("lists an empty directory, and says by code why one cannot be listed", () => {
    expect(files.listDirectory(fd)).toMatchObject({ names: new Uint8Array(0), ends: new Uint32Array(0), directories: 0 });
    writeFileSync(join(root, "file"), "");
    const file = openSync(join(root, "file"), "r");
    expect(() => files.listDirectory(file)).toThrow(expect.objectContaining({ code: "ENOTDIR" }));
    closeSync(file);
  });

  it("gives the facts of every kind of entry as the portable build does, links themselves and not what they lead to", () => {
    writeFileSync(join(root, "file"), "12345");
    systemCalls.setTimes(join(root, "file"), 0n, -1_250_000_000n);
    linkSync(join(root, "file"), join(root, "other name"));
    symlinkSync("nowhere", join(root, "link"));
    mkdirSync(join(root, "directory"));
    writeFileSync(join(root, "labelled"), "");
    systemCalls.setXattr(join(root, "labelled"), "user.a", ctr(3));
    const names = files.listDirectory(fd);
    const facts = factsOf(files, names);
    expect(facts).toEqual(factsOf(reference?.files ?? files, names));
    expect(facts.get("file")).toMatchObject({ status: 0, size: 5, seconds: -2, nanoseconds: 750_000_000, links: 2, attributes: ATTRIBUTES.none });
    expect(facts.get("labelled")).toMatchObject({ attributes: ATTRIBUTES.some });
    expect(facts.get("link")).toMatchObject({ status: 0, size: 7 });
    rmSync(join(root, "file"));
    expect(factsOf(files, names).get("file")?.["status"]).toBe(2);
  });

  it("reads files one behind the other until the arena is full, and goes on where it stopped", () => {
    const data = [0, 1, 100, 4096, 5000, 3].map((length, i) => ctr(length, Uint8Array.of(i)));
    for (const [i, bytes] of data.entries()) writeFileSync(join(root, String(i)), bytes);
    const names = files.listDirectory(fd);
    const arena = new Uint8Array(6000);
    const rows = new Float64Array(6 * ROW_SLOTS);
    const found: Buffer[] = [];
    for (let from = 0, rounds = 0; from < 6; rounds++) {
      expect(rounds).toBeLessThan(6);
      const done = files.readFiles(
        fd,
        names,
        Uint32Array.from({ length: 6 - from }, (_, i) => from + i),
        { attributes: true, bytesMax: 2 ** 31 },
        rows,
        arena,
      );
      for (let i = 0; i < done; i++) {
        const row = rows.subarray(i * ROW_SLOTS, (i + 1) * ROW_SLOTS);
        expect(row[ROW.status]).toBe(0);
        const start = row[ROW.start] ?? 0;
        found.push(Buffer.from(arena.slice(start, start + (row[ROW.length] ?? 0))));
      }
      from += done;
    }
    expect(found.map((bytes, i) => Buffer.compare(bytes, data[i] ?? new Uint8Array()))).toEqual([0, 0, 0, 0, 0, 0]);
  });

  it("leaves out what is no regular file, what is gone, what is too large and what has holes, and reads the others", () => {
    writeFileSync(join(root, "a"), "before");
    mkdirSync(join(root, "b"));
    symlinkSync("a", join(root, "c"));
    writeFileSync(join(root, "d"), ctr(200));
    writeFileSync(join(root, "e"), "");
    truncateSync(join(root, "e"), 50);
    writeFileSync(join(root, "f"), "gone");
    writeFileSync(join(root, "g"), "after");
    const names = files.listDirectory(fd);
    rmSync(join(root, "f"));
    const rows = new Float64Array(7 * ROW_SLOTS);
    // `b` sorts first, being a directory.
    const order = textOf(names);
    const picks = Uint32Array.from(["a", "b", "c", "e", "f", "g"], (name) => order.indexOf(name));
    const arena = new Uint8Array(100);
    expect(files.readFiles(fd, names, picks, PLAIN, rows, arena)).toBe(6);
    const statuses = Array.from({ length: 6 }, (_, i) => rows[i * ROW_SLOTS + ROW.status]);
    expect(statuses).toEqual([0, FILE_STATUS.notRegular, 40, FILE_STATUS.hasHoles, 2, 0]);
    expect(Buffer.from(arena.subarray(0, 11)).toString()).toBe("beforeafter");
    expect(files.readFiles(fd, names, Uint32Array.of(order.indexOf("d")), PLAIN, rows, arena)).toBe(1);
    expect([rows[ROW.status], rows[ROW.size]]).toEqual([FILE_STATUS.tooLarge, 200]);
  });

  it("leaves out files from a size on, wherever in the arena they would lie", () => {
    for (const [name, length] of Object.entries({ a: 9, b: 10, c: 60, d: 9 })) writeFileSync(join(root, name), ctr(length));
    const rows = new Float64Array(4 * ROW_SLOTS);
    // Not one of them has room behind the first but the last.
    expect(files.readFiles(fd, files.listDirectory(fd), Uint32Array.of(0, 1, 2, 3), { attributes: false, bytesMax: 10 }, rows, new Uint8Array(20))).toBe(4);
    expect(Array.from({ length: 4 }, (_, i) => rows[i * ROW_SLOTS + ROW.status])).toEqual([0, FILE_STATUS.tooLarge, FILE_STATUS.tooLarge, 0]);
    expect(rows[3 * ROW_SLOTS + ROW.start]).toBe(9);
  });

  it("tells whether there is nothing but files and directories", () => {
    mkdirSync(join(root, "a"));
    writeFileSync(join(root, "b"), "");
    expect(files.listDirectory(fd)).toMatchObject({ directories: 1, areFiles: true });
    symlinkSync("a", join(root, "c"));
    expect(files.listDirectory(fd)).toMatchObject({ directories: 1, areFiles: false });
  });

  it("reads a file that grew only as far as it was, and says so", () => {
    // What grows between opening and reading cannot be arranged; a file of /proc is longer than it says.
    const proc = openSync("/proc/self", "r");
    const names: DirectoryNames = { names: new Uint8Array(Buffer.from("status")), ends: Uint32Array.of(6), directories: 0 };
    const rows = new Float64Array(ROW_SLOTS);
    expect(files.readFiles(proc, names, Uint32Array.of(0), PLAIN, rows, new Uint8Array(100))).toBe(1);
    expect([rows[ROW.status], rows[ROW.length]]).toEqual([0, 0]);
    closeSync(proc);
    writeFileSync(join(root, "whole"), ctr(64));
    const grown = openSync(join(root, "whole"), "r+");
    writeSync(grown, ctr(1), 0, 1, 64);
    closeSync(grown);
    expect(files.readFiles(fd, files.listDirectory(fd), Uint32Array.of(0), PLAIN, rows, new Uint8Array(100))).toBe(1);
    expect([rows[ROW.length], rows[ROW.grew]]).toEqual([65, 0]);
  });

  it("writes the entries of stored files whole, or leaves all of them to others", () => {
    const given = ["a", "b b", "not stored", "d"];
    const names: DirectoryNames = { names: Buffer.from(given.join("")), ends: Uint32Array.of(1, 4, 14, 15), directories: 0 };
    const rows = new Float64Array(3 * ROW_SLOTS);
    for (let i = 0; i < 3; i++) {
      const facts = { status: i === 1 ? 2 : 0, mode: 0o100640, size: i, seconds: 1_000_000_000, nanoseconds: 0, uid: 0, gid: 7 };
      for (const [name, value] of Object.entries(facts)) rows[i * ROW_SLOTS + ROW[name as keyof typeof facts]] = value;
    }
    const bytes = ctr(3 * 16);
    const idOf = (i: number): string => Buffer.from(bytes.subarray(16 * i, 16 * i + 16)).toString("hex");
    const entry = (i: number, size: string): string =>
      `{"name":"${given[i + 1]}","type":"f","mode":"0640",${size}"mtime":"2001-09-09T01:46:40Z","gid":7,"obj":"${idOf(i)}"}`;
    const put = (out: Uint8Array, at: number, outEnds: Uint32Array, of = names): number =>
      files.encodeStored(of, { from: 1, to: 4 }, rows, { bytes, digestBytes: 16 }, { out, at, outEnds });
    const out = Buffer.alloc(1000);
    const outEnds = new Uint32Array(4);
    const wanted = [entry(0, ""), entry(2, '"size":2,')];
    const end = put(out, 0, outEnds);
    if (end === -1) {
      expect(files.encodeEntries(names, Uint32Array.of(0), rows, out, outEnds), "only the portable build leaves plain entries to others").toBe(1);
      expect(outEnds[0]).toBe(0);
      return;
    }
    expect(out.toString("latin1", 0, end)).toBe(wanted.join(","));
    expect([...outEnds]).toEqual([0, wanted[0]?.length, wanted[0]?.length, end]);
    // Behind others.
    expect(put(out, 3, outEnds)).toBe(end + 4);
    expect(out.toString("latin1", 3, end + 4)).toBe(`,${wanted.join(",")}`);
    expect(put(out.subarray(0, end), 0, outEnds)).toBe(-1);
    expect(put(out, 0, outEnds, { ...names, names: Buffer.from('ab"b'.padEnd(15, "x")) })).toBe(-1);
  });
});

describe("files many at a time, portable build", () => {
  it("leave a sparse file whose holes cannot be told to who reads it by itself", () => {
    writeFileSync(join(root, "sparse"), "x");
    truncateSync(join(root, "sparse"), 1 << 16);
    const files = portableFiles({
      ...systemCalls,
      dataExtents: () => {
        throw new Error("Structure needs cleaning");
      },
    });
    const rows = new Float64Array(ROW_SLOTS);
    expect(files.readFiles(fd, files.listDirectory(fd), Uint32Array.of(0), PLAIN, rows, new Uint8Array(1 << 20))).toBe(1);
    expect(rows[ROW.status]).toBe(FILE_STATUS.hasHoles);
  });
});
