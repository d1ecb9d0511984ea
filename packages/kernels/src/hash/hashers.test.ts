import { readFileSync } from "node:fs";
import { join } from "node:path";
import { toHex, utf8 } from "@drayage/base";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, sequence } from "../testing/index.ts";
import { createHasher, HASHES } from "./hashers.ts";

const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../test/fixtures/kopia-0.22.3/vectors.json"), "utf8")) as {
  readonly hashes: { readonly values: Readonly<Record<string, Readonly<Record<string, string>>>> };
};
const KEYS: Readonly<Record<string, Uint8Array>> = { k16: sequence(0, 16), k32: sequence(0, 32) };
const DATA: Readonly<Record<string, Uint8Array>> = { empty: new Uint8Array(), abc: utf8("abc"), ctr1000: ctr(1000) };

describe("content hashes", () => {
  it("exist for every name that the vectors know", () => {
    expect([...HASHES].sort()).toEqual(Object.keys(vectors.hashes.values).sort());
  });

  it("refuse a name that nobody knows", async () => {
    await expect(createHasher("MD5", sequence(0, 32))).rejects.toMatchObject({ code: "REPO_UNSUPPORTED" });
  });
});

describe.for(await kernelBuilds())("content hashes, $name build", ({ addon }) => {
  it("give Kopia's digests for both key lengths", async () => {
    for (const [name, byCase] of Object.entries(vectors.hashes.values)) {
      for (const [key, bytes] of Object.entries(KEYS)) {
        const hasher = await createHasher(name, bytes, addon);
        for (const [what, data] of Object.entries(DATA)) {
          expect(`${name} ${key}/${what} ${toHex(hasher.hash(data))}`).toBe(`${name} ${key}/${what} ${byCase[`${key}/${what}`]}`);
        }
      }
    }
  });

  it("give the same digest for a long input whichever build is chosen", async () => {
    const data = ctr(1_000_003);
    const blake2 = await createHasher("BLAKE2B-256", utf8("0123456789abcdef0123456789abcdef"), addon);
    const { xorshift } = await import("../testing/index.ts");
    expect(toHex(blake2.hash(xorshift(1_000_003)))).toBe("3bf8c917b6e0ceea98800921bf3cf0866508eb0c8708f8b4e809ffab2487516d");
    const blake3 = await createHasher("BLAKE3-256", utf8("0123456789abcdef0123456789abcdef"));
    expect(toHex(blake3.hash(xorshift(1_000_003)))).toBe("cb607381e14c5caaa1592b6be5fa290d08f45c6e5f158648f6ab8df866ab35e8");
    // Both sides of the length from which the native package takes over, against plain BLAKE3 in WASM.
    const { createBLAKE3 } = await import("hash-wasm");
    const plain = await createBLAKE3(256, utf8("0123456789abcdef0123456789abcdef"));
    for (const length of [0, 1, 12_287, 12_288, 12_289, 500_000]) {
      expect(toHex(blake3.hash(data.subarray(0, length)))).toBe(plain.init().update(data.subarray(0, length)).digest());
    }
  });

  it("return digests that later calls leave alone", async () => {
    for (const name of HASHES) {
      const hasher = await createHasher(name, sequence(0, 32), addon);
      const [first, second] = hasher.hashMany([utf8("a"), utf8("b")]);
      expect(toHex(first ?? new Uint8Array())).toBe(toHex(hasher.hash(utf8("a"))));
      expect(toHex(second ?? new Uint8Array())).toBe(toHex(hasher.hash(utf8("b"))));
      expect(first?.length).toBe(hasher.digestBytes);
    }
  });

  it("give each of many inputs the digest that it has alone, whatever their lengths and number", async () => {
    const data = ctr(3000);
    const plain = await createHasher("BLAKE2B-256", sequence(0, 64));
    const hasher = await createHasher("BLAKE2B-256", sequence(0, 64), addon);
    const length = fc.oneof(fc.integer({ min: 0, max: 3000 }), fc.constantFrom(0, 127, 128, 129, 256));
    fc.assert(
      fc.property(fc.array(length, { maxLength: 23 }), (lengths) => {
        const inputs = lengths.map((n, i) => data.subarray(i, Math.min(i + n, data.length)));
        expect(hasher.hashMany(inputs).map(toHex)).toEqual(inputs.map((input) => toHex(plain.hash(input))));
      }),
      { numRuns: 200 },
    );
  });

  it("give ranges of one buffer the digests that they have alone, in their order", async () => {
    const data = ctr(3000);
    for (const name of ["BLAKE2B-256", "BLAKE2B-256-128", "HMAC-SHA256-128"]) {
      const hasher = await createHasher(name, sequence(0, 32), addon);
      const starts = Uint32Array.of(0, 7, 2000, 3000, 100, 5);
      const lengths = Uint32Array.of(128, 2993, 1, 0, 1000, 300);
      const out = new Uint8Array(hasher.digestBytes * 5);
      hasher.hashRanges({ data, starts, lengths, count: 5 }, out);
      const alone = [0, 1, 2, 3, 4].map((i) => toHex(hasher.hash(data.slice(starts[i], (starts[i] ?? 0) + (lengths[i] ?? 0)))));
      expect(toHex(out)).toBe(alone.join(""));
    }
  });
});
