import { hkdfSync } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { concat, fromHex, type RandomSource, toHex, utf8 } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr, sequence } from "../testing/index.ts";
import { createEncryptor, ENCRYPTIONS, type EncryptionSources } from "./encryptors.ts";
import { sharedOpenSsl } from "./shared-aead.ts";

interface Vector {
  readonly algorithm: string;
  readonly masterKey: string;
  readonly iv: string;
  readonly nonce: string;
  readonly plaintext: string;
  readonly stored: string;
}
const vectors = JSON.parse(readFileSync(join(import.meta.dirname, "../../../../test/fixtures/kopia-0.22.3/vectors.json"), "utf8")) as {
  readonly contentEncryption: readonly Vector[];
};
const bytes = (hex: string): Uint8Array => fromHex(hex) ?? new Uint8Array();
const keyDerivationSecret = (masterKey: Uint8Array): Uint8Array => new Uint8Array(hkdfSync("sha256", masterKey, utf8("encryption"), "", 32));
const constant = (nonce: Uint8Array): RandomSource => ({
  bytes: (length) => Uint8Array.from({ length }, (_, i) => nonce[i % nonce.length] ?? 0),
  fraction: () => 0,
});

const ssl = sharedOpenSsl();
const sources: readonly { readonly name: string; readonly from: EncryptionSources }[] = [
  { name: "node:crypto", from: {} },
  { name: "shared OpenSSL", from: { ssl } },
  ...(await kernelBuilds()).filter(({ addon }) => addon !== undefined).map(({ name, addon }) => ({ name, from: { addon } })),
];

it("shares the OpenSSL of this Node", () => {
  expect(ssl).toBeDefined();
});

