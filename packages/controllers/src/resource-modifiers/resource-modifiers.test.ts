import { nullLogger } from "@drayage/base";
import type { GenericObject } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { modified } from "./apply-patches.ts";
import { compileResourceGlob } from "./resource-glob.ts";
import { parseResourceModifiers } from "./resource-modifiers.ts";

const parsed = (text: string) => parseResourceModifiers({ metadata: { namespace: "velero", name: "changes" }, data: { "rules.yaml": text } });
const rule = (text: string): string => `version: v1\nresourceModifierRules:\n- ${text.trim().replaceAll("\n", "\n  ")}\n`;

const deployment = (): GenericObject => ({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { namespace: "shop", name: "web-1", labels: { app: "web", old: "x" } },
  spec: { replicas: 3, paused: false, template: { spec: { containers: [{ name: "web", image: "a:1" }] } } },
});

/** The object after the rules, and what went wrong. */
function apply(text: string, object = deployment(), groupResource = "deployments.apps") {
  const errors: string[] = [];
  const before = structuredClone(object);
  const after = modified(object, groupResource, parsed(text), { log: nullLogger, onError: (message) => errors.push(message) });
  expect(object).toEqual(before);
  return { after: after as GenericObject & { spec: { replicas: unknown } }, errors };
}

const scaleTo = (conditions: string, value = '"1"'): string =>
  rule(`conditions: {groupResource: deployments.apps, ${conditions}}\npatches: [{operation: replace, path: /spec/replicas, value: ${value}}]`);

describe("a rule", () => {
  it.each([
    ["resourceNameRegex: ^web-"],
    ["resourceNameRegex: '(?i)WEB'"],
    ["namespaces: [shop, other]"],
    ["labelSelector: {matchLabels: {app: web}}"],
    ["labelSelector: {matchExpressions: [{key: old, operator: Exists}]}"],
    ['matches: [{path: /spec/replicas, value: "3"}, {path: /spec/paused, value: "false"}]'],
    ["matches: [{path: /metadata/labels/app, value: web}]"],
  ])("applies where its conditions hold: %s", (conditions) => {
    expect(apply(scaleTo(conditions)).after.spec.replicas).toBe(1);
  });

  it.each([
    ["resourceNameRegex: ^db-"],
    ["namespaces: [other]"],
    ["labelSelector: {matchLabels: {app: db}}"],
    ['matches: [{path: /spec/replicas, value: "4"}]'],
    ['matches: [{path: /spec/missing, value: "4"}]'],
    // A text that looks like a number is one, unless it is in quotes of its own.
    [`matches: [{path: /spec/replicas, value: '"3"'}]`],
  ])("leaves the object alone where they do not: %s", (conditions) => {
    expect(apply(scaleTo(conditions))).toEqual({ after: deployment(), errors: [] });
  });

  it("is asked about the object as it was, not as earlier rules left it", () => {
    const text = `${scaleTo('matches: [{path: /spec/replicas, value: "3"}]')}- conditions: {groupResource: deployments.apps, matches: [{path: /spec/replicas, value: "3"}]}
  patches: [{operation: add, path: /metadata/labels/second, value: "yes"}]\n`;
    expect(apply(text).after).toMatchObject({ metadata: { labels: { second: "yes" } }, spec: { replicas: 1 } });
  });

  it("of a resource in no namespace does not look at namespaces", () => {
    const { after } = apply(
      rule("conditions: {groupResource: storageclasses.storage.k8s.io, namespaces: [a]}\npatches: [{operation: add, path: /provisioner, value: x}]"),
      { apiVersion: "storage.k8s.io/v1", kind: "StorageClass", metadata: { name: "fast" } },
      "storageclasses.storage.k8s.io",
    );
    expect(after["provisioner"]).toBe("x");
  });
});

describe("JSON patches", () => {
  const patches = (...operations: string[]): string => rule(`conditions: {groupResource: "*.apps"}\npatches: [${operations.join(", ")}]`);

  it("add, remove, replace, move and copy, with values of every type", () => {
    const { after } = apply(
      patches(
        `{operation: add, path: /spec/template/spec/containers/-, value: '{"name": "log", "ports": [1]}'}`,
        "{operation: remove, path: /metadata/labels/old}",
        `{operation: add, path: /metadata/labels/n, value: '"7"'}`,
        "{operation: move, from: /metadata/labels/app, path: /metadata/labels/name}",
        "{operation: copy, from: /spec/replicas, path: /spec/before}",
        '{operation: replace, path: /spec/replicas, value: "null"}',
      ),
    );
    expect(after).toMatchObject({ metadata: { labels: { n: "7", name: "web" } }, spec: { before: 3, replicas: null } });
    expect(after.metadata.labels).not.toHaveProperty("old");
    expect(JSON.stringify(after)).toContain('{"name":"log","ports":[1]}');
  });

  it("after a test that does not hold are not applied, and that is no error", () => {
    expect(apply(patches("{operation: remove, path: /spec/paused}", "{operation: test, path: /spec/replicas, value: '9'}"))).toEqual({
      after: deployment(),
      errors: [],
    });
  });

  it("of a path that is not there are an error, and leave the object as it was", () => {
    const { after, errors } = apply(patches("{operation: remove, path: /spec/paused}", "{operation: remove, path: /spec/none/at/all}"));
    expect(after).toEqual(deployment());
    expect(errors[0]).toMatch(
      /could not apply rule 0 of the resource modifiers to deployments.apps "web-1": remove of "\/spec\/none\/at\/all" cannot be applied/,
    );
  });
});

