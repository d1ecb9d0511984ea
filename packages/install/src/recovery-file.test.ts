import { linkSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { seededRandom } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { decodeRecoveryFile, encodeRecoveryFile, generateRepositoryPassword, type RecoveryFile, readRecoveryFile, writeRecoveryFile } from "./recovery-file.ts";

const file: RecoveryFile = {
  schema: 1,
  createdAt: "2026-01-01T00:00:00Z",
  repositoryPassword: "secret-of-the-test",
  locations: [{ name: "default", provider: "aws", bucket: "b", prefix: "p", config: { region: "eu" } }],
};

describe("recovery file", () => {
  let folder = "";
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), "recovery-"));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it("comes back as it was written, readable by its owner only", () => {
    const path = join(folder, "recovery.json");
    writeRecoveryFile(path, file);
    expect(readRecoveryFile(path)).toEqual(file);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("narrows the mode of a file that was there with a wider one", () => {
    const path = join(folder, "recovery.json");
    writeFileSync(path, "old", { mode: 0o644 });
    writeRecoveryFile(path, file);
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });

  it("writes the password into nothing that somebody else laid in its way", () => {
    const path = join(folder, "recovery.json");
    const watched = join(folder, "watched");
    writeFileSync(watched, "");
    for (const lay of [() => symlinkSync(watched, `${path}.tmp`), () => linkSync(watched, `${path}.tmp`)]) {
      lay();
      writeRecoveryFile(path, file);
      expect(readFileSync(watched, "utf8")).toBe("");
      expect(readRecoveryFile(path)).toEqual(file);
    }
  });

  it.each([
    ["no JSON", "{", "it is not JSON"],
    ["a list", "[]", "schema is missing"],
    ["a later schema", JSON.stringify({ ...file, schema: 2 }), "schema is 2"],
    ["no password", JSON.stringify({ ...file, repositoryPassword: "" }), "repositoryPassword is missing"],
    ["a location without a bucket", JSON.stringify({ ...file, locations: [{ name: "a", provider: "aws" }] }), "locations[0] needs name, provider and bucket"],
  ])("refuses %s and never shows the password", (_name, text, message) => {
    expect(() => decodeRecoveryFile(text)).toThrow(message);
    try {
      decodeRecoveryFile(text);
    } catch (error) {
      expect(String(error)).not.toContain(file.repositoryPassword);
    }
  });

  it("says which file is missing", () => {
    expect(() => readRecoveryFile(join(folder, "none.json"))).toThrow(/Cannot read recovery file ".*none.json"/);
  });

  it("keeps the old file when the new one cannot be written", () => {
    expect(() => writeRecoveryFile(join(folder, "no", "such", "folder.json"), file)).toThrow("Cannot write recovery file");
  });

  it("every prefix of a file is refused", () => {
    const text = encodeRecoveryFile(file).trimEnd();
    for (let length = 0; length < text.length; length++) expect(() => decodeRecoveryFile(text.slice(0, length))).toThrow("Cannot read recovery file");
  });

  it("a generated password has 160 bits", () => {
    expect(generateRepositoryPassword(seededRandom(1))).toMatch(/^[0-9a-f]{40}$/);
  });
});