describe.for(sources)("content encryption, $name", ({ from }) => {
  it("seals and opens as Kopia does", () => {
    expect(vectors.contentEncryption.length).toBeGreaterThan(0);
    for (const vector of vectors.contentEncryption) {
      const encryptor = createEncryptor(vector.algorithm, keyDerivationSecret(bytes(vector.masterKey)), constant(bytes(vector.nonce)), from);
      // A vector's plaintext may be given in hex or described by the generator; what is stored says which.
      const plaintext = encryptor.open(bytes(vector.stored), bytes(vector.iv));
      const out = new Uint8Array(plaintext.length + encryptor.overheadBytes + 3).fill(0xee);
      expect(encryptor.seal(plaintext, bytes(vector.iv), out, 2)).toBe(plaintext.length + 28);
      expect(toHex(out.subarray(2, -1))).toBe(vector.stored);
      expect([out[0], out[1], out.at(-1)]).toEqual([0xee, 0xee, 0xee]);
      if (vector.plaintext === "" || /^[0-9a-f]+$/.test(vector.plaintext)) expect(toHex(plaintext)).toBe(vector.plaintext);
    }
  });

  for (const name of ENCRYPTIONS) {
    it(`${name}: rejects every flipped byte, every prefix and another iv`, () => {
      const encryptor = createEncryptor(name, sequence(0, 32), undefined, from);
      const iv = sequence(100, 16);
      const sealed = new Uint8Array(40 + encryptor.overheadBytes);
      encryptor.seal(ctr(40), iv, sealed, 0);
      expect(encryptor.open(sealed, iv)).toEqual(ctr(40));
      for (let at = 0; at < sealed.length; at++) {
        const damaged = sealed.slice();
        damaged[at] = (damaged[at] ?? 0) ^ 0x01;
        expect(() => encryptor.open(damaged, iv)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
        expect(() => encryptor.open(sealed.subarray(0, at), iv)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
      }
      expect(() => encryptor.open(sealed, sequence(99, 16))).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
    });
  }

  it("opens in pieces of any length what it opens whole, and nothing that was changed or cut off", () => {
    for (const name of ENCRYPTIONS) {
      const encryptor = createEncryptor(name, sequence(0, 32), undefined, from);
      const iv = sequence(100, 16);
      const inPieces = (sealed: Uint8Array, bytes: number): Uint8Array => {
        const opener = encryptor.opener(iv);
        const plain: Uint8Array[] = [];
        for (let at = 0; at < sealed.length; at += bytes) plain.push(opener.update(sealed.subarray(at, at + bytes)));
        opener.end();
        return concat(plain);
      };
      const sealed = new Uint8Array(70 + encryptor.overheadBytes);
      encryptor.seal(ctr(70), iv, sealed, 0);
      for (const bytes of [1, 5, 11, 12, 13, 16, 28, 29, 97, 98, 200]) expect(inPieces(sealed, bytes)).toEqual(ctr(70));
      for (let at = 0; at < sealed.length; at++) {
        const damaged = sealed.slice();
        damaged[at] = (damaged[at] ?? 0) ^ 0x40;
        expect(() => inPieces(damaged, 7)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
        expect(() => inPieces(sealed.subarray(0, at), 7)).toThrow(expect.objectContaining({ code: "REPO_CORRUPT" }));
      }
    }
  });

  it("never uses a nonce twice, across the filling of its pool", () => {
    const encryptor = createEncryptor("AES256-GCM-HMAC-SHA256", sequence(0, 32), undefined, from);
    const seen = new Set<string>();
    const out = new Uint8Array(28);
    for (let i = 0; i < 3000; i++) {
      encryptor.seal(new Uint8Array(), sequence(0, 16), out, 0);
      seen.add(toHex(out.subarray(0, 12)));
    }
    expect(seen.size).toBe(3000);
  });

  it("refuses a buffer that is too small and a name that nobody knows", () => {
    const encryptor = createEncryptor("AES256-GCM-HMAC-SHA256", sequence(0, 32), undefined, from);
    expect(() => encryptor.seal(new Uint8Array(5), sequence(0, 16), new Uint8Array(32), 0)).toThrow(expect.objectContaining({ code: "INVARIANT" }));
    expect(() => createEncryptor("ROT13", sequence(0, 32))).toThrow(expect.objectContaining({ code: "REPO_UNSUPPORTED" }));
  });

  it("gives the same bytes as node:crypto for any length", () => {
    for (const name of ENCRYPTIONS) {
      for (const length of [0, 1, 15, 16, 17, 4096, 98_304, 98_305, 1_000_003]) {
        const [ours, portable] = [from, {}].map((build) => {
          const out = new Uint8Array(length + 28);
          createEncryptor(name, sequence(0, 32), constant(sequence(7, 12)), build).seal(ctr(length), sequence(1, 16), out, 0);
          return out;
        });
        expect(Buffer.compare(ours ?? new Uint8Array(), portable ?? new Uint8Array(1))).toBe(0);
      }
    }
  });

  it("seals many ranges as it seals each, and more of them than nonces are drawn at once", () => {
    for (const name of ENCRYPTIONS) {
      const count = 1500;
      const ranges = {
        data: ctr(300),
        starts: Uint32Array.from({ length: count }, (_, i) => i % 200),
        lengths: Uint32Array.from({ length: count }, (_, i) => i % 100),
        count,
      };
      const ivs = ctr(16 * count);
      const encryptor = createEncryptor(name, sequence(0, 32), undefined, from);
      const out = new Uint8Array(ranges.lengths.reduce((sum, length) => sum + length + 28, 5));
      expect(encryptor.sealRanges(ranges, ivs, 16, out, 5)).toBe(-1);
      const nonces = new Set<string>();
      for (let i = 0, at = 5; i < count; i++) {
        const [start = 0, length = 0] = [ranges.starts[i], ranges.lengths[i]];
        const sealed = out.subarray(at, at + length + 28);
        at += length + 28;
        nonces.add(toHex(sealed.subarray(0, 12)));
        const plaintext = ranges.data.subarray(start, start + length);
        expect(Buffer.compare(encryptor.open(sealed, ivs.subarray(16 * i, 16 * i + 16)), plaintext)).toBe(0);
      }
      expect(nonces.size).toBe(count);
      // One byte too few, and nothing is written behind the end.
      const short = new Uint8Array(out.buffer, 0, out.length - 1);
      out[out.length - 1] = 0xee;
      expect(() => encryptor.sealRanges(ranges, ivs, 16, short, 5)).toThrow();
      expect(out.at(-1)).toBe(0xee);
    }
  });

  it("tells whether sealed bytes open to a plaintext", () => {
    for (const name of ENCRYPTIONS) {
      const encryptor = createEncryptor(name, sequence(0, 32), undefined, from);
      const iv = sequence(1, 16);
      for (const length of [0, 1, 15, 16, 127, 128, 129, 256, 24_576, 32_769, 100_000]) {
        const plaintext = ctr(length);
        const sealed = new Uint8Array(length + 28);
        encryptor.seal(plaintext, iv, sealed, 0);
        expect(encryptor.opensTo(sealed, iv, plaintext)).toBe(true);
        expect(encryptor.opensTo(sealed, sequence(2, 16), plaintext)).toBe(false);
        expect(encryptor.opensTo(sealed, iv, ctr(length + 1))).toBe(false);
        sealed[sealed.length - 1] = (sealed.at(-1) ?? 0) ^ 1;
        expect(encryptor.opensTo(sealed, iv, plaintext)).toBe(false);
      }
    }
  });

  it("takes no plaintext for another, and nothing that was changed for what was sealed, in any of its bytes", () => {
    for (const name of ENCRYPTIONS) {
      const encryptor = createEncryptor(name, sequence(0, 32), undefined, from);
      const iv = sequence(1, 5);
      const plaintext = ctr(300);
      const sealed = new Uint8Array(plaintext.length + 28);
      encryptor.seal(plaintext, iv, sealed, 0);
      expect(encryptor.opensTo(sealed, iv, plaintext)).toBe(true);
      const changed = (bytes: Uint8Array, at: number): Uint8Array => bytes.with(at, 0x10 ^ (bytes[at] ?? 0));
      expect(plaintext.findIndex((_, at) => encryptor.opensTo(sealed, iv, changed(plaintext, at)))).toBe(-1);
      expect(sealed.findIndex((_, at) => encryptor.opensTo(changed(sealed, at), iv, plaintext))).toBe(-1);
    }
  });
});
