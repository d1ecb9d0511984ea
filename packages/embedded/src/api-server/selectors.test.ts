import { describe, expect, it } from "vitest";
import { matchesLabelSelector, nameOfFieldSelector, parseLabelSelector } from "./selectors.ts";

const labels = { app: "web", tier: "front", "example.com/zone": "a", empty: "" };

describe("label selectors", () => {
  it.each([
    ["app=web", true],
    ["app==web,tier=front", true],
    ["app!=web", false],
    ["app!=api", true],
    ["missing!=x", true],
    ["app", true],
    ["!app", false],
    ["!missing", true],
    ["app in (web, api)", true],
    ["app notin (web)", false],
    ["missing notin (web)", true],
    ["tier in (front),app in (web)", true],
    ["example.com/zone=a", true],
    ["empty=", true],
    ["app=", false],
    ["", true],
  ])("%s", (text, expected) => {
    expect(parseLabelSelector(text)(labels)).toBe(expected);
  });

  it("compare numbers", () => {
    expect(parseLabelSelector("n>5")({ n: "7" })).toBe(true);
    expect(parseLabelSelector("n<5")({ n: "7" })).toBe(false);
    expect(parseLabelSelector("n>5")({})).toBe(false);
  });

  it.each(["app=web,", ",", "app near web", "app in web", "app in (web", "=x", "a b", "app=bad value", "bad/key/x=1"])("refuse %j", (text) => {
    expect(() => parseLabelSelector(text)).toThrow();
  });

  it("in objects combine labels and expressions", () => {
    const selector = {
      matchLabels: { app: "web" },
      matchExpressions: [
        { key: "tier", operator: "In", values: ["front", "back"] },
        { key: "gone", operator: "DoesNotExist" },
      ],
    };
    expect(matchesLabelSelector(selector, labels)).toBe(true);
    expect(matchesLabelSelector(selector, { ...labels, gone: "x" })).toBe(false);
    expect(matchesLabelSelector({}, {})).toBe(true);
    expect(matchesLabelSelector({ matchExpressions: [{ key: "a", operator: "Near" }] }, {})).toBe(false);
  });
});

describe("nameOfFieldSelector()", () => {
  it("finds the one name a selector allows", () => {
    expect(nameOfFieldSelector("metadata.name=web")).toBe("web");
    expect(nameOfFieldSelector("status.phase=Running,metadata.name==web")).toBe("web");
    expect(nameOfFieldSelector("metadata.name!=web")).toBeUndefined();
  });
});
