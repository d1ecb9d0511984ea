import { describe, expect, it } from "vitest";
import { evaluateJsonPath } from "./json-path.ts";
import { type PrintableKind, printObjects } from "./object-output.ts";
import { formatElapsed, formatTable } from "./table.ts";

describe("evaluateJsonPath", () => {
  const list = {
    items: [
      { metadata: { name: "a", labels: { "app.kubernetes.io/name": "x" } }, status: { phase: "New" } },
      { metadata: { name: "b" }, list: [1, 2] },
    ],
  };

  it.each([
    ["{.items[*].metadata.name}", "a b"],
    ["{.items[0].status.phase}", "New"],
    ["{.items[-1].metadata.name}", "b"],
    [".items[1].list", "[1,2]"],
    ["{.items[0].metadata.labels.app\\.kubernetes\\.io/name}", "x"],
    ["{.items[0].metadata.labels['app.kubernetes.io/name']}", "x"],
    ['{range .items[*]}{.metadata.name}{"\\t"}{.status.phase}{"\\n"}{end}', "a\tNew\nb\t\n"],
    ["names: {.items[*].metadata.name}!", "names: a b!"],
    ["{.nothing.here}", ""],
    ["{.items[0].metadata.constructor}", ""],
  ])("%s", (template, wanted) => expect(evaluateJsonPath(template, list)).toBe(wanted));

  it.each(["{.items", "{range .items[*]}{.a}", "{end}", "{.items[?(@.a)]}"])("refuses %s and says so", (template) =>
    expect(() => evaluateJsonPath(template, list)).toThrow(`Cannot read JSONPath template "${template}"`),
  );
});

describe("formatTable", () => {
  it("aligns columns by what a terminal shows, not by code units", () => {
    const table = formatTable(
      [
        { name: "grüße-🚢", size: 1 },
        { name: "a", size: 22 },
      ],
      [
        { header: "NAME", value: (row) => row.name },
        { header: "SIZE", value: (row) => row.size },
        { header: "WIDE", value: () => undefined, wide: true },
      ],
    );
    expect(table).toBe("NAME       SIZE\ngrüße-🚢   1\na          22\n");
  });
});

describe("formatElapsed", () => {
  it.each([
    [0, "0s"],
    [119_999, "119s"],
    [125_000, "2m5s"],
    [11 * 60_000, "11m"],
    [3.5 * 3_600_000, "3h30m"],
    [30 * 3_600_000, "30h"],
    [50 * 3_600_000, "2d2h"],
    [40 * 86_400_000, "40d"],
  ])("%d ms is %s", (ms, text) => expect(formatElapsed(ms)).toBe(text));
});

describe("printObjects", () => {
  const kind: PrintableKind<{ metadata: { name: string } }> = {
    singularWithGroup: "backup.velero.io",
    apiVersion: "velero.io/v1",
    kind: "Backup",
    columns: [{ header: "NAME", value: (row) => row.metadata.name }],
  };
  const objects = [{ metadata: { name: "one" } }];

  it("names objects as kubectl does", () => expect(printObjects(kind, objects, "name", true)).toBe("backup.velero.io/one\n"));
  it("prints a single object bare and several as a List", () => {
    expect(JSON.parse(printObjects(kind, objects, "json", true))).toEqual({ apiVersion: "velero.io/v1", kind: "Backup", metadata: { name: "one" } });
    expect(JSON.parse(printObjects(kind, objects, "json", false))).toMatchObject({ kind: "List", items: [{ metadata: { name: "one" } }] });
  });
  it("refuses a format it does not know, naming those it does", () =>
    expect(() => printObjects(kind, objects, "xml", true)).toThrow('Cannot print as "xml": table, wide, json'));
});
