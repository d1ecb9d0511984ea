import { createCipheriv } from "node:crypto";
import { toHex } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { compressorByName, withNativeZstd } from "../compression/compressors.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, sequence } from "../testing/index.ts";
import { createAes256Ctr } from "./aes-256-ctr.ts";

describe.for(await kernelBuilds())("what restores decode with, $name", ({ addon }) => {
  it("decrypts counter mode to the same bytes, with room and without", () => {
    const aes256Ctr = createAes256Ctr(addon);
    const key = sequence(3, 32);
    const counter = new Uint8Array(16).fill(0xff);
    for (const length of [0, 1, 15, 16, 17, 4095, 100_000]) {
      const data = ctr(length);
      const expected = toHex(createCipheriv("aes-256-ctr", key, counter).update(data));
      expect(toHex(aes256Ctr(key, counter, data))).toBe(expected);
      expect(toHex(aes256Ctr(key, counter, data, new Uint8Array(length + 7)))).toBe(expected);
      if (length > 0) expect(toHex(aes256Ctr(key, counter, data, new Uint8Array(length - 1)))).toBe(expected);
    }
  });

  it("expands zstd into memory that is there, and says when it is damaged or too much", () => {
    const { compress, decompressInto } = withNativeZstd(compressorByName("zstd"), addon);
    expect(decompressInto === undefined).toBe(addon === undefined);
    if (decompressInto === undefined) return;
    const data = ctr(50_000).map((byte) => byte & 7);
    const frame = compress?.(data) ?? new Uint8Array();
    const room = new Uint8Array(data.length + 10);
    expect(decompressInto(frame, room)).toBe(data.length);
    expect(toHex(room.subarray(0, data.length))).toBe(toHex(data));
    expect(decompressInto(frame, room.subarray(0, data.length - 1))).toBe(-1);
    for (let cut = 0; cut < 40; cut++) expect(decompressInto(frame.subarray(0, frame.length - 1 - cut), room)).toBe(-1);
    expect(decompressInto(new Uint8Array(20), room)).toBe(-1);
  });
});
