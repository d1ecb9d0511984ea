import { closeSync, fstatSync, ftruncateSync, lstatSync, mkdtempSync, openSync, readFileSync, rmSync, symlinkSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { hasErrno, isPageAligned, systemCalls } from "./system-calls.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-syscalls-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function withFile<T>(name: string, use: (fd: number, path: string) => T): T {
  const path = join(folder, name);
  const fd = openSync(path, "w+");
  try {
    return use(fd, path);
  } finally {
    closeSync(fd);
  }
}

describe("system calls", () => {
  it("find the data of a sparse file, and none in one that is all hole", () => {
    withFile("sparse", (fd) => {
      const size = 8 << 20;
      ftruncateSync(fd, size);
      writeSync(fd, new Uint8Array(65_536).fill(1), 0, 65_536, 1 << 20);
      writeSync(fd, new Uint8Array(65_536).fill(1), 0, 65_536, 4 << 20);
      expect(systemCalls.dataExtents(fd, size)).toEqual([
        { offset: 1 << 20, length: 65_536 },
        { offset: 4 << 20, length: 65_536 },
      ]);
    });
    withFile("hole", (fd) => {
      ftruncateSync(fd, 1 << 20);
      expect(systemCalls.dataExtents(fd, 1 << 20)).toEqual([]);
      expect(systemCalls.dataExtents(fd, 0)).toEqual([]);
    });
  });

  it("punch a hole that reads as zeros and keeps the size", () => {
    withFile("punched", (fd, path) => {
      writeSync(fd, new Uint8Array(1 << 20).fill(7));
      expect(systemCalls.punchHole(fd, 65_536, 65_536)).toBe(true);
      const bytes = readFileSync(path);
      expect([bytes.length, bytes[65_535], bytes[65_536], bytes[131_071], bytes[131_072]]).toEqual([1 << 20, 7, 0, 0, 7]);
      expect(systemCalls.dataExtents(fd, 1 << 20)).toHaveLength(2);
    });
  });

  it("find room for a range, which reads as zeros, and say where there can be none", () => {
    withFile("room", (fd) => {
      expect(systemCalls.allocate(fd, 4096, 1 << 20)).toBe(true);
      const { size, blocks } = fstatSync(fd);
      expect(size).toBe(4096 + (1 << 20));
      expect(blocks * 512).toBeGreaterThanOrEqual(1 << 20);
      expect(readFileSync(join(folder, "room")).every((byte) => byte === 0)).toBe(true);
      expect(() => systemCalls.allocate(fd, 0, 0)).toThrow("EINVAL");
    });
    const inProc = openSync("/proc/self/oom_score_adj", "r+");
    expect(systemCalls.allocate(inProc, 0, 4096)).toBe(false);
    closeSync(inProc);
  });

  it("set, list and remove extended attributes, sorted, also on a path that is not UTF-8", () => {
    const path = Buffer.concat([utf8(`${folder}/caf`), Uint8Array.of(0xe9)]);
    writeFileSync(path, "");
    systemCalls.setXattr(path, "user.z", utf8("last"));
    systemCalls.setXattr(path, "user.a", Uint8Array.of(0, 255, 0));
    systemCalls.setXattr(path, "user.empty", new Uint8Array());
    expect(systemCalls.listXattrs(path).map(({ name, value }) => [name, [...value]])).toEqual([
      ["user.a", [0, 255, 0]],
      ["user.empty", []],
      ["user.z", [...utf8("last")]],
    ]);
    systemCalls.removeXattr(path, "user.z");
    expect(systemCalls.listXattrs(path)).toHaveLength(2);
  });

  it("list the attributes of a symbolic link itself", () => {
    writeFileSync(join(folder, "target"), "");
    systemCalls.setXattr(join(folder, "target"), "user.a", utf8("x"));
    symlinkSync("target", join(folder, "link"));
    expect(systemCalls.listXattrs(join(folder, "link"))).toEqual([]);
  });

  it("set times to the nanosecond without following a link, before 1970 too", () => {
    symlinkSync("nowhere", join(folder, "link"));
    for (const ns of [1_700_000_000_123_456_789n, 0n, -1n, -1_500_000_001n]) {
      systemCalls.setTimes(join(folder, "link"), ns, ns);
      const stat = lstatSync(join(folder, "link"), { bigint: true });
      // Node reports times before 1970 with a fraction that counts upward from the second before.
      expect(stat.mtimeNs).toBe(ns);
    }
  });

  it("make a FIFO, flush a file system, and hand out memory on a page", async () => {
    systemCalls.makeNode(join(folder, "fifo"), 0o010644, 0, 0);
    expect(lstatSync(join(folder, "fifo")).isFIFO()).toBe(true);
    const fd = openSync(folder, "r");
    await systemCalls.syncFs(fd);
    closeSync(fd);
    await expect(systemCalls.syncFs(-1)).rejects.toMatchObject({ code: "PATH_IO", context: { errno: "EBADF" } });
    const buffer = systemCalls.alignedBuffer(100_000);
    expect([buffer.length, buffer.byteOffset]).toEqual([100_000, 0]);
    expect([buffer, buffer.subarray(4096), buffer.subarray(1), new Uint8Array(8192)].map(isPageAligned)).toEqual([true, true, false, false]);
  });

  it("name what failed, on what, and the errno", () => {
    const missing = join(folder, "missing");
    const failure = (call: () => unknown): unknown => {
      try {
        call();
      } catch (error) {
        return error;
      }
      return undefined;
    };
    expect(failure(() => systemCalls.listXattrs(missing))).toMatchObject({
      code: "PATH_NOT_FOUND",
      message: `Cannot list the extended attributes of "${missing}": ENOENT`,
    });
    expect(
      hasErrno(
        failure(() => systemCalls.setXattr(missing, "user.a", utf8("x"))),
        "ENOENT",
      ),
    ).toBe(true);
    expect(failure(() => withFile("plain", (fd) => systemCalls.blockDeviceSize(fd)))).toMatchObject({ code: "NOT_SUPPORTED", context: { errno: "ENOTTY" } });
    expect(failure(() => systemCalls.setTimes("a\0b", 0n, 0n))).toMatchObject({ code: "USAGE" });
    expect(failure(() => systemCalls.dataExtents(-1, 10))).toMatchObject({ code: "PATH_IO", context: { errno: "EBADF" } });
  });
});
