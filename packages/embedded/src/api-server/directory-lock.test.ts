import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { lockDirectory } from "./directory-lock.ts";

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "drayage-lock-"));
  path = join(directory, "lock");
});

afterEach(() => rmSync(directory, { recursive: true, force: true }));

it("a folder is locked for one holder at a time", () => {
  const unlock = lockDirectory(path);
  expect(() => lockDirectory(path)).toThrow(/process \d+ uses it/);
  unlock();
  expect(existsSync(path)).toBe(false);
  lockDirectory(path)();
});

it.each(["", "999999999 1", `${process.pid} 1`])("a lock left behind by a process that is gone is taken over (%j)", (holder) => {
  writeFileSync(path, holder);
  lockDirectory(path)();
});
