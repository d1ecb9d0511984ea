import { closeSync, mkdtempSync, openSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createKernels } from "../kernels.ts";
import type { NativeAddon } from "../native/addon.ts";
import { systemCalls } from "../system/system-calls.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr } from "../testing/index.ts";
import { ATTRIBUTES, type BatchFiles, ROW, ROW_SLOTS } from "./batch-files.ts";
import { nativeFiles } from "./native-files.ts";
import { nativeUnattributed, UNATTRIBUTED_KEY_BYTES } from "./unattributed.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "unattributed-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** What is said of the attributes of each entry of a folder, by name; by looking at them, or by reading them. */
function attributesBy(files: BatchFiles, folder: string, how: "stat" | "read" = "stat"): Record<string, number | undefined> {
  const fd = openSync(folder, "r");
  const names = files.listDirectory(fd);
  const count = names.ends.length;
  const rows = new Float64Array(count * ROW_SLOTS);
  if (how === "stat") files.statEntries(fd, names, { from: 0, to: count }, true, rows);
  else
    files.readFiles(
      fd,
      names,
      Uint32Array.from({ length: count }, (_, i) => i),
      { attributes: true, bytesMax: 1 << 20 },
      rows,
      new Uint8Array(1 << 20),
    );
  closeSync(fd);
  const text = Buffer.from(names.names).toString();
  return Object.fromEntries(Array.from(names.ends, (end, i) => [text.slice(names.ends[i - 1] ?? 0, end), rows[i * ROW_SLOTS + ROW.attributes]]));
}

/** As native/unattributed.h makes it. */
function keyOf(path: string): Buffer {
  const { dev, ino, ctimeNs } = statSync(path, { bigint: true });
  const word = (n: bigint): bigint => BigInt.asUintN(64, n);
  const mix = (n: bigint): bigint => {
    let mixed = word((n ^ (n >> 33n)) * 0xff51afd7ed558ccdn);
    mixed = word((mixed ^ (mixed >> 33n)) * 0xc4ceb9fe1a85ec53n);
    return mixed ^ (mixed >> 33n);
  };
  const key = Buffer.alloc(UNATTRIBUTED_KEY_BYTES);
  key.writeBigUInt64LE(mix(mix(mix(dev) ^ ino) ^ word(ctimeNs)) & ~1n & 0xffff_ffff_ffff_ffffn);
  return key;
}

/** Sets an attribute, at another time than that of the last change. */
function setAttribute(path: string): void {
  const { ctimeNs } = statSync(path, { bigint: true });
  // One that is set to what it is changes nothing.
  for (let i = 0; statSync(path, { bigint: true }).ctimeNs === ctimeNs; i++) systemCalls.setXattr(path, "user.note", Buffer.from(String(i)));
}

it("is nothing that the portable build knows", async () => {
  expect((await createKernels({ build: "portable" })).unattributed).toBeUndefined();
});

const native = (await kernelBuilds()).flatMap(({ name, addon }) => (name === "native" && addon !== undefined ? [addon] : []));
for (const addon of native) describe("files known to be without attributes", () => testWith(addon));

function testWith(addon: NativeAddon): void {
  const files = nativeFiles(addon);
  const ofAnyAge = nativeUnattributed(addon, { ageMs: 0, everywhere: true });
  const metCount = (): number => (ofAnyAge.met()?.length ?? 0) / UNATTRIBUTED_KEY_BYTES;
  const attributesIn = (folder: string, how?: "stat" | "read"): Record<string, number | undefined> => attributesBy(files, folder, how);

  it("are none before somebody wants that", () => {
    writeFileSync(join(root, "a"), "");
    expect(attributesIn(root)).toEqual({ a: ATTRIBUTES.none });
    expect(ofAnyAge.met()).toBeUndefined();
  });

  it("are none that were changed just now, or of a file system that may not tell each change", () => {
    nativeUnattributed(addon).remember(new Uint8Array(0));
    writeFileSync(join(root, "a"), "");
    attributesIn(root);
    expect(metCount()).toBe(0);
    nativeUnattributed(addon, { ageMs: 0 }).remember(new Uint8Array(0));
    expect(attributesIn("/proc/self")).toHaveProperty("status");
    expect(metCount()).toBe(0);
  });

  it.each(["stat", "read"] as const)("are asked again when they have changed, by %s", (how) => {
    ofAnyAge.remember(new Uint8Array(0));
    for (const name of ["a", "b", "c"]) writeFileSync(join(root, name), name);
    systemCalls.setXattr(join(root, "b"), "user.note", ctr(3));
    const before = metCount();
    const { none, some } = ATTRIBUTES;
    expect(attributesIn(root, how)).toEqual({ a: none, b: some, c: none });
    expect(metCount()).toBe(before + 2);
    expect(attributesIn(root, how)).toEqual({ a: none, b: some, c: none });
    expect(metCount()).toBe(before + 2);
    setAttribute(join(root, "a"));
    systemCalls.removeXattr(join(root, "b"), "user.note");
    expect(attributesIn(root, how)).toEqual({ a: some, b: none, c: none });
    expect(metCount()).toBe(before + 3);
  });

  it("are what another process has met, and are kept once they were met again", () => {
    writeFileSync(join(root, "a"), "");
    setAttribute(join(root, "a"));
    const key = keyOf(join(root, "a"));
    const before = metCount();
    ofAnyAge.remember(Buffer.concat([key, ctr(UNATTRIBUTED_KEY_BYTES)]));
    expect(metCount()).toBe(before);
    // What is known is not asked for, whatever the file has.
    expect(attributesIn(root)).toEqual({ a: ATTRIBUTES.none });
    const met = Buffer.from(ofAnyAge.met() ?? []);
    expect(met.length / UNATTRIBUTED_KEY_BYTES).toBe(before + 1);
    expect(met.includes(key)).toBe(true);
    // Each key is kept once, and what is no whole one is not read.
    ofAnyAge.remember(Buffer.concat([met, ctr(5)]));
    expect(metCount()).toBe(before + 1);
    setAttribute(join(root, "a"));
    expect(attributesIn(root)).toEqual({ a: ATTRIBUTES.some });
  });

  it("are asked for where there are more than there is room for", () => {
    const before = metCount();
    ofAnyAge.remember(ctr((1 << 20) * UNATTRIBUTED_KEY_BYTES));
    writeFileSync(join(root, "a"), "");
    setAttribute(join(root, "a"));
    expect(attributesIn(root)).toEqual({ a: ATTRIBUTES.some });
    expect(metCount()).toBe(before);
  });
}