describe("merge patches", () => {
  it("set and remove, from JSON and from YAML, one after the other", () => {
    const { after } = apply(
      rule(
        `conditions: {groupResource: "**"}\nmergePatches:\n- patchData: '{"metadata": {"labels": {"old": null}}}'\n- patchData: |\n    spec:\n      replicas: 2`,
      ),
    );
    expect(after).toMatchObject({ metadata: { labels: { app: "web" } }, spec: { replicas: 2 } });
    expect(after.metadata.labels).not.toHaveProperty("old");
  });

  it("replace lists, which strategic patches merge", () => {
    const container = "spec: {template: {spec: {containers: [{name: web, image: 'a:2'}, {name: log, image: b}]}}}";
    const merged = apply(rule(`conditions: {groupResource: deployments.apps}\nmergePatches: [{patchData: "${container.replace("'a:2'", "'z'")}"}]`)).after;
    expect(merged).toMatchObject({ spec: { template: { spec: { containers: [{ name: "web", image: "z" }, { name: "log" }] } } } });
    const strategic = apply(
      rule(`conditions: {groupResource: deployments.apps}\nstrategicPatches: [{patchData: "spec: {template: {spec: {containers: [{name: log, image: b}]}}}"}]`),
    ).after;
    const { containers } = (strategic["spec"] as unknown as { template: { spec: { containers: { name: string }[] } } }).template.spec;
    expect(containers.map(({ name }) => name).sort()).toEqual(["log", "web"]);
  });

  it("cannot be strategic for a custom resource", () => {
    const { errors } = apply(
      rule('conditions: {groupResource: "**"}\nstrategicPatches: [{patchData: "spec: {}"}]'),
      { apiVersion: "example.com/v1", kind: "Database", metadata: { name: "x" } },
      "databases.example.com",
    );
    expect(errors[0]).toContain("example.com/v1 Database is not built into Kubernetes");
  });
});

describe("parseResourceModifiers()", () => {
  it.each([
    ["", "it is no mapping"],
    ["version: v2\nresourceModifierRules: []", 'version is "v2", where "v1" is wanted'],
    ["version: v1", "resourceModifierRules is empty"],
    ["version: v1\nrules: []", "it.rules is not known"],
    [rule("conditions: {}\npatches: [{operation: remove, path: /a}]"), "resourceModifierRules[0].conditions.groupResource is empty"],
    [rule("conditions: {groupResource: 'a[', namespaces: [x]}\npatches: [{operation: remove, path: /a}]"), "groupResource cannot be read"],
    [rule("conditions: {groupResource: pods, resourceNameRegex: '('}\npatches: [{operation: remove, path: /a}]"), "resourceNameRegex cannot be read"],
    [
      rule("conditions: {groupResource: pods, labelSelector: {matchExpressions: [{key: a, operator: Is}]}}\npatches: [{operation: remove, path: /a}]"),
      'operator "Is"',
    ],
    [rule("conditions: {groupResource: pods}"), "resourceModifierRules[0] has no patches"],
    [rule("conditions: {groupResource: pods}\npatches: [{operation: delete, path: /a}]"), 'patches[0].operation is "delete"'],
    [rule("conditions: {groupResource: pods}\npatches: [{operation: remove, path: a}]"), 'patches[0].path is "a"'],
    [rule("conditions: {groupResource: pods}\npatches: [{operation: add, path: /a, value: 1}]"), "patches[0].value is 1, where a text is wanted"],
    [rule("conditions: {groupResource: pods}\npatches: [{operation: add, path: /a, value: '{'}]"), "patches[0].value cannot be read"],
    [rule("conditions: {groupResource: pods}\nmergePatches: [{patchData: '[1]'}]"), "mergePatches[0].patchData is no mapping"],
  ])("says what is wrong with %j", (text, what) => {
    expect(() => parsed(text)).toThrow(what);
  });

  it("wants one entry", () => {
    expect(() => parseResourceModifiers({ metadata: { name: "x" }, data: { a: "", b: "" } })).toThrow("has 2 entries");
  });
});

describe("compileResourceGlob()", () => {
  it.each([
    ["*", "pods", true],
    ["*", "deployments.apps", false],
    ["**", "deployments.apps", true],
    ["*.apps", "deployments.apps", true],
    ["*.apps", "deployments.apps.example.com", false],
    ["{pods,deployments.apps}", "deployments.apps", true],
    ["p?ds", "pods", true],
    ["[a-p]ods", "pods", true],
    ["[!a-p]ods", "pods", false],
  ])("%s and %s: %s", (pattern, resource, fits) => {
    expect(compileResourceGlob(pattern)(resource)).toBe(fits);
  });
});
