import { DrayError } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { dataExtentsBy, EXTENTS_MAX, SEEK_DATA, type Seek } from "./data-extents.ts";

const failure = (errno: string): DrayError => new DrayError("PATH_IO", `Cannot find data: ${errno}`, { context: { errno } });

/** Data in every second block of `block` bytes, from the second on. */
const everySecond =
  (block: number, size: number): Seek =>
  (offset, whence) => {
    const at = Math.floor(offset / block);
    const isData = at % 2 === 1;
    if (offset >= size) return failure("ENXIO");
    const next = whence === SEEK_DATA ? (isData ? offset : (at + 1) * block) : isData ? (at + 1) * block : offset;
    return next >= size && whence === SEEK_DATA ? failure("ENXIO") : Math.min(next, size);
  };

describe("the data of a file", () => {
  it("is what lies between its holes", () => {
    expect(dataExtentsBy(everySecond(10, 45), 45)).toEqual([
      { offset: 10, length: 10 },
      { offset: 30, length: 10 },
    ]);
    expect(dataExtentsBy(() => failure("ENXIO"), 45)).toEqual([]);
  });

  it("is all of it where the file system knows no holes, or stops telling them", () => {
    expect(dataExtentsBy(() => failure("EINVAL"), 45)).toEqual([{ offset: 0, length: 45 }]);
    const seek = everySecond(10, 45);
    expect(dataExtentsBy((offset, whence) => (offset === 20 && whence === SEEK_DATA ? failure("EINVAL") : seek(offset, whence)), 45)).toEqual([
      { offset: 10, length: 10 },
      { offset: 20, length: 25 },
    ]);
  });

  it("is never taken for a hole because the end of it cannot be told", () => {
    for (const end of [failure("EIO"), failure("ENXIO"), 10]) {
      expect(dataExtentsBy((_offset, whence) => (whence === SEEK_DATA ? 10 : end), 45)).toEqual([{ offset: 10, length: 35 }]);
    }
  });

  it("is an error when the file cannot be asked at all", () => {
    expect(() => dataExtentsBy(() => failure("EBADF"), 45)).toThrow(expect.objectContaining({ code: "PATH_IO" }));
  });

  it("is told in a bounded number of extents", () => {
    const size = 4 * EXTENTS_MAX * 10;
    const extents = dataExtentsBy(everySecond(10, size), size);
    expect(extents).toHaveLength(EXTENTS_MAX);
    const last = extents.at(-1);
    expect((last?.offset ?? 0) + (last?.length ?? 0)).toBe(size);
  });
});
