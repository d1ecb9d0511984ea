import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError, isDrayError } from "@drayage/base";
import { VirtualClock } from "@drayage/base/testing";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { translateDiskError } from "./disk-error.ts";
import { itemEntries, parseEntry } from "./layout.ts";
import { TarballReader } from "./tarball-reader.ts";
import { TarballWriter } from "./tarball-writer.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "tarball-"));
});
afterAll(async () => {
  expect(await readdir(folder)).toEqual([]);
  await rm(folder, { recursive: true });
});

async function* inPieces(bytes: Uint8Array, pieceBytes = 1000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += pieceBytes) yield bytes.subarray(at, at + pieceBytes);
}

const REFS = [
  { groupResource: "pods", namespace: "shop", name: "a", version: "v1", preferred: true },
  { groupResource: "widgets.example.com", namespace: undefined, name: "w", version: "v1beta1", preferred: false },
] as const;

/** A small tarball with one item at its preferred version and one at another. */
async function smallTarball(): Promise<Uint8Array> {
  const { readFile } = await import("node:fs/promises");
  const writer = await TarballWriter.create(folder, new VirtualClock());
  for (const ref of REFS) await writer.add(ref, { metadata: { name: ref.name } });
  const bytes = await readFile((await writer.finish()).path);
  await writer.dispose();
  return bytes;
}

/** What a reader of these bytes sees of the two items; a typed error otherwise. */
async function readBack(bytes: Uint8Array): Promise<unknown> {
  const reader = await TarballReader.open(inPieces(bytes), "b", folder);
  try {
    return await Promise.all(REFS.map((ref) => reader.read(ref)));
  } finally {
    await reader.dispose();
  }
}

const WHOLE = REFS.map(({ name }) => ({ metadata: { name } }));

describe("a tarball", () => {
  it("cut anywhere, or with any byte changed, is refused or read right", async () => {
    const bytes = await smallTarball();
    expect(await readBack(bytes)).toEqual(WHOLE);
    const outcome = async (damaged: Uint8Array): Promise<unknown> => await readBack(damaged).catch((error: unknown) => error);
    for (let at = 0; at < bytes.length; at++) {
      const cut = await outcome(bytes.subarray(0, at));
      expect(isDrayError(cut) && cut.code, `cut at ${at}`).toBe("ARCHIVE_CORRUPT");
      const changed = await outcome(bytes.with(at, (bytes[at] ?? 0) ^ 0x21));
      if (isDrayError(changed)) expect(changed.code, `changed at ${at}`).toBe("ARCHIVE_CORRUPT");
      else expect(changed, `changed at ${at}`).toEqual(WHOLE);
    }
  });

  it("passes trouble with the store on as that, not as damage", async () => {
    const failing = async function* (): AsyncGenerator<Uint8Array> {
      yield (await smallTarball()).subarray(0, 50);
      throw new DrayError("BLOB_UNAVAILABLE", "the connection was reset");
    };
    await expect(TarballReader.open(failing(), "b", folder)).rejects.toMatchObject({ code: "BLOB_UNAVAILABLE" });
  });

  it("needs a folder to be unpacked in, and says which", async () => {
    await expect(TarballReader.open(inPieces(await smallTarball()), "b", "/nonexistent")).rejects.toMatchObject({
      code: "PATH_IO",
      message: expect.stringContaining('"/nonexistent"'),
    });
    await expect(TarballWriter.create("/nonexistent", new VirtualClock())).rejects.toMatchObject({ code: "PATH_IO" });
    expect(translateDiskError(Object.assign(new Error("write"), { code: "ENOSPC" }), "Cannot unpack")).toMatchObject({
      code: "PATH_NO_SPACE",
      message: "Cannot unpack: the disk is full",
    });
  });
});

describe("the entries of an item", () => {
  const name = fc.stringMatching(/^[a-z0-9]([a-z0-9:.-]{0,20}[a-z0-9])?$/).filter((text) => !["cluster", "namespaces"].includes(text) && !text.includes(".."));
  const ref = fc.record({
    groupResource: name,
    namespace: fc.option(name, { nil: undefined }),
    name,
    version: fc.stringMatching(/^v[1-9](alpha[1-9])?$/),
    preferred: fc.boolean(),
  });

  it("say which item it is", () => {
    fc.assert(
      fc.property(ref, (item) => {
        const entries = itemEntries(item);
        expect(entries.length).toBe(item.preferred ? 2 : 1);
        expect(parseEntry(entries.at(-1) ?? "")).toEqual(item);
        if (item.preferred) expect(parseEntry(entries[0] ?? "")).toEqual({ ...item, version: "" });
      }),
    );
  });

  it("of any other form are passed over or refused", () => {
    fc.assert(
      fc.property(
        fc.array(fc.constantFrom("resources", "pods", "namespaces", "cluster", "..", "", ".", "v1-preferredversion", "x.json", "\0"), { maxLength: 7 }),
        (parts) => {
          try {
            const found = parseEntry(parts.join("/"));
            if (found !== undefined)
              expect([found.groupResource, found.name, found.namespace ?? "-"].every((part) => part !== ".." && !part.includes("/"))).toBe(true);
          } catch (error) {
            expect(isDrayError(error) && error.code).toBe("ARCHIVE_CORRUPT");
          }
        },
      ),
    );
  });
});
