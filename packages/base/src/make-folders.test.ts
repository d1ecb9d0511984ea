import { mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { makeFolders } from "./make-folders.ts";

describe("makeFolders", () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "dray-folders-"));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it("makes what is missing with its mode, and says whether anything was", () => {
    const path = join(folder, "a", "b", "c");
    expect(makeFolders(path, 0o700)).toBe(true);
    expect(makeFolders(path)).toBe(false);
    expect(statSync(join(folder, "a")).mode & 0o777).toBe(0o700);
  });

  it("makes names that are no text, and follows a link to a folder", () => {
    const odd = Buffer.concat([Buffer.from(`${folder}/`), Buffer.of(0xff, 0xfe), Buffer.from("/in")]);
    expect(makeFolders(odd)).toBe(true);
    expect(statSync(odd).isDirectory()).toBe(true);
    mkdirSync(join(folder, "real"));
    symlinkSync("real", join(folder, "link"));
    expect(makeFolders(join(folder, "link", "in"))).toBe(true);
    expect(statSync(join(folder, "real", "in")).isDirectory()).toBe(true);
  });

  it.each(["/proc/drayage", "/proc/drayage/deeper", "/proc/self/drayage/still/deeper"])("refuses %s at once, where folders cannot be made", (path) => {
    expect(() => makeFolders(path)).toThrow(/^Cannot make folder "\/proc\/.*drayage": the file system of "\/proc.*" takes no folders$/);
  });

  it("tells a file in the way, and a link to nothing", () => {
    writeFileSync(join(folder, "file"), "");
    symlinkSync("nothing", join(folder, "dangling"));
    for (const [path, named] of [
      ["file", "file"],
      ["file/in", "file"],
      ["dangling", "dangling"],
    ] as const)
      expect(() => makeFolders(join(folder, path))).toThrow(`Cannot make folder "${folder}/${named}": something that is no folder has this name`);
  });
});
