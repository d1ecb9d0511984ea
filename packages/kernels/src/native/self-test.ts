/** Golden vectors that an addon must give before this program trusts it with data: a wrong digest or cut would make a repository that others cannot continue. */
import { concat, fromHex, fromUtf8, toHex, utf8 } from "@drayage/base";
import { BUZHASH_TABLE } from "../splitter/buzhash-table.ts";
import type { NativeAddon, NativeAead, NativeLoops } from "./addon.ts";

const KEY: Uint8Array = Uint8Array.from({ length: 32 }, (_, i) => i);
const NONCE: Uint8Array = KEY.subarray(0, 12);
const IV: Uint8Array = Uint8Array.from({ length: 16 }, (_, i) => 0x80 + i);

/** Long enough for the two segments of the vector scan, twice, and a rest. */
const DATA_BYTES = 6000;
const MASK = 0x3ff;
/** Around the ends of blocks, and more of them than there are lanes. */
const LENGTHS = [0, 1, 127, 128, 129, 256, 3, 5999, 1000] as const;

/** Expected values; made by the portable build, which agrees with the vectors of Kopia, and compared with it in a test. */
export const EXPECTED = {
  cuts: "547 618 2032 4570 4890 5054 -1",
  /** One digest over those of SHA-256, which node:crypto gives as well. */
  shaDigests: "4eaf7084a1cc971613eb5eeabe2841138731ce6bb24ee0372ce12c43fc5968a7",
  digests: "4ed17542d9a33ecd25cc27053adc4c7184b6893ab2c35060639756199a80ac72",
  sealed: [
    "000102030405060708090a0b9dfeb799d6e7744bbbdcd7023a921e558b35349e64bf2f4a2f9580fb71ac15d9c47807202bb30e5b98f774a7f39c6179ba02cb1662313601",
    "000102030405060708090a0b2d85fa50e3d44340b332c3ecc53cd06c03bd4528e3661c7e4d36fa4febbf4c47b91da0b57f6883924fa319a6a96a5602daefc50b67e52557",
  ],
  /** NIST SP 800-38A, F.5.5, and its second block. */
  counted: "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c5",
  /** A content of restic's own test of its cryptography: key, what is stored, and the SHA-256 of what it opens to. */
  opened: {
    key: "303e8687b1d7db18421bdc6bb8588ccadac4d59ee87b8ff70c44e635790cafefef4d8824cb80b2bcc5fbff8a9b12a42ccc8d4b948ee0ebfe1d415de921d10353",
    sealed: "69fb41c62d12def4593bd71757138606338f621aeaeb39da0fe4f99233f8037a54ea63338a813bcf3f75d8c3cc75dddf8750",
    plain: "Dies ist ein Test!",
  },
  tags: "ca0423ea2b714d64cf7dbfcc87ca2d9d356d4230b55d867de2978a0b20976d6e",
} as const;

