import { describe, expect, it } from "vitest";
import { filterFaults, NameFilter, namespaceFilterFaults, scopedFilterFaults } from "./name-filter.ts";

describe("NameFilter", () => {
  it("has every name when both lists are empty", () => {
    expect(new NameFilter([], []).has("anything")).toBe(true);
    expect(new NameFilter([], []).hasEverything).toBe(true);
    expect(new NameFilter(["*"], []).hasEverything).toBe(true);
  });

  it.each([
    ["app-*", "app-1", true],
    ["app-*", "my-app-1", false],
    ["app-?", "app-12", false],
    ["app-[ab]", "app-b", true],
    ["app-[ab]", "app-c", false],
    ["a.b", "axb", false],
    ["a+b", "a+b", true],
  ])("pattern %s fits %s: %s", (pattern, name, fits) => {
    expect(new NameFilter([pattern], []).has(name)).toBe(fits);
  });

  it.each(["shop[", "shop[]", "shop]", "[z-a]", "["])("takes %s, which is no pattern, for a name", (pattern) => {
    const filter = new NameFilter([pattern], []);
    expect(filter.has(pattern)).toBe(true);
    expect(filter.has("shop")).toBe(false);
  });

  it("lets an exclude win over an include", () => {
    const filter = new NameFilter(["app-*"], ["app-secret"]);
    expect(filter.has("app-web")).toBe(true);
    expect(filter.has("app-secret")).toBe(false);
  });
});

describe("filter faults", () => {
  it("names an entry that is in both lists", () => {
    expect(filterFaults(["a", "b"], ["b"])).toEqual(['"b" is in the list of includes and of excludes']);
  });

  it("refuses a star beside other entries and as an exclude", () => {
    expect(filterFaults(["*", "a"], ["*"])).toHaveLength(2);
    expect(filterFaults(["*"], ["a"])).toEqual([]);
  });

  it("allows to exclude everything of a scope of which nothing is included", () => {
    expect(scopedFilterFaults([], ["*"])).toEqual([]);
    expect(scopedFilterFaults(["pods"], ["*"])).toHaveLength(1);
  });

  it.each(["UPPER", "a**b", "a[", "a[]", "[b-a]", "x".repeat(64), "a{b}"])("refuses %s as a namespace", (name) => {
    expect(namespaceFilterFaults([name], [])).toHaveLength(1);
  });

  it.each(["web", "web-*", "team-[ab]", "*", ""])("accepts %j as a namespace", (name) => {
    expect(namespaceFilterFaults([name], [])).toEqual([]);
  });
});
