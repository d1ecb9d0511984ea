import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { memoryRepository } from "../testing/memory-repository.ts";
import { compressorForFile } from "./compression-choice.ts";
import { EffectivePolicy, mergePolicies } from "./effective-policy.ts";
import { IgnoreScope } from "./ignore-scope.ts";
import { decodePolicy, emptyPolicy, encodePolicy, inKopiasOrder, type PolicyDocument, valueAt } from "./policy-document.ts";
import { PolicyStore } from "./policy-store.ts";
import { formatPolicyTarget, globalTarget, parsePolicyTarget, targetsAbove } from "./policy-target.ts";
import { PolicyTree } from "./policy-tree.ts";
import { parseWildcard } from "./wildcard.ts";

const target = { userName: "u", host: "h", path: "/a/b" };
const policyOf = (document: PolicyDocument): EffectivePolicy => mergePolicies([{ target, document }]);

describe("targets of policies", () => {
  it("are written and read as Kopia shows them", () => {
    for (const text of ["(global)", "@host", "user@host", "user@host:/a b/c"]) expect(formatPolicyTarget(parsePolicyTarget(text))).toBe(text);
  });

  it.each(["", "host", "user@", "@host:/path"])("%j is refused", (text) =>
    expect(() => parsePolicyTarget(text)).toThrow(expect.objectContaining({ code: "USAGE" })),
  );

  it("those above a path are its folders, then the user, the host and everything", () => {
    expect(targetsAbove(target).map(formatPolicyTarget)).toEqual(["u@h:/a/b", "u@h:/a", "u@h:/", "u@h", "@h", "(global)"]);
    // What Velero uses as a path begins with no slash.
    expect(targetsAbove({ ...target, path: "x/kopia/ns/pvc" }).map(({ path }) => path)).toEqual(["x/kopia/ns/pvc", "x/kopia/ns", "x/kopia", "x", "", "", ""]);
    expect(targetsAbove({ ...target, path: "C:\\data\\x" }).map(({ path }) => path)).toEqual(["C:\\data\\x", "C:\\data", "C:\\", "", "", ""]);
  });
});

describe("merging", () => {
  it("the most particular policy that states a thing decides, and what none states is the default", () => {
    const merged = mergePolicies([
      { target, document: { retention: { keepLatest: 0 }, files: { ignore: [] } } },
      { target: globalTarget, document: { retention: { keepLatest: 5, keepDaily: 3 }, files: { ignore: ["*.tmp"] } } },
    ]);
    expect(merged.retention).toEqual({ keepLatest: 0, keepDaily: 3, keepHourly: 48, keepWeekly: 4, keepMonthly: 24, keepAnnual: 3 });
    expect(merged.ignoreRules).toEqual(["*.tmp"]);
    expect(merged.definedBy.get("retention.keepLatest")).toBe("u@h:/a/b");
    expect(merged.definedBy.get("retention.keepDaily")).toBe("(global)");
    expect(merged.definedBy.has("retention.keepHourly")).toBe(false);
  });

  it("a policy that inherits nothing has not even the defaults", () => {
    const merged = mergePolicies([
      { target, document: { noParent: true, retention: { keepLatest: 1 } } },
      { target: globalTarget, document: { retention: { keepDaily: 3 } } },
    ]);
    expect(merged.retention).toMatchObject({ keepLatest: 1, keepDaily: undefined, keepAnnual: undefined });
    expect(merged.dotIgnoreFiles).toEqual([]);
  });

  it("lists of extensions add up, until one says that those above do not count", () => {
    const above = { target: globalTarget, document: { compression: { neverCompress: [".z", ".a"] } } };
    const below = (extra: object): PolicyDocument => ({ compression: { compressorName: "zstd", neverCompress: [".m"], ...extra } });
    expect(mergePolicies([{ target, document: below({}) }, above]).compression.never).toEqual([".a", ".m", ".z"]);
    expect(mergePolicies([{ target, document: below({ noParentNeverCompress: true }) }, above]).compression.never).toEqual([".m"]);
  });
});

