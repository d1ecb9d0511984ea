import { scryptSync } from "node:crypto";
import { toHex, utf8 } from "@drayage/base";
import { describe, expect, it } from "vitest";
import { kernelBuilds } from "../testing/builds.ts";
import { scryptKey } from "./scrypt.ts";

const builds = (await kernelBuilds()).filter(({ name }) => !name.includes("without"));

describe.each(builds)("scrypt, $name build", ({ addon }) => {
  // RFC 7914, section 12.
  it.each([
    [
      "",
      "",
      { N: 16, r: 1, p: 1 },
      "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906",
    ],
    [
      "password",
      "NaCl",
      { N: 1024, r: 8, p: 16 },
      "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640",
    ],
    [
      "pleaseletmein",
      "SodiumChloride",
      { N: 16384, r: 8, p: 1 },
      "7023bdcb3afd7348461c06cd81fd38ebfda8fbba904f8e3ea9b543f6545da1f2d5432955613f0fcf62d49705242a9af9e61e85dc0d651e40dfcf017b45575887",
    ],
  ])("stretches %j with %j as the standard has it", async (password, salt, parameters, expected) => {
    expect(toHex(await scryptKey(utf8(password), utf8(salt), parameters, 64, addon?.scryptMix))).toBe(expected);
  });

  it("gives what Node gives for blocks of every size", async () => {
    for (const parameters of [
      { N: 2, r: 1, p: 1 },
      { N: 4, r: 3, p: 2 },
      { N: 256, r: 5, p: 3 },
      { N: 4096, r: 8, p: 1 },
    ]) {
      const key = await scryptKey(utf8("a password"), utf8("and its salt"), parameters, 32, addon?.scryptMix);
      expect([parameters, toHex(key)]).toEqual([parameters, scryptSync("a password", "and its salt", 32, parameters).toString("hex")]);
    }
  });
});

describe("the addon's part of scrypt", () => {
  it("refuses blocks and numbers that do not fit", () => {
    for (const { addon } of builds) {
      for (const [bytes, N, r] of [
        [128, 3, 1],
        [127, 4, 1],
        [0, 4, 1],
        [128, 1, 1],
        [128, 4, 0],
        [128, 2 ** 30, 1],
      ] as const) {
        if (addon?.scryptMix === undefined) continue;
        const { scryptMix } = addon;
        expect(() => scryptMix(new Uint8Array(bytes), N, r)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ARG_VALUE" }));
      }
    }
  });
});
