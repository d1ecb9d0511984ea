import { createCipheriv, createHash, createHmac } from "node:crypto";
import { constants } from "node:os";
import { zstdCompressSync } from "node:zlib";
import { concat, equalBytes } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { comparedMemory, FOUND_SLOTS } from "../batch/batch-files.ts";
import { compressorByName, withNativeZstd } from "../compression/compressors.ts";
import { BUZHASH_TABLE } from "../splitter/buzhash-table.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, sequence } from "../testing/index.ts";
import type { NativeAddon } from "./addon.ts";
import { selfTest } from "./self-test.ts";

const builds = (await kernelBuilds()).flatMap(({ name, addon }) => (addon === undefined ? [] : [{ name, addon }]));
const refused: unknown = expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" });

/** Calls with arguments that the types would not let through. */
const call = (addon: NativeAddon, name: keyof NativeAddon, args: readonly unknown[]): unknown =>
  (addon[name] as (...args: readonly unknown[]) => unknown)(...args);

function detached(): Uint8Array {
  const bytes = new Uint8Array(4096);
  structuredClone(bytes.buffer, { transfer: [bytes.buffer] });
  return bytes;
}

/** Anything that could be passed: wrong kinds, empty, detached, shared, and offsets on all sides of what is valid. */
const anything = fc.oneof(
  fc.constantFrom<unknown>(
    undefined,
    null,
    true,
    "bytes",
    {},
    [],
    () => 0,
    Symbol("s"),
    1n,
    new DataView(new ArrayBuffer(8)),
    new ArrayBuffer(64),
    BUZHASH_TABLE,
  ),
  fc.constantFrom<unknown>(-1, -0, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 31, 2 ** 32, 2 ** 53, 2 ** 64, 4097),
  fc.integer({ min: 0, max: 4200 }),
  fc.constantFrom(0, 1, 12, 16, 28, 32, 63, 64, 65, 4096).map((length) => ctr(length)),
  fc.constantFrom(1, 12, 64, 4096).map((length) => new Uint8Array(new SharedArrayBuffer(length))),
  fc.constantFrom<unknown>(detached(), new Int32Array(256), new Float64Array(8), new Uint8ClampedArray(64)),
  fc.array(fc.constantFrom<unknown>(ctr(5), ctr(300), new Uint8Array(), detached(), 7), { maxLength: 9 }),
  fc.constantFrom<unknown>(new Array(3), new Array(2 ** 32 - 1)),
);

const batches = [
  "sha256Ranges",
  "openSealed",
  "blake2bRanges",
  "aeadSealRanges",
  "aeadOpensTo",
  "zstdCompress",
  "zstdExpandsTo",
  "zstdExpand",
  "aes256Ctr",
  "statEntries",
  "readFiles",
  "encodeEntries",
  "encodeStored",
  "compareEntries",
  "compareDirectory",
  "directoryScan",
  "stopScan",
  "dropScan",
  "comparisonQueue",
  "putComparison",
  "finishComparison",
  "dropComparison",
  "findKeys",
  "readsAhead",
  "beginRead",
  "endRead",
] as const;