describe("stored policies", () => {
  it("numbers beyond 2^53 and members that are not known survive a change", () => {
    const data = '{"upload":{"parallelUploadAboveSize":9223372036854775807,"new":1},"future":{"a":[1]},"retention":{}}';
    const document = inKopiasOrder(decodePolicy(data, "p"));
    expect(encodePolicy(document)).toContain('"upload":{"parallelUploadAboveSize":9223372036854775807,"new":1},"future":{"a":[1]}');
    expect(Object.keys(document).slice(0, 2)).toEqual(["retention", "files"]);
  });

  it.each([
    "[]",
    "{",
    '{"retention":5}',
    '{"retention":{"keepLatest":"5"}}',
    '{"retention":{"keepLatest":1e40}}',
    '{"files":{"ignore":[1]}}',
    '{"noParent":1}',
    `{"x":${"[".repeat(50)}${"]".repeat(50)}}`,
  ])("%s is refused, naming the policy", (data) =>
    expect(() => decodePolicy(data, "policy of x")).toThrow(expect.objectContaining({ code: "REPO_CORRUPT", message: expect.stringContaining("policy of x") })),
  );

  it("whatever JSON comes, a policy is decoded or refused, and can be merged", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.constantFrom("retention", "files", "compression", "noParent", "logging"), fc.jsonValue({ maxDepth: 3 })), (json) => {
        let document: PolicyDocument;
        try {
          document = decodePolicy(JSON.stringify(json), "p");
        } catch (error) {
          expect(error).toMatchObject({ code: "REPO_CORRUPT" });
          return;
        }
        expect(policyOf(document).compression.minBytes).toBeGreaterThanOrEqual(-Number.MAX_VALUE);
      }),
      { seed: 4, numRuns: 2000 },
    );
  });

  it("one target has one policy; a tree knows those of folders below", async () => {
    const { repository } = memoryRepository();
    const store = new PolicyStore(repository.manifests);
    await store.set(globalTarget, { ...emptyPolicy, compression: { compressorName: "zstd" } });
    await store.set(target, { ...emptyPolicy, retention: { keepLatest: 1 } });
    await store.set(target, { ...emptyPolicy, retention: { keepLatest: 2 } });
    await store.set({ ...target, path: "/a/b/c/d" }, { ...emptyPolicy, compression: { compressorName: "gzip" } });
    await store.set({ ...target, path: "/a/bc" }, { ...emptyPolicy, compression: { compressorName: "s2-default" } });
    expect((await store.list()).map((policy) => formatPolicyTarget(policy.target))).toEqual(["(global)", "u@h:/a/b", "u@h:/a/b/c/d", "u@h:/a/bc"]);
    expect((await store.effective({ ...target, path: "/a/b/x" })).retention.keepLatest).toBe(2);
    const tree = await store.tree(target);
    expect(tree.effective.compression.name).toBe("zstd");
    expect(tree.child("c").effective.compression.name).toBe("zstd");
    expect(tree.child("c").defined).toBeUndefined();
    expect(tree.child("c").child("d").child("e").effective.compression.name).toBe("gzip");
    await store.remove(target);
    expect(await store.get(target)).toBeUndefined();
    await expect(store.remove(target)).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("ignore rules", () => {
  const matches = (pattern: string, path: string, isDirectory = false, base = ""): boolean => parseWildcard(pattern, base).matches(path, isDirectory);

  it.each([
    ["*.log", "/a.log", true],
    ["*.log", "/deep/er/a.log", true],
    ["/a*b", "/axb", true],
    ["/a*b", "/x/axb", false],
    // Kopia's star may end with one slash.
    ["/a*b", "/ax/b", true],
    ["/a*b", "/a/xb", false],
    ["foo/**/bar", "/foo/bar", true],
    ["foo/**/bar", "/foo/x/y/bar", true],
    ["foo/bar", "/x/foo/bar", false],
    ["foo/**", "/foo", false],
    ["?", "/é", true],
    ["[!a-c]x", "/dx", true],
    ["[!a-c]x", "/ax", false],
    ["x[[:alpha:]]y", "/xqy", true],
    ["longer_name_[[:digit:]]", "/longer_name_5", false],
    ["[]x", "/x", false],
    ["\\*", "/*", true],
    ["\\*", "/a", false],
  ])("%s on %s: %s", (pattern, path, expected) => expect(matches(pattern, path)).toBe(expected));

  it("a slash at the end means directories only", () => {
    expect(matches("tmp/", "/a/tmp", true)).toBe(true);
    expect(matches("tmp/", "/a/tmp", false)).toBe(false);
  });

  it("a pattern holds in the directory that it is written in", () => {
    expect(matches("/x", "/a/x", false, "/a")).toBe(true);
    expect(matches("/x", "/x", false, "/a")).toBe(false);
    expect(matches("x", "/a/b/x", false, "/a")).toBe(true);
  });

  it.each(["fo[o", "a\\", "[[:nope:]]"])("%s is refused", (pattern) =>
    expect(() => parseWildcard(pattern, "")).toThrow(expect.objectContaining({ code: "USAGE" })),
  );

  it("any pattern answers about any path, and soon", () => {
    const characters = fc.constantFrom("*", "**", "/", "a", "b", "[", "]", "!", "?", "\\", "-", "[:alpha:]", "é");
    fc.assert(
      fc.property(fc.array(characters, { maxLength: 30 }), fc.array(fc.constantFrom("a", "b", "/", "é"), { maxLength: 60 }), (pattern, path) => {
        try {
          expect(typeof matches(pattern.join(""), `/${path.join("")}`)).toBe("boolean");
        } catch (error) {
          expect(error).toMatchObject({ code: "USAGE" });
        }
      }),
      { seed: 5, numRuns: 5000 },
    );
    // A backtracking matcher would not end within a lifetime.
    expect(matches("*a".repeat(40), `/${"a".repeat(255)}b`)).toBe(false);
  });

  it("rules are asked from the root down, and what is excluded can be taken back in", () => {
    const bad: string[] = [];
    const tree = PolicyTree.build(policyOf({ files: { ignore: ["*.log", "/tmp"], maxFileSize: 100 } }));
    const root = IgnoreScope.outermost().enter("", tree, [{ name: ".kopiaignore", text: "# comment\r\n\r\n!keep.log\r\n[\n" }], (_file, message) =>
      bad.push(message),
    );
    expect(root.excludes("/a/b.log", false)).toBe(true);
    expect(root.excludes("/a/keep.log", false)).toBe(false);
    expect(root.excludes("/tmp", true)).toBe(true);
    expect(root.isTooLarge(100)).toBe(false);
    expect(root.isTooLarge(101)).toBe(true);
    expect(bad).toHaveLength(1);
    const below = root.enter("/a", tree.child("a"), [{ name: ".kopiaignore", text: "keep.log\n/tmp" }], () => undefined);
    expect(below.excludes("/a/keep.log", false)).toBe(true);
    expect(below.excludes("/a/tmp", true)).toBe(true);
    expect(below.excludes("/b/keep.log", false)).toBe(false);
    expect(root.enter("/b", tree.child("b"), [], () => undefined)).toBe(root);
  });
});

describe("the compressor of a file", () => {
  const policy = policyOf({ compression: { compressorName: "zstd", neverCompress: [".gz", ".jpg"], onlyCompress: [".jpg"], minSize: 10, maxSize: 1000 } });

  it.each([
    ["a.txt", 100, "zstd"],
    ["a.tar.gz", 100, undefined],
    ["a.jpg", 100, "zstd"],
    [".gz", 100, undefined],
    ["gz", 100, "zstd"],
    ["a.txt", 9, undefined],
    ["a.txt", 1001, undefined],
  ])("%s of %i bytes: %s", (name, bytes, expected) => expect(compressorForFile(policy, name, bytes)).toBe(expected));

  it("is none where the policy says none, or nothing", () => {
    expect(compressorForFile(policyOf({}), "a", 1)).toBeUndefined();
    expect(compressorForFile(new EffectivePolicy(emptyPolicy), "a", 1)).toBeUndefined();
    expect(valueAt(policyOf({}).document, ["compression", "compressorName"])).toBe("none");
  });
});
