import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { UnattributedFiles } from "@drayage/kernels";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type KnownAttributesOptions, withKnownAttributes } from "./known-attributes.ts";

const KEYS = Buffer.from("16 bytes of keys");

let root: string;
let folder: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "known-"));
  folder = join(root, "state", "attributes");
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

/** Runs a backup that meets files with these keys; what it knew before. */
async function backUp(
  met: Uint8Array,
  options: Partial<KnownAttributesOptions> = {},
  work = async (): Promise<void> => undefined,
): Promise<string | undefined> {
  let known: string | undefined;
  const unattributed: UnattributedFiles = {
    remember(keys) {
      known = Buffer.from(keys).toString();
    },
    met: () => new Uint8Array(met),
  };
  await withKnownAttributes({ source: { kind: "directory", path: join(root, "volume") }, folder, unattributed, ...options }, work);
  return known;
}

const kept = (): string[] => readdirSync(folder).map((name) => join(folder, name));

describe("what is known of the attributes of a volume", () => {
  it("is what its last backup met, for each volume by itself", async () => {
    const other = { source: { kind: "directory", path: join(root, "other") } } as const;
    expect(await backUp(KEYS)).toBe("");
    expect(await backUp(KEYS.subarray(0, 8), other)).toBe("");
    expect(await backUp(KEYS.subarray(8))).toBe(KEYS.toString());
    expect(await backUp(KEYS)).toBe(KEYS.toString("utf8", 8));
    expect(await backUp(KEYS, other)).toBe(KEYS.toString("utf8", 0, 8));
    expect(kept().map((path) => statSync(path).mode & 0o777)).toEqual([0o600, 0o600]);
    expect(statSync(folder).mode & 0o777).toBe(0o700);
  });

  it("is left as it is by a backup that met the same, and by one that failed", async () => {
    await backUp(KEYS);
    const [path = ""] = kept();
    const { ino } = statSync(path);
    await backUp(KEYS);
    const failing = backUp(KEYS.subarray(8), {}, async () => {
      throw new Error("the store is full");
    });
    await expect(failing).rejects.toThrow("the store is full");
    expect(statSync(path).ino).toBe(ino);
    expect(kept()).toEqual([path]);
  });

  it.each([
    ["another user's", (bytes: Buffer) => bytes.writeUInt32LE(bytes.readUInt32LE(8) + 1, 8)],
    ["of another form", (bytes: Buffer) => bytes.write("OTHER", 0)],
  ])("is nothing where the file is %s", async (_, change) => {
    await backUp(KEYS);
    const [path = ""] = kept();
    const bytes = readFileSync(path);
    change(bytes);
    writeFileSync(path, bytes);
    expect(await backUp(KEYS)).toBe("");
    expect(await backUp(KEYS)).toBe(KEYS.toString());
  });

  it("is nothing where the file was cut off, or is larger than any", async () => {
    await backUp(KEYS);
    const [path = ""] = kept();
    const bytes = readFileSync(path);
    for (const damaged of [bytes.subarray(0, -3), bytes.subarray(0, 5), Buffer.alloc(5 << 20)]) {
      writeFileSync(path, damaged);
      expect(await backUp(KEYS)).toBe("");
    }
  });

  it("is not looked for of a device, without attributes, or where nothing is kept", async () => {
    for (const options of [{ source: { kind: "block", path: "/dev/null" } }, { xattrs: false }, { folder: undefined }] as const)
      expect(await backUp(KEYS, options)).toBeUndefined();
    expect(() => kept()).toThrow("ENOENT");
  });

  it("is neither read nor kept where others may write", async () => {
    await backUp(KEYS);
    chmodSync(folder, 0o777);
    expect(await backUp(KEYS.subarray(8))).toBe("");
    chmodSync(folder, 0o700);
    expect(await backUp(KEYS)).toBe(KEYS.toString());
  });

  it("is given up where it cannot be kept", async () => {
    mkdirSync(join(root, "state"));
    writeFileSync(folder, "in the way");
    expect(await backUp(KEYS)).toBe("");
    expect(readFileSync(folder, "utf8")).toBe("in the way");
  });

  it("is kept of the volumes that were backed up last, and of what was left in the making no longer than of the others", async () => {
    mkdirSync(folder, { recursive: true });
    for (let i = 0; i < 40; i++) {
      const path = join(folder, i === 3 ? "left.tmp" : `of ${i}`);
      writeFileSync(path, "");
      utimesSync(path, i, i);
    }
    await backUp(KEYS);
    const names = readdirSync(folder);
    expect(names.length).toBe(32);
    expect(names).toContain("of 39");
    expect(names).not.toContain("of 8");
    expect(names).not.toContain("left.tmp");
    expect(await backUp(KEYS)).toBe(KEYS.toString());
  });
});
