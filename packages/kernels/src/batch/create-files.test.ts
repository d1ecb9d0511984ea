import { closeSync, lstatSync, mkdirSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKernels } from "../kernels.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { NEW_FILE, type NewFiles, nativeCreateFiles } from "./create-files.ts";

let root: string;
let fd: number;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "create-"));
  fd = openSync(root, "r");
});
afterEach(() => {
  closeSync(fd);
  rmSync(root, { recursive: true, force: true });
});

const owner = { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
const data = Buffer.from("0123456789");

interface Wanted {
  readonly name: string;
  readonly start?: number;
  readonly length?: number;
  readonly mode?: number;
  readonly uid?: number;
  readonly seconds?: number;
  readonly nanoseconds?: number;
  readonly directory?: number;
}

function newFiles(wanted: readonly Wanted[], replace = false): NewFiles {
  const rows = new Float64Array(wanted.length * NEW_FILE.columns);
  wanted.forEach(({ directory = fd, start = 0, length = 10, mode = 0o644, uid = owner.uid, seconds = 1, nanoseconds = 0 }, index) => {
    rows.set([directory, start, length, mode, uid, owner.gid, seconds, nanoseconds], index * NEW_FILE.columns);
  });
  let end = 0;
  const ends = Uint32Array.from(wanted, ({ name }) => (end += name.length));
  const names = Buffer.from(wanted.map(({ name }) => name).join(""), "latin1");
  return { names, ends, rows, count: wanted.length, data, replace, done: new Uint8Array(wanted.length).fill(7) };
}

describe("the portable build", () => {
  it("has none", async () => {
    expect((await createKernels({ build: "portable" })).createFiles).toBeUndefined();
  });
});

for (const { name: build, addon } of await kernelBuilds()) {
  if (addon === undefined || build.includes("without")) continue;
  const create = nativeCreateFiles(addon);

  describe("createFiles", () => {
    it("makes files with bytes, mode and times to the nanosecond, before 1970 too", () => {
      const files = newFiles([
        { name: "a", start: 2, length: 3, mode: 0o4751, seconds: 1_700_000_000, nanoseconds: 123_456_789 },
        { name: "\xff", length: 0, mode: 0o600, seconds: -2, nanoseconds: 5 },
      ]);
      create(files);
      expect([...files.done]).toEqual([1, 1]);
      expect(readFileSync(join(root, "a"), "utf8")).toBe("234");
      expect(lstatSync(join(root, "a"), { bigint: true })).toMatchObject({ mode: 0o104751n, mtimeNs: 1_700_000_000_123_456_789n });
      const odd = Buffer.concat([Buffer.from(`${root}/`), Buffer.of(0xff)]);
      expect(lstatSync(odd, { bigint: true })).toMatchObject({ mode: 0o100600n, size: 0n, mtimeNs: -1_999_999_995n });
    });

    it("never follows a link nor writes over what is there, unless it is to be replaced", () => {
      writeFileSync(join(root, "victim"), "precious");
      symlinkSync(join(root, "victim"), join(root, "link"));
      mkdirSync(join(root, "directory"));
      const wanted = [{ name: "link" }, { name: "victim" }, { name: "directory" }, { name: "new" }];
      const files = newFiles(wanted);
      create(files);
      expect([...files.done]).toEqual([0, 0, 0, 1]);
      expect(readFileSync(join(root, "victim"), "utf8")).toBe("precious");
      const again = newFiles([{ name: "link" }, { name: "directory" }], true);
      create(again);
      expect([...again.done]).toEqual([1, 0]);
      expect(lstatSync(join(root, "link")).isFile()).toBe(true);
      expect(readFileSync(join(root, "victim"), "utf8")).toBe("precious");
    });

    it("leaves nothing of a file that cannot have everything, and goes on", () => {
      // No file has the directory's descriptor of a file, nor of nothing.
      const file = openSync(join(root, "x"), "w");
      const files = newFiles([{ name: "a", directory: file }, { name: "b", directory: 1_000_000 }, { name: "c" }]);
      create(files);
      closeSync(file);
      expect([...files.done]).toEqual([0, 0, 1]);
      expect(readdirSync(root).sort()).toEqual(["c", "x"]);
    });

    it("names that lead out of the directory are none", () => {
      for (const name of ["../out", "a/b", "", "nul\0", "..", "."]) {
        const files = newFiles([{ name }]);
        create(files);
        expect([...files.done], name).toEqual([0]);
      }
      expect(readdirSync(root)).toEqual([]);
    });

    it("rows that make no sense are refused before anything is made", () => {
      const bad: Partial<Wanted>[] = [
        { start: 8 },
        { length: -1 },
        { start: 1.5 },
        { mode: 0o10000 },
        { uid: -1 },
        { nanoseconds: 1e9 },
        { seconds: 1e16 },
        { length: Number.NaN },
      ];
      for (const row of bad) expect(() => create(newFiles([{ name: "a" }, { name: "b", ...row }])), JSON.stringify(row)).toThrow(TypeError);
      expect(() => create({ ...newFiles([{ name: "a" }]), count: 2 })).toThrow(TypeError);
      expect(() => create({ ...newFiles([{ name: "a" }]), done: new Uint8Array(0) })).toThrow(TypeError);
      expect(readdirSync(root)).toEqual([]);
    });
  });
}
