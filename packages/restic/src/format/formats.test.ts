import { hash } from "node:crypto";
import { concat, fromUtf8, hasCode } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { createKernels } from "@drayage/kernels";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seal } from "../testing/seal.ts";
import { decodeConfig } from "./config-file.ts";
import { byteStringOf, unquoteGo } from "./go-quote.ts";
import { decodeIndexFile, type IndexedPack } from "./index-file.ts";
import { listElements } from "./json.ts";
import { decodeKeyFile } from "./key-file.ts";
import { decodeLock, isStaleLock } from "./lock-file.ts";
import { decodePackHeader, packHeaderRange } from "./pack-header.ts";
import { createOpener } from "./sealed.ts";
import { decodeSnapshot } from "./snapshot-file.ts";
import { parseTime } from "./time.ts";
import { decodeTree, type ResticNode } from "./tree.ts";
import { decodeUnpacked } from "./unpacked-file.ts";

const kernels = await createKernels();
/** Of each decoder, beside every prefix and changed byte; the gate that everybody waits for makes fewer. */
const MUTATIONS = process.env["CI"] === undefined ? 1000 : 20_000;
const bytes = (hex: string): Buffer => Buffer.from(hex, "hex");
const corrupt = expect.objectContaining({ code: "REPO_CORRUPT" });
const idOf = (text: string): string => hash("sha256", text, "hex");

describe("what is sealed", () => {
  // restic's own vector: internal/crypto.
  const key = concat([
    bytes("303e8687b1d7db18421bdc6bb8588ccadac4d59ee87b8ff70c44e635790cafef"),
    bytes("ef4d8824cb80b2bcc5fbff8a9b12a42c"),
    bytes("cc8d4b948ee0ebfe1d415de921d10353"),
  ]);
  const sealed = bytes("69fb41c62d12def4593bd71757138606338f621aeaeb39da0fe4f99233f8037a54ea63338a813bcf3f75d8c3cc75dddf8750");

  it("is opened with its key, and with no other", () => {
    expect(fromUtf8(createOpener(key, kernels).open(sealed) ?? new Uint8Array())).toBe("Dies ist ein Test!");
    const other = key.slice();
    other[40] = 0;
    expect(createOpener(other, kernels).open(sealed)).toBeUndefined();
    expect(() => createOpener(new Uint8Array(64), kernels)).toThrow(corrupt);
  });

  it("is opened into memory that is there, or that is too small, to the same bytes", () => {
    for (const length of [0, 5, 18, 1000]) {
      const opened = createOpener(key, kernels).open(sealed, new Uint8Array(length));
      expect(fromUtf8(opened ?? new Uint8Array())).toBe("Dies ist ein Test!");
    }
  });

  it("is refused with any byte changed behind the first block, and whatever is cut off", () => {
    const opener = createOpener(key, kernels);
    for (let at = 0; at < sealed.length; at++) {
      const damaged = Uint8Array.from(sealed);
      damaged[at] = (damaged[at] ?? 0) ^ 0x80;
      expect(opener.open(damaged)).toBeUndefined();
      if (at < 32) expect(() => opener.open(sealed.subarray(0, at))).toThrow(corrupt);
      else expect(opener.open(sealed.subarray(0, at))).toBeUndefined();
    }
    const iv = new Uint8Array(16);
    expect(opener.open(seal(Buffer.from("a counter of zero"), key, iv))).toBeUndefined();
    expect(opener.open(seal(new Uint8Array(0), key))).toHaveLength(0);
  });
});

