import { applyMergePatch } from "@drayage/kube/testing";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cleaned, mergedServiceAccount, mergePatchBetween, sameJson } from "./restored-form.ts";

describe("cleaned()", () => {
  it("keeps names, labels, annotations and finalizers, and drops what the old cluster had set", () => {
    const object = {
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "a",
        namespace: "n",
        uid: "u",
        resourceVersion: "1",
        generateName: "a-",
        labels: { l: "1" },
        finalizers: ["f"],
        ownerReferences: [],
        managedFields: [],
      },
      spec: {},
      status: {},
    };
    expect(cleaned(object)).toEqual({
      apiVersion: "v1",
      kind: "Pod",
      metadata: { name: "a", namespace: "n", labels: { l: "1" }, finalizers: ["f"] },
      spec: {},
    });
  });
});

describe("mergePatchBetween()", () => {
  it("is nothing between equals", () => {
    expect(mergePatchBetween({ a: 1, b: [1] }, { b: [1], a: 1 })).toBeUndefined();
  });

  it("removes with null and replaces lists as a whole", () => {
    expect(mergePatchBetween({ a: 1, b: { c: 1, d: 2 }, e: [1] }, { b: { c: 1, d: 3 }, e: [1, 2] })).toEqual({ a: null, b: { d: 3 }, e: [1, 2] });
  });

  it("makes the one of the other, whatever they are", () => {
    const leaf = fc.oneof(fc.string(), fc.integer(), fc.boolean(), fc.array(fc.integer(), { maxLength: 2 }));
    // A merge patch cannot write a null, and neither does the API server store one.
    const tree = fc.letrec((tie) => ({ node: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.oneof({ maxDepth: 3 }, leaf, tie("node"))) })).node;
    fc.assert(
      fc.property(tree, tree, (before, after) => {
        expect(applyMergePatch(before, mergePatchBetween(before, after) ?? {})).toEqual(after);
      }),
    );
  });
});

it("sameJson(): does not mind the order of keys, but that of lists", () => {
  expect(sameJson({ a: 1, b: { c: [1, 2] } }, { b: { c: [1, 2] }, a: 1 })).toBe(true);
  expect(sameJson([1, 2], [2, 1])).toBe(false);
  expect(sameJson({ a: null }, {})).toBe(false);
});

it("mergedServiceAccount(): keeps what is there and adds what is missing", () => {
  const existing = { metadata: { name: "a", labels: { x: "mine" } }, secrets: [{ name: "s1" }] };
  const wanted = { metadata: { name: "a", labels: { x: "theirs", y: "new" } }, secrets: [{ name: "s1" }, { name: "s2" }], imagePullSecrets: [{ name: "p" }] };
  expect(mergedServiceAccount(existing, wanted)).toEqual({
    metadata: { name: "a", labels: { x: "mine", y: "new" } },
    secrets: [{ name: "s1" }, { name: "s2" }],
    imagePullSecrets: [{ name: "p" }],
  });
});