describe.for(builds)("the addon, $name", ({ addon }) => {
  it("passes its self-test, and the self-test notices an addon that is wrong", () => {
    expect(selfTest(addon)).toBeUndefined();
    expect(selfTest({ ...addon, buzhashScan: () => -1 })).toBe("cut points of the vector code are wrong");
    expect(selfTest({ ...addon, blake2b: () => undefined })).toMatch(/digests/);
    expect(selfTest({ ...addon, plain: { ...addon.plain, blake2bMany: () => undefined } })).toMatch(/digests of the plain code/);
    expect(selfTest({ ...addon, aeadOpen: () => true })).toMatch(/encryption 0/);
    expect(selfTest({ ...addon, aes256Ctr: () => undefined })).toMatch(/counter mode/);
    expect(selfTest({ ...addon, zstdExpand: (frames) => frames.length })).toMatch(/zstd/);
    expect(
      selfTest({
        ...addon,
        aeadBind: () => {
          throw new Error("no such algorithm");
        },
      }),
    ).toBe("no such algorithm");
  });

  it("gives the SHA-256 of many ranges, whatever their lengths and wherever they lie", () => {
    const data = ctr(4096);
    const range = fc.tuple(fc.nat(2048), fc.oneof(fc.nat(2048), fc.constantFrom(0, 55, 56, 63, 64, 119, 120, 128)));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 40 }), (ranges) => {
        const digests = new Uint8Array(32 * ranges.length);
        const column = (at: 0 | 1): Uint32Array => Uint32Array.from(ranges, (range) => range[at]);
        addon.sha256Ranges(data, column(0), column(1), ranges.length, digests);
        const wanted = ranges.map(([start, length]) =>
          createHash("sha256")
            .update(data.subarray(start, start + length))
            .digest(),
        );
        expect(digests).toEqual(Uint8Array.from(Buffer.concat(wanted)));
      }),
    );
  });

  it("gives the BLAKE2b of many ranges that each alone has, whatever their lengths and wherever they lie", () => {
    const key = sequence(0, 32);
    const data = ctr(8192);
    const range = fc.tuple(fc.nat(4096), fc.oneof(fc.nat(4096), fc.constantFrom(0, 1, 127, 128, 129, 255, 256, 257)));
    fc.assert(
      fc.property(fc.array(range, { maxLength: 40 }), fc.constantFrom(16, 32), (ranges, kept) => {
        const digests = new Uint8Array(kept * ranges.length);
        const column = (at: 0 | 1): Uint32Array => Uint32Array.from(ranges, (range) => range[at]);
        addon.blake2bRanges(key, data, column(0), column(1), ranges.length, digests, kept);
        const wanted = ranges.map(([start, length]) => {
          const digest = new Uint8Array(32);
          addon.plain.blake2b(key, data.subarray(start, start + length), digest);
          return digest.subarray(0, kept);
        });
        expect(digests).toEqual(concat(wanted));
      }),
    );
  });

  it.runIf(addon.hasAead)("seals as node:crypto does under keys from secrets and ivs of any length, in one piece or in several", () => {
    const nonce = sequence(1, 12);
    const data = ctr(60_000);
    for (const [secretBytes, ivBytes, length] of [
      [1, 16, 0],
      [32, 0, 1],
      [64, 55, 24 << 10],
      [65, 56, (24 << 10) + 1],
      [128, 63, (48 << 10) - 1],
      [200, 64, 60_000],
    ] as const) {
      const [secret, iv, plaintext] = [ctr(secretBytes), sequence(0, ivBytes), data.subarray(0, length)];
      const cipher = createCipheriv("aes-256-gcm", createHmac("sha256", secret).update(iv).digest(), nonce);
      cipher.setAAD(iv);
      const wanted = Uint8Array.from(Buffer.concat([nonce, cipher.update(plaintext), cipher.final(), cipher.getAuthTag()]));
      const aead = addon.aeadBind(0, secret);
      const sealed = new Uint8Array(length + 28);
      addon.aeadSeal(aead, nonce, iv, plaintext, sealed, 0);
      expect(sealed).toEqual(wanted);
      expect(addon.aeadOpensTo(aead, sealed, iv, plaintext)).toBe(true);
      if (ivBytes === 0) continue;
      const together = new Uint8Array(length + 28);
      expect(addon.aeadSealRanges(aead, nonce, iv, ivBytes, data, new Uint32Array(1), Uint32Array.of(length), 1, together, 0)).toBe(-1);
      expect(together).toEqual(wanted);
    }
  });

  it("answers any arguments with a value or an error", () => {
    const aead = addon.aeadBind(0, sequence(0, 32));
    const argument = fc.oneof({ weight: 9, arbitrary: anything }, { weight: 1, arbitrary: fc.constant<unknown>(aead) });
    const name = fc.constantFrom<keyof NativeAddon>("buzhashScan", "blake2b", "blake2bMany", "aeadBind", "aeadSeal", "aeadOpen", "poly1305", ...batches);
    fc.assert(
      fc.property(name, fc.array(argument, { maxLength: 10 }), (method, args) => {
        try {
          call(addon, method, args);
        } catch (error) {
          expect(error).toEqual(refused);
        }
      }),
      { numRuns: 5000 },
    );
  });

  it.runIf(addon.hasZstd)("expands zstd frames to what Node's decoder gives, and neither damaged ones nor more than there is room for", () => {
    const data = concat([new Uint8Array(5000), ctr(3000)]);
    const frames = concat([zstdCompressSync(data.subarray(0, 6000)), zstdCompressSync(new Uint8Array()), zstdCompressSync(data.subarray(6000))]);
    const out = new Uint8Array(data.length + 1);
    expect(addon.zstdExpand(frames, out)).toBe(data.length);
    expect(equalBytes(out.subarray(0, data.length), data)).toBe(true);
    expect(addon.zstdExpand(frames, new Uint8Array(data.length - 1))).toBe(-1);
    expect(addon.zstdExpand(frames.subarray(0, frames.length - 1), out)).toBe(-1);
    expect(() => addon.zstdExpand(out.subarray(0, 10), out)).toThrow(refused);
    const { decompress } = withNativeZstd(compressorByName("zstd"), addon);
    expect(equalBytes(decompress(frames, data.length), data)).toBe(true);
    expect(equalBytes(decompress(frames, data.length + 100), data)).toBe(true);
    const corrupt = expect.objectContaining({ code: "REPO_CORRUPT" });
    expect(() => decompress(frames, data.length - 1)).toThrow(corrupt);
    expect(() => decompress(new Uint8Array(20), 20)).toThrow(corrupt);
  });

  it("refuses ranges outside the data and windows of another length", () => {
    const data = ctr(5000);
    const valid = [BUZHASH_TABLE, new Uint8Array(64), data, 0, 5000, 0xffff] as const;
    const wrong: readonly (readonly [number, unknown])[] = [
      ...[-1, 5001, 0.5, Number.NaN, "1"].flatMap((offset): [number, unknown][] => [
        [3, offset],
        [4, offset],
      ]),
      ...[63, 65, 0].map((length): [number, unknown] => [1, new Uint8Array(length)]),
      [0, new Int32Array(255)],
      [0, new Uint8Array(1024)],
      [2, detached()],
      [5, 2 ** 32],
    ];
    for (const [index, value] of wrong) expect(() => call(addon, "buzhashScan", valid.with(index, value as never))).toThrow(refused);
    expect(() => call(addon, "buzhashScan", [BUZHASH_TABLE, new Uint8Array(64), data, 11, 10, 1])).toThrow(refused);
    expect(() => call(addon, "buzhashScan", valid.slice(0, 5))).toThrow(refused);
    expect(addon.buzhashScan(BUZHASH_TABLE, new Uint8Array(64), new Uint8Array(), 0, 0, 1)).toBe(-1);
  });

  it("reads no input before every getter has run, and no more of an array than there is room for", () => {
    const out = new Uint8Array(64);
    const first = new Uint8Array(4096);
    const inputs = Object.defineProperty([first, first], 1, {
      get: () => {
        structuredClone(first.buffer, { transfer: [first.buffer] });
        structuredClone(out.buffer, { transfer: [out.buffer] });
        return ctr(10);
      },
    });
    expect(() => addon.blake2bMany(sequence(0, 32), inputs, out)).toThrow(refused);
    expect(() => addon.blake2bMany(sequence(0, 32), new Array(2 ** 32 - 1), new Uint8Array(64))).toThrow(refused);
    const own = new Error("the getter's own");
    const throwing = Object.defineProperty([first], 0, {
      get: () => {
        throw own;
      },
    });
    expect(() => addon.blake2bMany(sequence(0, 32), throwing, new Uint8Array(64))).toThrow(own);
  });

  it("refuses ranges, names and rows that lie outside of what is given", () => {
    const aead = addon.aeadBind(0, sequence(0, 32));
    const data = ctr(100);
    const words = (...values: number[]): Uint32Array => Uint32Array.from(values);
    const out = new Uint8Array(200);
    for (const [starts, lengths, count] of [
      [words(90), words(11), 1],
      [words(101), words(0), 1],
      [words(0), words(1, 1), 2],
      [words(2 ** 32 - 1), words(2 ** 32 - 1), 1],
    ] as const) {
      expect(() => addon.blake2bRanges(sequence(0, 32), data, starts, lengths, count, out, 32)).toThrow(refused);
      expect(() => addon.aeadSealRanges(aead, ctr(24), ctr(32), 16, data, starts, lengths, count, out, 0)).toThrow(refused);
    }
    for (const kept of [0, 33]) expect(() => addon.blake2bRanges(sequence(0, 32), data, words(0), words(1), 1, out, kept)).toThrow(refused);
    // No room, too few nonces, too few ivs, and plaintext that would be overwritten.
    expect(() => addon.aeadSealRanges(aead, ctr(12), ctr(16), 16, data, words(0), words(100), 1, out, 73)).toThrow(refused);
    expect(() => addon.aeadSealRanges(aead, ctr(11), ctr(16), 16, data, words(0), words(1), 1, out, 0)).toThrow(refused);
    expect(() => addon.aeadSealRanges(aead, ctr(12), ctr(15), 16, data, words(0), words(1), 1, out, 0)).toThrow(refused);
    expect(() => addon.aeadSealRanges(aead, ctr(12), ctr(16), 16, out, words(0), words(1), 1, out, 0)).toThrow(refused);
    const names = ctr(10);
    expect(() => addon.statEntries(0, names, words(10), 0, 2, new Uint8Array(), new Float64Array(64))).toThrow(refused);
    expect(() => addon.statEntries(0, names, words(10), 0, 1, new Uint8Array(), new Float64Array(15))).toThrow(refused);
    expect(() => addon.encodeEntries(names, words(10), words(0, 0), new Float64Array(16), out, words(0, 0))).toThrow(refused);
    const [row, hashes, ends] = [new Float64Array(16), new Uint8Array(16), new Uint32Array(1)];
    expect(() => addon.encodeStored(names, words(10), 0, 2, row, hashes, 16, out, 0, ends)).toThrow(refused);
    expect(() => addon.encodeStored(names, words(10), 0, 1, row.subarray(1), hashes, 16, out, 0, ends)).toThrow(refused);
    expect(() => addon.encodeStored(names, words(10), 0, 1, row, hashes.subarray(1), 16, out, 0, ends)).toThrow(refused);
    expect(() => addon.encodeStored(names, words(10), 0, 1, row, hashes, 16, out, 201, ends)).toThrow(refused);
    expect(() => addon.encodeStored(names, words(10), 0, 1, row, hashes, 16, out, 0, ends.subarray(1))).toThrow(refused);
    const into = comparedMemory(2, 17);
    const { rows: twoRows, keys, entries, runs, found } = into;
    for (const [from, to, at] of [
      [0, 3, 0],
      [2, 1, 0],
      [0, 1, 11],
    ] as const) {
      expect(() => addon.compareEntries(names, words(4, 10), from, to, ctr(10), at, 17, twoRows, keys, entries, runs, found)).toThrow(refused);
    }
    expect(() => addon.compareEntries(names, words(4, 10), 0, 2, ctr(10), 0, 18, twoRows, keys, entries, runs, found)).toThrow(refused);
    expect(() => addon.compareEntries(names, words(4, 10), 0, 2, ctr(10), 0, 17, twoRows, keys, entries, runs, new Float64Array(FOUND_SLOTS - 1))).toThrow(
      refused,
    );
    const call = [0, names, 1, names, names, 1, into.names, into.ends, twoRows, keys, entries, runs, found] as const;
    expect(() => addon.compareDirectory(...call)).toThrow(refused);
    const queue = addon.comparisonQueue(2, 1);
    expect(() => addon.putComparison(queue, 0, [...call])).toThrow(refused);
    expect(() => addon.putComparison(queue, 0, [...call].slice(1) as never)).toThrow(refused);
    expect(() => addon.putComparison(queue, 0, {} as never)).toThrow(refused);
    expect(() => addon.finishComparison(queue, 0)).toThrow(refused);
    expect(() => addon.comparisonQueue(2, 1, queue)).toThrow(refused);
    expect(() => addon.directoryScan(Buffer.from("a\0b"), 1, 10)).toThrow(refused);
    expect(() => addon.stopScan(queue)).toThrow(refused);
    expect(() => addon.dropScan(7 as never)).toThrow(refused);
    for (const other of [{}, addon.aeadBind(0, ctr(32)), 7]) expect(() => addon.dropComparison(other as object, 0)).toThrow(refused);
    const memory = comparedMemory(2, 17, { key: ctr(32), digestBytes: 16, level: 1, bytesMax: 10 }).rewritten ?? expect.fail("there is none");
    const rewrite = ({ key, digestBytes, level, hashes: digests } = memory): unknown =>
      addon.compareDirectory(
        ...([0, names, 1, names, names, 17, into.names, into.ends, twoRows, keys, entries, runs, found] as const),
        ...([key, digestBytes, level, 10, memory.data, memory.ranges, digests, memory.text, memory.payload] as const),
      );
    expect(rewrite()).toBe(false);
    for (const wrong of [{ key: ctr(0) }, { key: ctr(65) }, { digestBytes: 0 }, { digestBytes: 33 }, { level: 23 }, { hashes: memory.hashes.subarray(1) }]) {
      expect(() => rewrite({ ...memory, ...wrong })).toThrow(refused);
    }
    expect(() => addon.compareDirectory(0, names, 1, names, names, 17, into.names, into.ends, twoRows, keys, entries, runs, found, memory.key)).toThrow(
      refused,
    );
    // Ends that go backwards or past the names are names that are not there.
    const rows = new Float64Array(32);
    addon.statEntries(0, names, words(12, 4), 0, 2, new Uint8Array(), rows);
    expect([rows[0], rows[16]]).toEqual([constants.errno.EINVAL, constants.errno.EINVAL]);
  });

  it("refuses to seal or open where the bytes do not fit or overlap", () => {
    const aead = addon.aeadBind(0, sequence(0, 32));
    const nonce = sequence(0, 12);
    const iv = sequence(0, 16);
    const out = new Uint8Array(100);
    for (const at of [-1, 63, 100, 101, 0.5, Number.NaN]) expect(() => addon.aeadSeal(aead, nonce, iv, ctr(10), out, at)).toThrow(refused);
    expect(() => addon.aeadSeal(aead, nonce.subarray(1), iv, ctr(10), out, 0)).toThrow(refused);
    expect(() => addon.aeadSeal(aead, nonce, iv, out.subarray(20, 30), out, 0)).toThrow(refused);
    expect(() => addon.aeadSeal({} as never, nonce, iv, ctr(10), out, 0)).toThrow(refused);
    expect(() => addon.aeadOpen(aead, out.subarray(0, 27), iv, new Uint8Array())).toThrow(refused);
    expect(() => addon.aeadOpen(aead, out, iv, new Uint8Array(71))).toThrow(refused);
    expect(() => addon.aeadOpen(aead, out, iv, out.subarray(0, 72))).toThrow(refused);
    expect(() => addon.aeadBind(0, new Uint8Array())).toThrow(refused);
    expect(out).toEqual(new Uint8Array(100));
    // An iv of nothing, and a plaintext of nothing, are lengths like others.
    addon.aeadSeal(aead, nonce, new Uint8Array(), new Uint8Array(), out, 72);
    expect(addon.aeadOpen(aead, out.subarray(72), new Uint8Array(), new Uint8Array())).toBe(true);
    // What did not authenticate is not left behind.
    const plaintext = new Uint8Array(72).fill(1);
    expect(addon.aeadOpen(aead, out, iv, plaintext)).toBe(false);
    expect(plaintext).toEqual(new Uint8Array(72));
  });
});

it("the addon loads in worker threads, each with objects of its own", async () => {
  const { Worker } = await import("node:worker_threads");
  const code = `import(${JSON.stringify(new URL("./load-native.ts", import.meta.url).href)}).then(({ loadNative }) => require("node:worker_threads").parentPort.postMessage(loadNative().reason ?? "loaded"))`;
  const answers = [0, 1].map(
    () =>
      new Promise((resolve, reject) => {
        const worker = new Worker(code, { eval: true });
        worker.once("message", resolve);
        worker.once("error", reject);
      }),
  );
  const expected = builds.length > 0 ? "loaded" : "the native addon is not compiled";
  expect(await Promise.all(answers)).toEqual([expected, expected]);
});