describe("names in trees", () => {
  it("are what Go's quoting stands for, byte by byte", () => {
    const cases: readonly (readonly [string, string])[] = [
      ["plain", "plain"],
      ["ü 🚢", byteStringOf("ü 🚢")],
      ['\\a\\b\\f\\n\\r\\t\\v\\\\\\"', '\u0007\b\f\n\r\t\u000b\\"'],
      ["\\xff\\xe2\\x82", "\u00ff\u00e2\u0082"],
      ["\\377\\000", "\u00ff\u0000"],
      ["\\u00fc\\U0001f6a2", byteStringOf("ü🚢")],
    ];
    for (const [quoted, name] of cases) expect(unquoteGo(quoted, "tree")).toBe(name);
    for (const wrong of ["\\", "\\q", "\\x4", "\\ud800", "\\U00110000", "\\400", "a\\"]) expect(() => unquoteGo(wrong, "tree")).toThrow(corrupt);
  });

  it("cannot lead out of their directory", () => {
    for (const name of ["", ".", "..", "a/b", "a\\x00b", "\\x2e\\x2e", "\\057etc"])
      expect(() => [...decodeTree(Buffer.from(JSON.stringify({ nodes: [{ name, type: "file" }] })), "tree")]).toThrow(corrupt);
  });
});

describe("trees", () => {
  const nodesOf = (text: string): ResticNode[] => [...decodeTree(Buffer.from(text), "tree")];

  it("keep numbers beyond 2^53, times to the nanosecond and devices", () => {
    const [node] = nodesOf(
      `{"nodes":[{"name":"d","type":"chardev","mode":69206416,"mtime":"1969-12-31T23:59:59.999999999+02:00","inode":18446744073709551615,"device_id":9007199254740993,"links":2,"device":1152921504606846977,"later":[{"a":"]"}]}]}`,
    );
    expect(node).toMatchObject({ inode: 18446744073709551615n, deviceId: 9007199254740993n, mtimeNs: -7_200_000_000_001n, links: 2 });
    expect(node?.device).toEqual({ major: 0x10000000, minor: 1 });
  });

  it("are read whatever else is around and inside the nodes", () => {
    expect(nodesOf('{"nodes":null}\n')).toEqual([]);
    expect(nodesOf(' { "version" : {"nodes":[1]}, "nodes" : [ ] , "x": [1,2] } ')).toEqual([]);
    const [a, b] = nodesOf('{"x":["nodes"],"nodes":[{"name":"a","type":"file","content":null,"y":{"nodes":[3]}} , {"name":"b","type":"dir"}],"nodes2":[]}');
    expect([a?.name, b?.name, a?.contents.length, b?.subtree]).toEqual(["a", "b", 0, undefined]);
  });

  it("are the same when they are too long to be parsed as a whole", () => {
    const nodes = `{"nodes":[{"name":"a","type":"file","inode":18446744073709551615},{"name":"b","type":"dir"}],"later":1}`;
    const long = nodes.replace("}],", `}${" ".repeat(12 << 20)}],`);
    expect(nodesOf(long)).toEqual(nodesOf(nodes));
    expect(() => nodesOf(long.replace('"b"', '""'))).toThrow(corrupt);
    expect(() => nodesOf(long.slice(0, -1))).toThrow(corrupt);
  });

  it("name the entry that is wrong", () => {
    expect(() => nodesOf('{"nodes":[{"name":"a\\\\x41","type":"file","size":-1}]}')).toThrow('tree, entry "aA"');
  });

  it("take the raw target of a link before the other", () => {
    const [node] = nodesOf('{"nodes":[{"name":"l","type":"symlink","linktarget":"?","linktarget_raw":"L/8="}]}');
    expect(node?.target).toBe("/\u00ff");
  });

  it("are refused where they are none", () => {
    for (const text of [
      "",
      "[]",
      "{}",
      '{"nodes":1}',
      '{"nodes":[1]}',
      '{"nodes":[{}]}',
      '{"nodes":[{"name":"a","type":"what"}]}',
      '{"nodes":[{"name":"a","type":"file","size":-1}]}',
      '{"nodes":[{"name":"a","type":"file","size":1e300}]}',
      '{"nodes":[{"name":"a","type":"file","content":["ab"]}]}',
      '{"nodes":[{"name":"a","type":"file","mtime":"yesterday"}]}',
      '{"nodes":[{"name":"a","type":"file","inode":18446744073709551616}]}',
      '{"nodes":[{"name":"a","type":"file","extended_attributes":[{}]}]}',
      '{"nodes":[,]}',
      '{"nodes":[{"name":"a","type":"file"},]}',
      '{"nodes":[{"name":"a","type":"file"}{"name":"b","type":"file"}]}',
      '{"nodes":[{"name":"a","type":"file"}]',
      '{"nodes":[}]',
      '{"nodes":["',
    ])
      expect(() => nodesOf(text), text).toThrow(corrupt);
    expect(() => nodesOf(`{"a":${"[".repeat(50)}`)).toThrow(corrupt);
  });
});

