import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { besideFolder, fileKeyPart, folderKeyPart, keyPath } from "./key-path.ts";

const keys = fc.oneof(
  fc.string({ unit: "grapheme", maxLength: 60 }),
  fc
    .array(fc.constantFrom("", ".", "..", "a", "%", "%+", "%-", "%r", "%2E", "\n", "ü", "/", "x".repeat(150), "日".repeat(80)), { maxLength: 12 })
    .map((parts) => parts.join("")),
);

const decodePath = (parts: readonly string[]): string =>
  parts.map((name, index) => (index === parts.length - 1 ? fileKeyPart(name) : folderKeyPart(name))).join("");

describe("keyPath()", () => {
  it("gives names that a file system takes and that decode to the key again", () => {
    fc.assert(
      fc.property(keys, (raw) => {
        const key = raw.toWellFormed();
        const parts = keyPath(key);
        for (const part of parts) {
          expect(part).not.toMatch(/^\.{0,2}$|\/|\0/);
          expect(Buffer.byteLength(besideFolder(part))).toBeLessThanOrEqual(255);
        }
        expect(decodePath(parts)).toBe(key);
      }),
      { numRuns: 2000 },
    );
  });

  it("never gives two keys one path, beside a folder or not", () => {
    fc.assert(
      fc.property(keys, keys, (a, b) => {
        fc.pre(a.toWellFormed() !== b.toWellFormed());
        const [left, right] = [keyPath(a).join("/"), keyPath(b).join("/")];
        expect(left).not.toBe(right);
        expect(besideFolder(left)).not.toBe(right);
        expect(besideFolder(left)).not.toBe(besideFolder(right));
      }),
      { numRuns: 2000 },
    );
  });

  it("leaves ordinary keys as people know them, and passes over what it did not write", () => {
    expect(keyPath("velero/backups/a/velero-backup.json")).toEqual(["velero", "backups", "a", "velero-backup.json"]);
    expect([fileKeyPart("odd%"), fileKeyPart("%zz"), folderKeyPart("x%2e")]).toEqual([undefined, undefined, undefined]);
  });
});
