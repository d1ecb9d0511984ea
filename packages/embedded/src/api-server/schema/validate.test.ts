import { describe, expect, it } from "vitest";
import type { Json, JsonObject } from "../json.ts";
import { compileRules, ruleErrors, ruleProblems } from "./cel-rules.ts";
import { applyDefaults, prune, pruneNulls, type StructuralSchema } from "./structural.ts";
import { validateSchema } from "./validate.ts";

const messages = (value: Json, schema: StructuralSchema): string[] => validateSchema(value, schema, "spec").map((it) => `${it.field}: ${it.message}`);

describe("a structural schema", () => {
  const schema: StructuralSchema = {
    type: "object",
    properties: {
      known: { type: "object", properties: { a: { type: "string", default: "A" } } },
      free: { type: "object", "x-kubernetes-preserve-unknown-fields": true, properties: { inner: { type: "object", properties: { x: { type: "string" } } } } },
      map: { type: "object", additionalProperties: { type: "object", properties: { v: { type: "integer", default: 1 } } } },
      list: { type: "array", items: { type: "object", properties: { n: { type: "string" } } } },
      object: { type: "object", default: {}, properties: { deep: { type: "string", default: "D" } } },
      embedded: { type: "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true },
      maybe: { type: "string", nullable: true, default: "M" },
      never: { type: "string" },
    },
  };

  it("drops what it does not know, and says what", () => {
    const dropped: string[] = [];
    const value: JsonObject = {
      known: { a: "1", b: "2" },
      free: { any: 1, inner: { x: "1", y: "2" } },
      map: { k: { v: 1, w: 2 } },
      list: [{ n: "1", m: "2" }],
      other: 1,
    };
    prune(value, schema, false, dropped);
    expect(value).toEqual({ known: { a: "1" }, free: { any: 1, inner: { x: "1" } }, map: { k: { v: 1 } }, list: [{ n: "1" }] });
    expect(dropped.sort()).toEqual(["free.inner.y", "known.b", "list[0].m", "map.k.w", "other"]);
  });

  it("fills in defaults, into what it fills in as well", () => {
    const value: JsonObject = { known: {}, map: { k: {} } };
    applyDefaults(value, schema);
    expect(value).toEqual({ known: { a: "A" }, map: { k: { v: 1 } }, object: { deep: "D" }, maybe: "M" });
  });

  it("keeps a null where it may stand, and takes it for absent elsewhere", () => {
    const value: JsonObject = { maybe: null, never: null, known: { a: null } };
    applyDefaults(value, schema);
    pruneNulls(value, schema);
    expect(value).toMatchObject({ maybe: null, known: { a: "A" } });
    expect(value).not.toHaveProperty("never");
  });
});

describe("validation", () => {
  it.each<[string, Json, StructuralSchema, string[]]>([
    ["a type", 1, { type: "string" }, ['spec: Invalid value: "integer": spec in body must be of type string: "integer"']],
    ["a number for an integer", 1.5, { type: "integer" }, ['spec: Invalid value: "number": spec in body must be of type integer: "number"']],
    ["an integer for a number", 1, { type: "number" }, []],
    ["exclusive bounds", 1, { type: "integer", minimum: 1, exclusiveMinimum: true }, ["spec: Invalid value: 1: spec in body should be greater than 1"]],
    ["multiples", 3, { type: "integer", multipleOf: 2 }, ["spec: Invalid value: 3: spec in body should be a multiple of 2"]],
    ["32 bits", 2 ** 31, { type: "integer", format: "int32" }, ['spec: Invalid value: 2147483648: spec in body must be of type int32: "int64"']],
    ["items", [1, "x"], { type: "array", items: { type: "integer" } }, ['spec[1]: Invalid value: "string": spec[1] in body must be of type integer: "string"']],
    ["too few items", [], { type: "array", minItems: 1 }, ["spec: Invalid value: 0: spec in body should have at least 1 items"]],
    ["properties", { a: 1, b: 2 }, { type: "object", maxProperties: 1 }, ["spec: Too many: 2: must have at most 1 items"]],
    [
      "anyOf",
      "x",
      { type: "string", anyOf: [{ pattern: "^a" }, { pattern: "^b" }] },
      ['spec: Invalid value: "x": "spec" must validate at least one schema (anyOf)'],
    ],
    [
      "oneOf, twice",
      "ab",
      { type: "string", oneOf: [{ pattern: "a" }, { pattern: "b" }] },
      ['spec: Invalid value: "ab": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives'],
    ],
    ["not", "x", { type: "string", not: { pattern: "x" } }, ['spec: Invalid value: "x": "spec" must not validate the schema (not)']],
    ["int or string", "50%", { "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }] }, []],
    [
      "neither int nor string",
      [],
      { "x-kubernetes-int-or-string": true, anyOf: [{ type: "integer" }, { type: "string" }] },
      [
        'spec: Invalid value: "array": spec in body must be of type integer,string: "array"',
        'spec: Invalid value: "array": spec in body must be of type integer: "array"',
      ],
    ],
    [
      "an entry of a map that is no object",
      ["x"],
      { type: "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["id"], items: { type: "object" } },
      [
        'spec[0]: Invalid value: "string": spec[0] in body must be of type object: "string"',
        'spec[0]: Invalid value: "x": must be an object for an array of list-type map',
      ],
    ],
    ["length in characters, not bytes", "äöü", { type: "string", maxLength: 3 }, []],
    ["an unknown format", "x", { type: "string", format: "mystery" }, []],
    ["a duration", "1h30m", { type: "string", format: "duration" }, []],
    ["no duration", "soon", { type: "string", format: "duration" }, ['spec: Invalid value: "soon": spec in body must be of type duration: "soon"']],
  ])("of %s", (_name, value, schema, expected) => {
    expect(messages(value, schema)).toEqual(expected);
  });

  it("stops counting at some point", () => {
    const items = Array.from({ length: 5000 }, () => "x");
    expect(validateSchema(items, { type: "array", items: { type: "integer" } }, "spec").length).toBe(100);
  });
});

describe("rules in CEL", () => {
  const check = (schema: StructuralSchema, value: Json, old?: Json): string[] =>
    ruleErrors(compileRules(schema), value, old, "spec").map((it) => `${it.field}: ${it.message}`);
  const rule = (text: string, more: object = {}): StructuralSchema => ({
    type: "object",
    properties: {
      a: { type: "integer" },
      b: { type: "integer" },
      name: { type: "string" },
      tags: { type: "array", items: { type: "string" } },
      "odd-key": { type: "string" },
      when: { type: "string", format: "date-time" },
      every: { type: "string", format: "duration" },
      namespace: { type: "string" },
      items: {
        type: "array",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["id"],
        items: {
          type: "object",
          properties: { id: { type: "string" }, v: { type: "integer", "x-kubernetes-validations": [{ rule: "self >= oldSelf", message: "must not shrink" }] } },
        },
      },
    },
    "x-kubernetes-validations": [{ rule: text, message: "broken", ...more }],
  });

  it.each<[string, Json]>([
    ["self.a < self.b", { a: 2, b: 1 }],
    ["!has(self.name) || self.name.startsWith('x')", { name: "y" }],
    ["self.tags.all(t, t.size() > 1)", { tags: ["ab", "c"] }],
    ["self.tags.exists(t, t == 'z')", { tags: ["ab"] }],
    ["self.__namespace__ == 'x' && self.odd__dash__key == 'y'", { namespace: "x", "odd-key": "z" }],
    ["self.name.matches('^[a-z]+$')", { name: "A" }],
    ["self.name.lowerAscii() == self.name", { name: "A" }],
    ["self.name.split('-').size() == 2", { name: "a" }],
    ["self.tags.isSorted()", { tags: ["b", "a"] }],
    ["self.tags.max() == 'a'", { tags: ["b", "a"] }],
    ["self.when < timestamp('2026-01-01T00:00:00Z')", { when: "2026-06-01T00:00:00Z" }],
    ["self.every > duration('1h')", { every: "30m" }],
  ])("%s", (text, value) => {
    expect(check(rule(text), value)).toEqual(['spec: Invalid value: "object": broken']);
  });

  it("hold where they should", () => {
    expect(check(rule("self.a < self.b"), { a: 1, b: 2 })).toEqual([]);
    expect(check(rule("self.when < timestamp('2026-01-01T00:00:00Z')"), { when: "2025-06-01T00:00:00Z" })).toEqual([]);
    expect(check(rule("self.tags.isSorted() && self.tags.min() == 'a'"), { tags: ["a", "b"] })).toEqual([]);
    expect(check(rule("has(self.name) ? self.name != '' : true"), {})).toEqual([]);
  });

  it("that name the old value run on changes only, unless they say otherwise", () => {
    const fixed = rule("self.name == oldSelf.name");
    expect(check(fixed, { name: "b" })).toEqual([]);
    expect(check(fixed, { name: "b" }, { name: "a" })).toEqual(['spec: Invalid value: "object": broken']);
  });

  it("follow items of a list by their keys", () => {
    const always = rule("true");
    expect(
      check(
        always,
        {
          items: [
            { id: "b", v: 1 },
            { id: "a", v: 1 },
          ],
        },
        { items: [{ id: "a", v: 2 }] },
      ),
    ).toEqual(['spec.items[1].v: Invalid value: "integer": must not shrink']);
  });

  it("can word their message, name a field and give a reason", () => {
    const schema = rule("self.a < 3", { messageExpression: "'a is ' + string(self.a)", fieldPath: ".a", reason: "FieldValueForbidden" });
    expect(check(schema, { a: 5 })).toEqual(["spec.a: Forbidden: a is 5"]);
  });

  it("that fail while they run count as broken", () => {
    expect(check(rule("self.missing == 1"), { a: 1 })[0]).toMatch(/evaluating rule: broken$/);
  });

  it("that cannot be compiled are a fault of the definition", () => {
    expect(ruleProblems(rule("self.a <"), "schema")[0]?.message).toMatch(/compilation failed/);
    expect(ruleProblems(rule(" "), "schema")[0]?.message).toMatch(/rule is not specified/);
    expect(ruleProblems(rule("self.a < 1"), "schema")).toEqual([]);
  });
});
