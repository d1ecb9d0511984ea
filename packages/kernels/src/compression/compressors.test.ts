import { zstdCompressSync } from "node:zlib";
import { concat, equalBytes, fromHex, utf8 } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ctr } from "../testing/index.ts";
import { COMPRESSOR_NAMES, compressorByHeader, compressorByName } from "./compressors.ts";
import { crc32c } from "./crc32c.ts";

const text = utf8(`${"the quick brown fox jumps over the lazy dog; ".repeat(3000)}END`);
const writable = COMPRESSOR_NAMES.filter((name) => compressorByName(name).compress !== undefined);
const compress = (name: string, data: Uint8Array): Uint8Array => compressorByName(name).compress?.(data) ?? new Uint8Array();
const corrupt = expect.objectContaining({ code: "REPO_CORRUPT" });

describe("compressors", () => {
  it("are all of Kopia's eighteen, found by name and by header id", () => {
    expect(COMPRESSOR_NAMES).toHaveLength(18);
    for (const name of COMPRESSOR_NAMES) expect(compressorByHeader(compressorByName(name).headerId).name).toBe(name);
    expect(compressorByName("zstd-fastest").headerId).toBe(0x1101);
    expect(() => compressorByName("brotli")).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
    expect(() => compressorByHeader(0x9999)).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
  });

  for (const name of writable) {
    it(`${name}: gives back what was put in, and stops at the length expected`, () => {
      const compressor = compressorByName(name);
      for (const data of [new Uint8Array(), utf8("x"), text, ctr(200_000), new Uint8Array(300_000)]) {
        const packed = compress(name, data);
        expect(equalBytes(compressor.decompress(packed, data.length), data)).toBe(true);
        if (data.length > 1) expect(() => compressor.decompress(packed, data.length - 1)).toThrow(corrupt);
      }
      expect(compress(name, text).length).toBeLessThan(text.length / 5);
    });

    it(`${name}: answers damage with an error, or with bytes within the limit`, () => {
      const compressor = compressorByName(name);
      const data = text.subarray(0, 400);
      const packed = compress(name, data);
      const attempt = (bytes: Uint8Array): void => {
        try {
          expect(compressor.decompress(bytes, data.length).length).toBeLessThanOrEqual(data.length);
        } catch (error) {
          expect(error).toEqual(corrupt);
        }
      };
      for (let at = 0; at < packed.length; at++) {
        attempt(packed.subarray(0, at));
        const damaged = packed.slice();
        damaged[at] = (damaged[at] ?? 0) ^ 0xff;
        attempt(damaged);
      }
    });
  }

  it("read several zstd frames in a row", () => {
    const frames = concat([zstdCompressSync(utf8("one ")), zstdCompressSync(new Uint8Array()), zstdCompressSync(utf8("two"))]);
    expect(Buffer.from(compressorByName("zstd").decompress(frames, 7)).toString()).toBe("one two");
    expect(() => compressorByName("zstd").decompress(frames, 6)).toThrow(corrupt);
    expect(() => compressorByName("zstd").decompress(concat([frames, utf8("junk")]), 100)).toThrow(corrupt);
  });

  it("decode the S2 extension of repeated offsets", () => {
    // "abcd", copy 4 back 4 long, then repeats of that offset with each form of length: 4, 8 + 5, 260 + 1, 65540 + 1.
    const elements = Uint8Array.from([0x0c, 97, 98, 99, 100, 0x01, 4, 0x01, 0, 0x15, 0, 5, 0x19, 0, 1, 0, 0x1d, 0, 1, 0, 0]);
    const length = 4 + 4 + 4 + 13 + 261 + 65_541;
    const block = concat([uvarint(length), elements]);
    const plain = Uint8Array.from({ length }, (_, i) => 97 + (i % 4));
    const stream = concat([fromHex("ff06000053327354774f") ?? new Uint8Array(), chunk(0, plain, block)]);
    expect(equalBytes(compressorByName("s2-default").decompress(stream, length), plain)).toBe(true);
  });

  it("skip S2 padding and refuse an unknown chunk and a wrong checksum", () => {
    const s2 = compressorByName("s2-better");
    const packed = compress("s2-better", utf8("hello hello hello"));
    expect(Buffer.from(s2.decompress(concat([packed, Uint8Array.from([0xfe, 2, 0, 0, 9, 9])]), 17)).toString()).toBe("hello hello hello");
    expect(() => s2.decompress(concat([packed, Uint8Array.from([0x42, 0, 0, 0])]), 17)).toThrow(corrupt);
    const damaged = packed.slice();
    damaged[14] = (damaged[14] ?? 0) ^ 1;
    expect(() => s2.decompress(damaged, 17)).toThrow(corrupt);
  });

  it("compute CRC-32C as its check value says", () => {
    expect(crc32c(utf8("123456789"))).toBe(0xe3069283);
  });

  it("s2 gives back any bytes", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 0, max: 3 }), { maxLength: 2000 }), (values) => {
        const data = Uint8Array.from(values);
        expect(equalBytes(compressorByName("s2-default").decompress(compress("s2-default", data), data.length), data)).toBe(true);
      }),
    );
  });

  it("read LZ4 frames with independent blocks, and refuse others by name", () => {
    // magic, flags, block size 64 KiB, header checksum (not verified), one block: literals "abc", match offset 3 length 9, last literals "de"
    const block = [0x35, 97, 98, 99, 3, 0, 0x20, 100, 101];
    const frame = (flags: number): Uint8Array => Uint8Array.from([0x04, 0x22, 0x4d, 0x18, flags, 0x40, 0, block.length, 0, 0, 0, ...block, 0, 0, 0, 0]);
    const lz4 = compressorByName("lz4");
    expect(Buffer.from(lz4.decompress(frame(0x60), 14)).toString()).toBe("abcabcabcabcde");
    expect(() => lz4.decompress(frame(0x60), 13)).toThrow(corrupt);
    expect(() => lz4.decompress(frame(0x40), 14)).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
    const good = frame(0x60);
    for (let at = 1; at < good.length; at++) expect(() => lz4.decompress(good.subarray(0, at), 14)).toThrow(corrupt);
  });
});

function uvarint(value: number): Uint8Array {
  const bytes: number[] = [];
  for (let rest = value; ; rest >>>= 7) {
    bytes.push(rest < 0x80 ? rest : (rest & 0x7f) | 0x80);
    if (rest < 0x80) return Uint8Array.from(bytes);
  }
}

function chunk(type: number, plain: Uint8Array, body: Uint8Array): Uint8Array {
  const crc = crc32c(plain);
  const masked = (((crc >>> 15) | (crc << 17)) + 0xa282ead8) >>> 0;
  const length = body.length + 4;
  return concat([
    Uint8Array.from([type, length & 0xff, (length >>> 8) & 0xff, length >>> 16, masked & 0xff, (masked >>> 8) & 0xff, (masked >>> 16) & 0xff, masked >>> 24]),
    body,
  ]);
}
