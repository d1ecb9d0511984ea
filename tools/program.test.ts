import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

const { bundleFolder, programEntry, sourceFingerprint } = createRequire(import.meta.url)("../scripts/program.cjs") as {
  bundleFolder(root: string): string;
  programEntry(root: string): string;
  sourceFingerprint(root: string): { readonly name: string; readonly settled: boolean } | undefined;
};

let root = "";
const at = (path: string): string => join(root, path);

function write(path: string, text: string): void {
  mkdirSync(dirname(at(path)), { recursive: true });
  writeFileSync(at(path), text);
}

const fingerprint = (): string | undefined => sourceFingerprint(root)?.name;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "program-test-"));
  write("apps/dray/package.json", "{}");
  write("apps/dray/src/main.ts", "main");
  write("packages/base/package.json", "{}");
  write("packages/base/src/deep/clock.ts", "clock");
  write("packages/api/crds/backup.yaml", "kind");
  write("packages/kernels/native/kernels.cc", "code");
  write("node_modules/.package-lock.json", "{}");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

describe("sourceFingerprint", () => {
  it("stays while nothing is touched", () => expect(fingerprint()).toBe(fingerprint()));

  it.each([
    ["a source", "packages/base/src/deep/clock.ts"],
    ["a data file", "packages/api/crds/backup.yaml"],
    ["native code", "packages/kernels/native/kernels.cc"],
    ["a manifest", "apps/dray/package.json"],
    ["what npm installed", "node_modules/.package-lock.json"],
  ])("moves with %s, also when length and time of change are made what they were", (_, path) => {
    const before = fingerprint();
    const { atime, mtime } = statSync(at(path));
    const text = "x".repeat(statSync(at(path)).size);
    // Replaced, as editors and git do: another inode, whatever the clock of the file system says.
    writeFileSync(at("beside"), text);
    utimesSync(at("beside"), atime, mtime);
    renameSync(at("beside"), at(path));
    expect(fingerprint()).not.toBe(before);
  });

  it("moves with a file that comes or goes", () => {
    const before = fingerprint();
    write("packages/base/src/new.ts", "new");
    const during = fingerprint();
    expect(during).not.toBe(before);
    rmSync(at("packages/base/src/new.ts"));
    expect(fingerprint()).toBe(before);
  });

  it("does not move with tests and what was compiled", () => {
    const before = fingerprint();
    write("packages/base/src/clock.test.ts", "test");
    write("packages/base/src/testing/fake.ts", "fake");
    write("packages/kernels/native/build/kernels.node", "compiled");
    expect(fingerprint()).toBe(before);
  });

  it("says when a source may change once more unseen", () => {
    expect(sourceFingerprint(root)?.settled).toBe(false);
  });

  it("is none where there are no sources", () => {
    rmSync(at("packages"), { recursive: true });
    rmSync(at("apps"), { recursive: true });
    expect(sourceFingerprint(root)).toBeUndefined();
  });
});

describe("programEntry", () => {
  it("is the sources' where there is no bundle", () => expect(programEntry(root)).toBe(at("apps/dray/src/main.ts")));

  it("is the bundle of exactly these sources, and of no others", () => {
    const bundled = join(bundleFolder(root), fingerprint() ?? "", "main.js");
    mkdirSync(dirname(bundled), { recursive: true });
    writeFileSync(bundled, "bundled");
    expect(programEntry(root)).toBe(bundled);
    write("packages/base/src/new.ts", "new");
    expect(programEntry(root)).toBe(at("apps/dray/src/main.ts"));
  });
});
