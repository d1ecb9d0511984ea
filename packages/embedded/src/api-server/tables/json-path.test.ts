import { describe, expect, it } from "vitest";
import type { Json } from "../json.ts";
import { age, humanDuration } from "./age.ts";
import { findAll, isReadablePath } from "./json-path.ts";

const object: Json = {
  spec: { size: 3, "odd.key": "o", list: [{ n: 1 }, { n: 2 }], nested: [[1], [2]] },
  status: {
    conditions: [
      { type: "Ready", status: "True" },
      { type: "Docked", status: "False" },
    ],
  },
};

describe("the JSONPath of printer columns", () => {
  it.each<[string, Json[]]>([
    [".spec.size", [3]],
    ["$.spec.size", [3]],
    ["{.spec.size}", [3]],
    [".spec['odd.key']", ["o"]],
    [".spec.odd\\.key", ["o"]],
    [".spec.list[0].n", [1]],
    [".spec.list[-1].n", [2]],
    [".spec.list[*].n", [1, 2]],
    [".spec.nested[1]", [[2]]],
    [".spec.missing.deeper", []],
    ['.status.conditions[?(@.type=="Ready")].status', ["True"]],
    [".status.conditions[?(@.type=='Docked')].status", ["False"]],
    ['.status.conditions[?(@.type!="Ready")].type', ["Docked"]],
    [".spec.list", [[{ n: 1 }, { n: 2 }]]],
  ])("%s", (path, expected) => {
    expect(findAll(object, path)).toEqual(expected);
  });

  it("finds nothing by a path it cannot read", () => {
    expect(isReadablePath(".spec[")).toBe(false);
    expect(findAll(object, ".spec[")).toEqual([]);
  });
});

describe("ages", () => {
  const second = 1000;
  const minute = 60 * second;
  const hour = 60 * minute;
  const day = 24 * hour;
  it.each([
    [0, "0s"],
    [119 * second, "119s"],
    [2 * minute, "2m"],
    [3 * minute + 10 * second, "3m10s"],
    [10 * minute + 10 * second, "10m"],
    [179 * minute, "179m"],
    [5 * hour + 30 * minute, "5h30m"],
    [8 * hour + 30 * minute, "8h"],
    [2 * day + 4 * hour, "2d4h"],
    [7 * day, "7d"],
    [120 * day, "120d"],
    [3 * 365 * day + 5 * day, "3y5d"],
    [9 * 365 * day, "9y"],
    [-5 * second, "<invalid>"],
  ])("%i ms is %s", (ms, text) => {
    expect(humanDuration(ms)).toBe(text);
  });

  it("are unknown without a time", () => {
    expect(age(undefined, 0)).toBe("<unknown>");
  });
});
