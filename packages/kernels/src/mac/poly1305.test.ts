import { hash } from "node:crypto";
import { concat, toHex } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, sequence } from "../testing/index.ts";
import { createPoly1305 } from "./poly1305.ts";

const bytes = (hex: string): Buffer => Buffer.from(hex, "hex");
const builds = await kernelBuilds();

/** The definition, in big integers. */
function reference(key: Uint8Array, data: Uint8Array): string {
  const number = (part: Uint8Array): bigint => part.reduceRight((value, byte) => (value << 8n) | BigInt(byte), 0n);
  const r = number(key.subarray(0, 16)) & 0x0ffffffc0ffffffc0ffffffc0fffffffn;
  let h = 0n;
  for (let at = 0; at < data.length; at += 16) h = ((h + number(concat([data.subarray(at, at + 16), Uint8Array.of(1)]))) * r) % ((1n << 130n) - 5n);
  const tag = (h + number(key.subarray(16))) & ((1n << 128n) - 1n);
  return toHex(Uint8Array.from({ length: 16 }, (_, index) => Number((tag >> BigInt(8 * index)) & 255n)));
}

describe.for(builds)("Poly1305, $name build", ({ addon }) => {
  const poly1305 = createPoly1305(addon);

  it("gives the tags of RFC 8439, section 2.5.2, and of its appendix A.3", () => {
    const message = Buffer.from("Cryptographic Forum Research Group");
    expect(toHex(poly1305(bytes("85d6be7857556d337f4452fe42d506a80103808afb0db2fd4abff6af4149f51b"), message))).toBe("a8061dc1305136c6c22b8baf0c0127a9");
    // Numbers at the edge of the modulus: 2^130 − 5 + n as the sum, and carries through every limb.
    const ff = "f".repeat(32);
    const cases: readonly (readonly [key: string, data: string, tag: string])[] = [
      [`02${"0".repeat(62)}`, ff, `03${"0".repeat(30)}`],
      [`02${"0".repeat(30)}${ff}`, `02${"0".repeat(30)}`, `03${"0".repeat(30)}`],
      [`01${"0".repeat(62)}`, `${ff}f0${"f".repeat(30)}11${"0".repeat(30)}`, `05${"0".repeat(30)}`],
      [`01${"0".repeat(62)}`, `${ff}fb${"fe".repeat(15)}${"01".repeat(16)}`, "0".repeat(32)],
      [`02${"0".repeat(62)}`, `fd${"f".repeat(30)}`, `fa${"f".repeat(30)}`],
    ];
    for (const [key, data, tag] of cases) expect(toHex(poly1305(bytes(key), bytes(data)))).toBe(tag);
  });

  it("agrees with the definition for every length up to a few blocks, and for keys and data of all ones", () => {
    for (let length = 0; length < 80; length++) {
      const key = Buffer.from(hash("sha256", `key ${length}`, "hex"), "hex");
      for (const data of [ctr(length), new Uint8Array(length).fill(255)]) {
        expect(toHex(poly1305(key, data))).toBe(reference(key, data));
        expect(toHex(poly1305(new Uint8Array(32).fill(255), data))).toBe(reference(new Uint8Array(32).fill(255), data));
      }
    }
    // About where other code takes over for long messages, and where that has done its last group of blocks.
    for (let length = 496; length < 800; length += 7) expect(toHex(poly1305(sequence(1, 32), ctr(length)))).toBe(reference(sequence(1, 32), ctr(length)));
    for (const length of [512, 1024])
      expect(toHex(poly1305(sequence(1, 32), new Uint8Array(length).fill(255)))).toBe(reference(sequence(1, 32), new Uint8Array(length).fill(255)));
    const long = ctr(100_003);
    expect(toHex(poly1305(sequence(1, 32), long))).toBe(reference(sequence(1, 32), long));
    // A view that begins anywhere in its memory.
    expect(toHex(poly1305(sequence(1, 32), long.subarray(1)))).toBe(reference(sequence(1, 32), long.subarray(1)));
  });

  it("refuses a key of another length", () => {
    expect(() => poly1305(new Uint8Array(31), new Uint8Array(1))).toThrow("the key has 31 bytes, 32 are wanted");
  });
});