describe("index files", () => {
  const [pack, content, other] = [idOf("pack"), idOf("content"), idOf("other")];
  const blob = { id: content, type: "data", offset: 0, length: 100, uncompressed_length: 300 };
  const decode = (value: unknown): { packs: IndexedPack[]; supersedes: string[] } => {
    const packs: IndexedPack[] = [];
    const decoded = decodeIndexFile(Buffer.from(typeof value === "string" ? value : JSON.stringify(value)), "index");
    let next = decoded.next();
    for (; next.done !== true; next = decoded.next()) packs.push(next.value);
    return { packs, supersedes: next.value };
  };

  it("say what is in which pack, and which files they replace; the oldest form as well", () => {
    const packs = [{ id: pack, blobs: [blob, { id: other, type: "tree", offset: 100, length: 50 }] }];
    const found = decode({ supersedes: [other], packs });
    expect(found.supersedes).toEqual([other]);
    expect(found.packs).toEqual([
      {
        id: pack,
        contents: [
          { kind: "data", id: bytes(content), offset: 0, length: 100, plainLength: 300 },
          { kind: "tree", id: bytes(other), offset: 100, length: 50, plainLength: 0 },
        ],
      },
    ]);
    expect(decode(packs)).toEqual({ packs: found.packs, supersedes: [] });
    expect(decode("")).toEqual({ packs: [], supersedes: [] });
  });

  it("are refused where a place cannot be one", () => {
    for (const wrong of [
      { offset: -1 },
      { offset: 2 ** 32 },
      { length: 31 },
      { length: 2 ** 33 },
      { uncompressed_length: 2 ** 32 },
      { type: "file" },
      { id: "x" },
    ])
      expect(() => decode({ packs: [{ id: pack, blobs: [{ ...blob, ...wrong }] }] }), JSON.stringify(wrong)).toThrow(corrupt);
    for (const wrong of [{}, { packs: {} }, { packs: [], supersedes: 1 }, { packs: [], supersedes: ["x"] }, { packs: [{ id: pack, blobs: 1 }] }])
      expect(() => decode(wrong), JSON.stringify(wrong)).toThrow(corrupt);
  });
});

describe("pack headers", () => {
  const entry = (type: number, length: number, plain?: number): Buffer => {
    const numbers = Buffer.alloc(plain === undefined ? 4 : 8);
    numbers.writeUInt32LE(length);
    if (plain !== undefined) numbers.writeUInt32LE(plain, 4);
    return Buffer.concat([Buffer.of(type), numbers, bytes(idOf(String(type)))]);
  };

  it("give every kind of content at the sum of the lengths before it", () => {
    const header = Buffer.concat([entry(0, 40), entry(1, 50), entry(2, 60, 600), entry(3, 70, 700)]);
    expect(decodePackHeader(header, 220, "pack").map(({ kind, offset, length, plainLength }) => [kind, offset, length, plainLength])).toEqual([
      ["data", 0, 40, 0],
      ["tree", 40, 50, 0],
      ["data", 90, 60, 600],
      ["tree", 150, 70, 700],
    ]);
    for (const at of [0, 219, 221]) expect(() => decodePackHeader(header, at, "pack")).toThrow(corrupt);
    for (let length = 1; length < header.length; length++) expect(() => decodePackHeader(header.subarray(0, length), 220, "pack")).toThrow(corrupt);
    expect(() => decodePackHeader(Buffer.concat([entry(4, 40)]), 40, "pack")).toThrow(corrupt);
    expect(() => decodePackHeader(Buffer.concat([entry(0, 31)]), 31, "pack")).toThrow(corrupt);
  });

  it("lie in front of the last four bytes, within the pack", () => {
    const trailer = (length: number): Buffer => {
      const buffer = Buffer.alloc(4);
      buffer.writeUInt32LE(length);
      return buffer;
    };
    expect(packHeaderRange(trailer(69), 1000, "pack")).toEqual({ offset: 927, length: 69 });
    for (const length of [0, 68, 997, 0xffffffff]) expect(() => packHeaderRange(trailer(length), 1000, "pack")).toThrow(corrupt);
    expect(() => packHeaderRange(Buffer.alloc(3), 1000, "pack")).toThrow(corrupt);
  });
});

