import {
  chmodSync,
  closeSync,
  linkSync,
  lutimesSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemCalls } from "@drayage/kernels";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { type Aspect, compareInventories, formatInventory, type InventoryEntry, inventoryOfTree, parseInventory } from "./inventory.ts";
import { allHeld, checksOf, type DemoReport, formatReport, Narrator } from "./report.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "drayage-inventory-"));
  mkdirSync(at("folder"));
  writeFileSync(at("folder/file"), "some bytes");
  writeFileSync(at("ü ☃"), "odd");
  linkSync(at("folder/file"), at("hard"));
  symlinkSync("folder/file", at("soft"));
  writeFileSync(at("holes"), "");
  truncateSync(at("holes"), 8 << 20);
  for (const name of ["holes", "folder/file", "folder", "ü ☃", "soft", "."]) lutimesSync(at(name), 1_000, 1_000);
});
afterEach(() => rmSync(root, { recursive: true }));

const at = (name: string): string => join(root, name);
const inventory = (): InventoryEntry[] => inventoryOfTree(root, systemCalls);
/** The aspects in which the tree differs from what was remembered. */
const differing = (remembered: readonly InventoryEntry[], found = inventory()): Aspect[] => [
  ...new Set(compareInventories(remembered, found).differences.map(({ aspect }) => aspect)),
];
const report = (remembered: readonly InventoryEntry[], found: readonly InventoryEntry[], asRoot = true): DemoReport => ({
  steps: [{ name: "Restore", seconds: 1.5 }],
  volumes: [{ backup: "first", volume: "shop/files", totalBytes: 1000, incrementalBytes: 100, seconds: 2 }],
  checks: checksOf(compareInventories(remembered, found), asRoot),
  storedBytes: 2048,
  seconds: 12,
});

describe("comparing a restore with what was remembered", () => {
  it("finds a tree equal to itself, also after it was told as text", () => {
    const remembered = parseInventory(formatInventory(inventory()));
    expect(differing(remembered)).toEqual([]);
    expect(allHeld(report(remembered, inventory()))).toBe(true);
  });

  it.each<[what: string, tamper: () => void, aspects: Aspect[]]>([
    ["a changed byte", () => writeFileSync(at("folder/file"), "sOme bytes"), ["times", "bytes"]],
    ["a file that is missing", () => unlinkSync(at("ü ☃")), ["times", "presence"]],
    ["a file that was not there", () => writeFileSync(at("more"), ""), ["times", "presence"]],
    ["another mode", () => chmodSync(at("folder/file"), 0o4711), ["modes"]],
    ["a time that is off by a second", () => lutimesSync(at("folder"), 1_000, 1_001), ["times"]],
    ["a link to elsewhere", () => replace("soft", () => symlinkSync("folder", at("soft"))), ["links"]],
    ["a hard link that became a file of its own", () => replace("hard", () => writeFileSync(at("hard"), "some bytes")), ["links"]],
    ["a directory where a link was", () => replace("soft", () => mkdirSync(at("soft"))), ["presence"]],
    ["a hole that was filled", () => writeFileSync(at("holes"), new Uint8Array(8 << 20)), ["holes"]],
  ])("tells %s", (_what, tamper, aspects) => {
    const remembered = inventory();
    tamper();
    // Times below what was replaced are set again, so that each row shows the one thing that it is about.
    if (!aspects.includes("times")) for (const { path, mtimeNs } of remembered) lutimesSync(at(path), 1_000, Number(mtimeNs) / 1e9);
    expect(differing(remembered).sort()).toEqual([...aspects].sort());
    expect(allHeld(report(remembered, inventory()))).toBe(false);
  });

  const replace = (name: string, make: () => void): void => {
    unlinkSync(at(name));
    make();
  };

  it("tells bytes that moved among zeros, and a run of zeros that became longer", () => {
    const size = 8 << 20;
    const make = (offset: number, length = size): InventoryEntry[] => {
      replace("holes", () => writeFileSync(at("holes"), new Uint8Array(0)));
      truncateSync(at("holes"), length);
      const fd = openSync(at("holes"), "r+");
      writeSync(fd, "bytes", offset);
      closeSync(fd);
      return inventory().filter(({ path }) => path === "holes");
    };
    const remembered = make(1 << 20);
    expect(differing(remembered, make(1 << 20)).filter((aspect) => aspect === "bytes")).toEqual([]);
    for (const offset of [0, (1 << 20) + 1, 5 << 20, size - 5]) expect(differing(remembered, make(offset))).toContain("bytes");
    expect(differing(remembered, make(1 << 20, size + 1))).toContain("bytes");
  });

  it.each<[what: string, change: Partial<InventoryEntry>, aspect: Aspect]>([
    ["another owner", { uid: 4242 }, "owners"],
    ["another group", { gid: 4242 }, "owners"],
    ["an attribute that is lost", { xattrs: {} }, "xattrs"],
    ["an attribute with another value", { xattrs: { "user.a": "Mg==" } }, "xattrs"],
  ])("tells %s", (_what, change, aspect) => {
    const remembered = inventory().map((entry) => (entry.path === "holes" ? { ...entry, xattrs: { "user.a": "MQ==" } } : entry));
    const found = remembered.map((entry) => (entry.path === "holes" ? { ...entry, ...change } : entry));
    expect(differing(remembered, found)).toEqual([aspect]);
    expect(allHeld(report(remembered, found))).toBe(false);
  });
});

describe("the verdict", () => {
  it("does not hold when nothing was compared", () => {
    expect(allHeld(report([], []))).toBe(false);
    expect(allHeld({ checks: [] })).toBe(false);
    expect(allHeld({ checks: [{ what: "resources", count: 4, differences: 0 }] })).toBe(false);
  });

  it("does not hold when an object of the namespace came back otherwise", () => {
    const { checks } = report(inventory(), inventory());
    expect(allHeld({ checks: [...checks, { what: "resources", count: 4, differences: 1 }] })).toBe(false);
  });

  it("holds without root where owners and devices cannot be checked, and says so", () => {
    const text = formatReport(report(inventory(), inventory(), false));
    expect(text).toContain("owners         0          not checked: without root there is one owner only\n");
    expect(text).toContain("block volume   0          not checked: block devices need root\n");
    expect(text).toContain("xattrs         0          there are none\n");
    expect(text).toContain("Everything came back. (12.0 s)\n");
  });

  it("names what differs, in the table and to machines", () => {
    const remembered = inventory();
    chmodSync(at("hard"), 0o600);
    const told = report(remembered, inventory());
    expect(formatReport(told)).toMatch(/modes +7 +2 DIFFER\n/);
    expect(formatReport(told)).toContain("NOT everything came back.");
    const terminal = new RecordingTerminal();
    new Narrator(terminal, true).end(told);
    expect(JSON.parse(terminal.text)).toMatchObject({ type: "summary", schema: 1, ok: false });
  });

  it("shows how much was deduplicated and how fast", () => {
    expect(formatReport(report(inventory(), inventory()))).toContain("first    shop/files   1000 B   100 B      90 %           2.0 s   500 B/s\n");
  });
});
