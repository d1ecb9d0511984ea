import { describe, expect, it } from "vitest";
import { formatLabelSelector, matchesFields, matchesLabels, parseFieldSelector, parseLabelSelector, requirementsOf } from "./selector.ts";

const LABELS = { app: "notes", tier: "db", "velero.io/backup-name": "first", empty: "", size: "12" };

describe("label selectors", () => {
  it.each([
    ["", true],
    ["app", true],
    ["!app", false],
    ["!other", true],
    ["app=notes", true],
    ["app == notes , tier!=web", true],
    ["app!=notes", false],
    ["other!=x", true],
    ["app in (x, notes)", true],
    ["app notin (x,y)", true],
    ["other notin (x)", true],
    ["other in (x)", false],
    ["empty=", true],
    ["velero.io/backup-name=first", true],
    ["size>11", true],
    ["size<12", false],
    ["app>1", false],
  ])("%s selects: %s", (text, wanted) => {
    const parsed = parseLabelSelector(text);
    expect(matchesLabels(parsed, LABELS)).toBe(wanted);
    expect(matchesLabels(parseLabelSelector(formatLabelSelector(parsed)), LABELS)).toBe(wanted);
  });

  it.each(["app in", "app in (", "app in (x", "=x", "app=x,", ",app", "app x", "app=(x)", "-bad=x", "a=b=c", "!"])("refuses %s", (text) => {
    expect(() => parseLabelSelector(text)).toThrow(expect.objectContaining({ code: "KUBE_BAD_REQUEST" }));
  });

  it("reads selector objects", () => {
    const selector = { matchLabels: { app: "notes" }, matchExpressions: [{ key: "tier", operator: "NotIn" as const, values: ["web"] }] };
    expect(formatLabelSelector(requirementsOf(selector))).toBe("app=notes,tier!=web");
    expect(matchesLabels(selector, LABELS)).toBe(true);
    expect(matchesLabels({}, undefined)).toBe(true);
  });
});

describe("field selectors", () => {
  it("compare fields as text; a missing one is empty", () => {
    const object = { metadata: { name: "a" }, spec: { nodeName: "n" } };
    expect(matchesFields(parseFieldSelector("metadata.name=a,spec.nodeName!=m"), object)).toBe(true);
    expect(matchesFields(parseFieldSelector("status.phase="), object)).toBe(true);
    expect(matchesFields(parseFieldSelector("status.phase==Running"), object)).toBe(false);
    expect(() => parseFieldSelector("metadata.name")).toThrow("is not path=value");
  });
});