/** What differs from the expected values, in words; undefined when the addon can be trusted. */
export function selfTest(addon: NativeAddon): string | undefined {
  try {
    for (const [name, loops] of [
      ["vector code", addon],
      ["plain code", addon.plain],
    ] as const) {
      if (cutsOf(loops) !== EXPECTED.cuts) return `cut points of the ${name} are wrong`;
      if (digestsOf(loops) !== EXPECTED.digests) return `digests of the ${name} are wrong`;
      if (shaDigestsOf(loops) !== EXPECTED.shaDigests) return `SHA-256 of the ${name} is wrong`;
    }
    if (addon.hasAead) {
      for (const algorithm of [0, 1] as const) {
        if (sealedBy(addon, algorithm) !== EXPECTED.sealed[algorithm]) return `encryption ${algorithm} is wrong`;
      }
    }
    if (addon.hasAead && countedBy(addon) !== EXPECTED.counted) return "AES-256 in counter mode is wrong";
    if (addon.hasZstd && !expands(addon)) return "zstd is wrong";
    if (addon.poly1305 !== undefined && tagsOf(addon.poly1305) !== EXPECTED.tags) return "Poly1305 is wrong";
    if (addon.openSealed !== undefined && !opens(addon, addon.openSealed)) return "opening restic's contents is wrong";
    return undefined;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

/** The bytes of a linear congruential generator: any data with cuts in it would do. */
export function selfTestData(): Uint8Array {
  if (data !== undefined) return data;
  data = new Uint8Array(DATA_BYTES);
  for (let i = 0, x = 1; i < data.length; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    data[i] = x >>> 24;
  }
  return data;
}

/** Made once: the test is part of the start of every command, and of every thread. */
let data: Uint8Array | undefined;

function cutsOf(loops: NativeLoops): string {
  const data = selfTestData();
  const cuts: number[] = [];
  for (let at = 0; at !== -1; ) {
    const window = at < 64 ? new Uint8Array(64) : data.subarray(at - 64, at);
    at = loops.buzhashScan(BUZHASH_TABLE, window, data, at, data.length, MASK);
    cuts.push(at);
  }
  return cuts.join(" ");
}

/** One digest over the digests of several lengths, made side by side; the digests must be those that single calls give. */
function digestsOf(loops: NativeLoops): string {
  const data = selfTestData();
  const inputs = LENGTHS.map((length) => data.subarray(0, length));
  const together = new Uint8Array(32 * inputs.length);
  loops.blake2bMany(KEY, inputs, together);
  const single = new Uint8Array(32);
  for (const [i, input] of inputs.entries()) {
    loops.blake2b(KEY, input, single);
    if (toHex(single) !== toHex(together.subarray(32 * i, 32 * i + 32))) return "single and joint digests differ";
  }
  const ranges = new Uint8Array(together.length);
  loops.blake2bRanges(KEY, data, new Uint32Array(LENGTHS.length), Uint32Array.from(LENGTHS), LENGTHS.length, ranges, 32);
  if (toHex(ranges) !== toHex(together)) return "digests of ranges differ";
  loops.blake2b(KEY, together, single);
  return toHex(single);
}

function shaDigestsOf(loops: NativeLoops): string {
  const digests = new Uint8Array(32 * LENGTHS.length);
  loops.sha256Ranges(selfTestData(), new Uint32Array(LENGTHS.length), Uint32Array.from(LENGTHS), LENGTHS.length, digests);
  const all = new Uint8Array(32);
  loops.sha256Ranges(digests, new Uint32Array(1), Uint32Array.of(digests.length), 1, all);
  return toHex(all);
}

/** Three contents come out, and one that is misnamed is marked. */
function opens({ sha256Ranges }: NativeAddon, openSealed: NonNullable<NativeAddon["openSealed"]>): boolean {
  const { key, sealed, plain } = EXPECTED.opened;
  const [stored, wanted] = [fromHex(sealed) ?? new Uint8Array(), utf8(plain)];
  const ids = new Uint8Array(4 * 32);
  for (let i = 0; i < 3; i++) sha256Ranges(wanted, new Uint32Array(1), Uint32Array.of(wanted.length), 1, ids.subarray(32 * i));
  const rows = Float64Array.from({ length: 4 * 5 }, (_, i) => [0, stored.length, Math.floor(i / 5) * wanted.length, wanted.length, 0][i % 5] ?? 0);
  const [out, done] = [new Uint8Array(4 * wanted.length), new Uint8Array(4)];
  openSealed(fromHex(key) ?? new Uint8Array(), stored, rows, 4, ids, out, done);
  return toHex(done) === "01010100" && fromUtf8(out) === plain.repeat(4);
}

/** The tags of several lengths, each the key of the next one. */
function tagsOf(poly1305: NonNullable<NativeAddon["poly1305"]>): string {
  const data = selfTestData();
  const key = KEY.slice();
  for (const length of LENGTHS) poly1305(key, data.subarray(0, length), key.subarray(length % 2 === 0 ? 0 : 16));
  return toHex(key);
}

function countedBy({ aes256Ctr }: NativeAddon): string {
  const hex = (text: string): Uint8Array => fromHex(text) ?? new Uint8Array();
  const out = new Uint8Array(32);
  aes256Ctr(
    hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"),
    hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff"),
    hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51"),
    out,
  );
  return toHex(out);
}

/** Two frames in a row come back, and neither damage nor a lack of room is taken for success. */
function expands(addon: NativeAddon): boolean {
  const data = selfTestData().map((byte) => byte & 3);
  const frames = new Uint8Array(2 * data.length);
  const half = addon.zstdCompress(data, 1, frames, 0);
  const length = half + addon.zstdCompress(data, 1, frames, half);
  const out = new Uint8Array(2 * data.length);
  const whole = addon.zstdExpand(frames.subarray(0, length), out) === out.length && toHex(out) === toHex(concat([data, data]));
  return whole && addon.zstdExpand(frames.subarray(0, length - 1), out) === -1 && addon.zstdExpand(frames.subarray(0, length), out.subarray(1)) === -1;
}

function sealedBy(addon: NativeAddon, algorithm: 0 | 1): string {
  const plaintext = selfTestData().subarray(0, 40);
  const aead = addon.aeadBind(algorithm, KEY);
  const sealed = new Uint8Array(plaintext.length + 28);
  addon.aeadSeal(aead, NONCE, IV, plaintext, sealed, 0);
  const opened = new Uint8Array(plaintext.length);
  if (!addon.aeadOpen(aead, sealed, IV, opened) || toHex(opened) !== toHex(plaintext)) return "does not open";
  const many = new Uint8Array(2 * sealed.length);
  const [ivs, nonces] = [concat([IV, IV]), concat([NONCE, NONCE])];
  const bad = addon.aeadSealRanges(aead, nonces, ivs, IV.length, plaintext, new Uint32Array(2), Uint32Array.of(40, 40), 2, many, 0);
  if (bad !== -1 || toHex(many) !== toHex(sealed).repeat(2) || !addon.aeadOpensTo(aead, sealed, IV, plaintext)) return "differs for many";
  if (addon.aeadOpensTo(aead, sealed, IV, selfTestData().subarray(1, 41))) return "takes one plaintext for another";
  if (!readsBack(addon, aead)) return "reads back something else";
  const damaged = sealed.slice();
  damaged[20] = (damaged[20] ?? 0) ^ 1;
  return addon.aeadOpen(aead, damaged, IV, opened) ? "accepts damaged data" : toHex(sealed);
}

/** What has whole groups of blocks and a rest, which vector code reads back: as it is, and no part of it changed. */
function readsBack(addon: NativeAddon, aead: NativeAead): boolean {
  const plaintext = selfTestData().subarray(0, 300);
  const sealed = new Uint8Array(plaintext.length + 28);
  addon.aeadSeal(aead, NONCE, IV, plaintext, sealed, 0);
  const changed = [12, 200, 311, 312].map((at) => sealed.with(at, 0x55 ^ (sealed[at] ?? 0)));
  return addon.aeadOpensTo(aead, sealed, IV, plaintext) && changed.every((other) => !addon.aeadOpensTo(aead, other, IV, plaintext));
}