describe("the other files", () => {
  it("are refused with fields that ask for more than restic ever does", () => {
    const key = { kdf: "scrypt", N: 32768, r: 8, p: 1, salt: "AAAA", data: "AAAA", username: "u", hostname: "h" };
    const decode = (change: object): unknown => decodeKeyFile(Buffer.from(JSON.stringify({ ...key, ...change })), "key");
    expect(decode({})).toMatchObject({ scrypt: { N: 32768, r: 8, p: 1 }, userName: "u" });
    for (const change of [
      { N: 2 ** 30 },
      { N: 3 },
      { N: 0 },
      { N: 1 },
      { r: 0 },
      { r: 1e9 },
      { p: 1e9 },
      { p: 0 },
      { kdf: "pbkdf2" },
      { salt: "" },
      { data: "?" },
    ])
      expect(() => decode(change), JSON.stringify(change)).toThrow(corrupt);
    for (const version of [0, 3, "2", null])
      expect(() => decodeConfig(Buffer.from(JSON.stringify({ version, id: idOf("") })), "config")).toThrow(
        expect.objectContaining({ code: "REPO_UNSUPPORTED" }),
      );
    expect(() => decodeConfig(Buffer.from('{"version":2,"id":"x"}'), "config")).toThrow(corrupt);
    for (const wrong of [Buffer.of(1, 2, 3), Buffer.of(2, 0, 0), Buffer.of(2)]) expect(() => decodeUnpacked(wrong, "index")).toThrow(corrupt);
  });

  it("tell a lock that lives from one that was left behind", () => {
    const lock = decodeLock(Buffer.from('{"time":"2026-01-01T00:00:00.5Z","exclusive":true,"hostname":"h","username":"u","pid":7}'), "id", "lock");
    expect(lock).toEqual({ id: "id", timeNs: 1_767_225_600_500_000_000n, exclusive: true, hostName: "h", userName: "u", pid: 7 });
    const atMs = Date.parse("2026-01-01T00:00:00.500Z");
    expect([isStaleLock(lock, atMs + 30 * 60_000), isStaleLock(lock, atMs + 30 * 60_000 + 1)]).toEqual([false, true]);
  });

  it("read times with any offset", () => {
    expect(parseTime("2023-11-14T22:13:20.000000001+05:30", "t", "w")).toBe(1_699_980_200_000_000_001n);
    expect(parseTime("0001-01-01T00:00:00Z", "t", "w")).toBe(-62_135_596_800_000_000_000n);
    for (const wrong of ["", "2023-11-14", "2023-13-14T22:13:20Z", "2023-11-00T22:13:20Z", "2023-11-14T22:13:20.Z", "2023-11-14T22:13:20.1234567890Z", 7, null])
      expect(() => parseTime(wrong, "t", "w")).toThrow(corrupt);
  });

  it("read every time as the language does, to the nanosecond beyond it", () => {
    const two = (number: number): string => String(number).padStart(2, "0");
    const part = (max: number): fc.Arbitrary<number> => fc.integer({ min: 0, max });
    fc.assert(
      fc.property(
        fc.date({ min: new Date("0002-01-01"), max: new Date("9998-12-31"), noInvalidDate: true }),
        part(999_999_999),
        part(1439),
        (date, ns, minutes) => {
          const text = date.toISOString().slice(0, 19);
          for (const zone of ["Z", `+${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`, `-${two(Math.floor(minutes / 60))}:${two(minutes % 60)}`]) {
            const fraction = ns === 0 ? "" : `.${String(ns).padStart(9, "0").replace(/0+$/, "")}`;
            expect(parseTime(text + fraction + zone, "t", "w")).toBe(BigInt(Date.parse(text + zone)) * 1_000_000n + BigInt(ns));
          }
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe("every decoder", () => {
  const samples: readonly (readonly [name: string, sample: string, decode: (data: Uint8Array) => unknown])[] = [
    [
      "tree",
      `{"nodes":[{"name":"a\\\\xff","type":"file","mode":420,"size":3,"content":["${idOf("a")}"],"mtime":"2023-01-01T00:00:00Z"}]}\n`,
      (data) => [...decodeTree(data, "tree")],
    ],
    [
      "index",
      `{"packs":[{"id":"${idOf("p")}","blobs":[{"id":"${idOf("b")}","type":"data","offset":0,"length":99}]}]}`,
      (data) => [...decodeIndexFile(data, "index")],
    ],
    [
      "snapshot",
      `{"time":"2023-01-01T00:00:00Z","tree":"${idOf("t")}","paths":["/data"],"hostname":"volsync","summary":{"total_files_processed":1}}`,
      (data) => decodeSnapshot(data, "id", "snapshot"),
    ],
    ["lock", '{"time":"2023-01-01T00:00:00Z","exclusive":false,"hostname":"h","pid":1}', (data) => decodeLock(data, "id", "lock")],
    ["key", '{"kdf":"scrypt","N":32768,"r":8,"p":1,"salt":"AAAA","data":"AAAA"}', (data) => decodeKeyFile(data, "key")],
    ["config", `{"version":2,"id":"${idOf("c")}","chunker_polynomial":"25b468838dcb75"}`, (data) => decodeConfig(data, "config")],
    ["unpacked", `\u0002${"x".repeat(20)}`, (data) => decodeUnpacked(data, "index")],
  ];

  it.each(samples)("%s: answers every prefix, every changed byte and random bytes with a value or a typed error", (_name, sample, decode) => {
    const whole = Buffer.from(sample, "latin1");
    const attempt = (data: Uint8Array): void => {
      try {
        decode(data);
      } catch (error) {
        if (!hasCode(error, "REPO_CORRUPT", "REPO_UNSUPPORTED")) throw error;
      }
    };
    const random = seededRandom(20_261_128);
    const below = (count: number): number => Math.floor(random.fraction() * count);
    for (let run = 0; run < MUTATIONS; run++) {
      let damaged = Buffer.from(whole);
      for (let edits = below(4); edits >= 0; edits--) {
        const at = below(damaged.length);
        damaged = Buffer.concat([damaged.subarray(0, at), random.bytes(below(3)), damaged.subarray(at + below(3))]);
      }
      attempt(damaged);
    }
    for (let at = 0; at < whole.length; at++) {
      attempt(whole.subarray(0, at));
      for (const bit of [1, 2, 0x20, 0x80]) {
        const damaged = Buffer.from(whole);
        damaged[at] = (damaged[at] ?? 0) ^ bit;
        attempt(damaged);
      }
    }
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), attempt), { numRuns: 2000 });
    fc.assert(
      fc.property(fc.json(), (text) => attempt(Buffer.from(text))),
      { numRuns: 1000 },
    );
  });

  it("splits a list as JSON.parse would, whatever is in it", () => {
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.jsonValue()), fc.array(fc.jsonValue()), (members, list) => {
        const text = JSON.stringify({ ...members, nodes: list }, null, list.length % 3);
        const elements = [...listElements(Buffer.from(text), "nodes", "test")].map((element) => JSON.parse(element) as unknown);
        expect(elements).toEqual(JSON.parse(JSON.stringify(list)));
      }),
      { numRuns: 2000 },
    );
  });
});
