import { describe, expect, it } from "vitest";
import { supported, testsOf } from "../test/compat-fields/evidence.ts";
import { fieldTables } from "../test/compat-fields/index.ts";
import { testCases } from "./test-cases.ts";
import { definedFields, fieldFaults } from "./velero-compatibility.ts";

describe("the table of fields", () => {
  it("has every field of every definition, each with a test that is there", () => {
    expect(fieldFaults()).toEqual([]);
    expect([...definedFields().values()].flat().length).toBeGreaterThan(250);
  });

  it.each([
    ["a field is missing", {}, "Restore.spec.backupName: the definition has it, test/compat-fields says nothing of it"],
    ["a field is not defined", { "spec.invented": supported(testsOf("a.test.ts")("x")) }, "Restore.spec.invented: the definition has no such field"],
    [
      "a test is gone",
      { "spec.backupName": supported(testsOf("packages/base/src/errors.test.ts")("no such test")) },
      'Restore.spec.backupName: test "no such test" of packages/base/src/errors.test.ts is not there',
    ],
    [
      "a test speaks of something else",
      { "spec.backupName": supported(testsOf("tools/velero-compatibility.test.ts")("are read with their titles, texts and whether they are run")) },
      'does not speak of "backupName"',
    ],
  ])("says when %s", (_what, table, message) => {
    expect(fieldFaults({ ...fieldTables, Restore: table })).toContainEqual(expect.stringContaining(message));
  });
});

describe("the tests of a file", () => {
  it("are read with their titles, texts and whether they are run", () => {
    const source = [
      'describe("d", () => {',
      '  it("one \\"thing\\"", () => {',
      "    a();",
      "  });",
      "  it.each([",
      "    [1],",
      '  ])("each %s", (n) => {',
      "    b(n);",
      "  });",
      '  it.skip("not", () => c());',
      "});",
    ];
    expect(testCases(source.join("\n"))).toMatchObject([
      { title: 'one "thing"', groups: ["d"], skipped: false, text: expect.stringContaining("a();") },
      { title: "each %s", skipped: false, text: expect.stringContaining("[1],") },
      { title: "not", skipped: true },
    ]);
  });
});
