import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { METRICS, type MetricDefinition } from "@drayage/controllers";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { metricsPage } from "./metrics-page.ts";

const root = resolve(import.meta.dirname, "..");
interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly annotations: Readonly<Record<string, string>>;
}
const { spec } = parse(readFileSync(join(root, "docs", "monitoring", "alerts.yaml"), "utf8")) as { spec: { groups: { rules: Rule[] }[] } };
const rules = spec.groups.flatMap((group) => group.rules);
const definitions: Readonly<Record<string, MetricDefinition>> = METRICS;

it.each(rules.map((rule) => [rule.alert, rule] as const))("alert %s asks for metrics and labels that there are", (_name, { expr, annotations }) => {
  const names = [...expr.matchAll(/\b(?:velero|podVolume|drayage)_\w+/g)].map(([name]) => name);
  expect(names.length).toBeGreaterThan(0);
  expect(names.filter((name) => definitions[name] === undefined)).toEqual([]);
  const known = new Set(names.flatMap((name) => definitions[name]?.labels ?? []));
  const selected = [...expr.matchAll(/(?:\{|,\s*)(\w+)\s*(?:=~|!=|!~|=)"/g), ...expr.matchAll(/\b(?:by|on)\s*\(([^)]*)\)/g)].flatMap(([, list = ""]) =>
    list.split(",").map((label) => label.trim()),
  );
  const shown = [...(annotations["summary"] ?? "").matchAll(/\$labels\.(\w+)/g)].map(([, label = ""]) => label);
  expect([...selected, ...shown].filter((label) => !known.has(label))).toEqual([]);
  expect(annotations["action"]).toMatch(/^dray /);
});

it("the page of metrics lists every one", () => {
  expect(readFileSync(join(root, "docs", "monitoring", "metrics.md"), "utf8")).toBe(metricsPage());
});
