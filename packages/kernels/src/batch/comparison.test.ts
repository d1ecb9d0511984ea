import {
  chmodSync,
  closeSync,
  fstatSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toHex } from "@drayage/base";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compressorByName } from "../compression/compressors.ts";
import { createHasher } from "../hash/hashers.ts";
import { systemCalls } from "../system/system-calls.ts";
import { kernelBuilds } from "../testing/builds.ts";
import { ctr } from "../testing/index.ts";
import {
  ATTRIBUTES,
  type BatchFiles,
  COMPARED_SLOTS,
  COMPARED_STATE,
  type ComparedDirectory,
  type ComparisonQueue,
  comparedMemory,
  type DirectoryCall,
  type DirectoryNames,
  type DirectoryScan,
  FOUND,
  ROW,
  ROW_SLOTS,
  RUN_SLOTS,
} from "./batch-files.ts";
import { nativeFiles } from "./native-files.ts";
import { portableFiles } from "./portable-files.ts";

const KEY_BYTES = 17;

interface Rewritten {
  readonly text: string;
  readonly contents: readonly string[];
  readonly isCompressed: boolean;
  /** Files, their bytes, and the newest time of a change. */
  readonly summary: readonly (number | undefined)[];
}

const HEAD = '{"stream":"kopia:directory","entries":[';
const builds = (await kernelBuilds())
  .filter(({ name }) => !name.includes("without"))
  .map(({ name, addon }) => ({ name, isNative: addon !== undefined, files: addon === undefined ? portableFiles(systemCalls) : nativeFiles(addon) }));

/** A file as a directory has it, and its entry in a listing. */
interface File {
  readonly name: string;
  readonly size: number;
  readonly seconds: number;
  readonly nanoseconds: number;
  readonly mtime: string;
}

const idOf = (i: number): string => Buffer.from(ctr(KEY_BYTES - 1, Uint8Array.of(i))).toString("hex");
const entryOf = ({ name, size, mtime }: File, id: string): string =>
  `{"name":"${name}","type":"f","mode":"0644",${size === 0 ? "" : `"size":${size},`}"mtime":"${mtime}","uid":7,"obj":"${id}"}`;

const files: readonly File[] = [
  { name: "a", size: 0, seconds: 1_700_000_000, nanoseconds: 0, mtime: "2023-11-14T22:13:20Z" },
  { name: "b c", size: 12, seconds: -1, nanoseconds: 500_000_000, mtime: "1969-12-31T23:59:59.5Z" },
  { name: "d", size: 9_007_199_254_740_991, seconds: 951_782_400, nanoseconds: 120, mtime: "2000-02-29T00:00:00.00000012Z" },
  { name: "é", size: 3, seconds: 1_700_000_001, nanoseconds: 1, mtime: "2023-11-14T22:13:21.000000001Z" },
  { name: "日本語", size: 4, seconds: 86_399, nanoseconds: 999_999_999, mtime: "1970-01-01T23:59:59.999999999Z" },
  { name: "😀", size: 5, seconds: 4_102_444_800, nanoseconds: 0, mtime: "2100-01-01T00:00:00Z" },
];

function namesOf(list: readonly string[]): DirectoryNames {
  const texts = list.map((name) => Buffer.from(name, "utf8"));
  let end = 0;
  return { names: Buffer.concat(texts), ends: Uint32Array.from(texts, ({ length }) => (end += length)), directories: 0 };
}

function rowsOf(list: readonly File[], into: Float64Array): void {
  for (const [i, { size, seconds, nanoseconds }] of list.entries()) {
    const facts = { status: 0, mode: 0o100644, size, seconds, nanoseconds, uid: 7, gid: 0, links: 1, blocks: 2 ** 50, attributes: ATTRIBUTES.none };
    for (const [name, value] of Object.entries(facts)) into[i * ROW_SLOTS + ROW[name as keyof typeof facts]] = value;
  }
}

/** Everything that a comparison says, but memory that it says nothing of. */
function said({ found, entries, runs, keys }: ComparedDirectory): unknown {
  const [done = 0, at, same = 0, runCount = 0, ended] = found;
  return {
    ...{ done, at, same, ended },
    entries: Array.from({ length: done }, (_, i) => [...entries.subarray(i * COMPARED_SLOTS, (i + 1) * COMPARED_SLOTS)]),
    runs: Array.from({ length: runCount }, (_, i) => [...runs.subarray(i * RUN_SLOTS, (i + 1) * RUN_SLOTS)]),
    keys: Buffer.from(keys.subarray(0, same * KEY_BYTES)).toString("hex"),
  };
}

function compare(
  build: BatchFiles,
  parent: string | Uint8Array,
  list: readonly File[] = files,
  change: (rows: Float64Array) => void = () => undefined,
): ComparedDirectory {
  const into = comparedMemory(list.length, KEY_BYTES);
  rowsOf(list, into.rows);
  change(into.rows);
  const bytes = Buffer.concat([Buffer.from("<<"), Buffer.from(parent as string)]);
  build.compareEntries(namesOf(list.map(({ name }) => name)), { from: 0, to: list.length }, { bytes, at: 2 }, KEY_BYTES, into);
  return into;
}

const statesOf = ({ found, entries }: ComparedDirectory): string =>
  Array.from({ length: found[FOUND.done] ?? 0 }, (_, i) => Object.keys(COMPARED_STATE)[entries[i * COMPARED_SLOTS] ?? 0]?.[0]).join("");

describe.for(builds)("entries beside a parent's listing, $name build", ({ files: build }) => {
  const [reference] = builds;
  const all = files.map((file, i) => entryOf(file, idOf(i)));
  const listing = `${all.join(",")}],"summary":{}}`;

  it("are the same in every byte, names beyond ASCII too, in one run with what they add up to", () => {
    const compared = compare(build, listing);
    expect(statesOf(compared)).toBe("ssssss");
    const end = 2 + Buffer.byteLength(all.join(","));
    const bytes = files.reduce((sum, { size }) => sum + size, 0);
    expect(said(compared)).toMatchObject({
      at: end,
      ended: 1,
      runs: [[0, 6, 2, end, bytes, 4_102_444_800, 0]],
      keys: files.map((_, i) => `00${idOf(i)}`).join(""),
    });
  });

  it("are others or absent where a parent has them otherwise or not, and what it has besides is passed", () => {
    const changed = all.with(1, all[1]?.replace('"size":12', '"size":13') ?? "").toSpliced(4, 1);
    const more = ['{"name":"z","type":"d","obj":"k00","summ":{"files":1}}', '{"name":"0","type":"f","obj":"00"}', ...changed];
    const compared = compare(build, `${more.toSpliced(5, 0, '{"name":"dd","type":"s","obj":"11"}').join(",")}]`);
    expect(statesOf(compared)).toBe("sossas");
    expect(said(compared)).toMatchObject({
      same: 4,
      runs: [
        [0, 1],
        [2, 3],
        [3, 4],
        [5, 6],
      ].map((run) => expect.objectContaining(run)),
    });
    // Ids of other kinds, and entries with more in them, are for code that decodes.
    for (const [id, rest] of [
      [idOf(2).toUpperCase(), "}"],
      [`I${idOf(2)}`, "}"],
      [idOf(2).slice(2), "}"],
      [idOf(2), ',"drayage":{"xattrs":[{"name":"}\\"{"}]}}'],
    ]) {
      const other = all.with(2, all[2]?.replace(`${idOf(2)}"}`, `${id}"${rest}`) ?? "");
      expect(statesOf(compare(build, `${other.join(",")}]`))).toBe("ssosss");
    }
  });

  it("are others when there is more to them than facts, whatever the parent says", () => {
    for (const change of [
      { status: 2 },
      { mode: 0o120777 },
      { links: 2 },
      { attributes: ATTRIBUTES.some },
      { attributes: ATTRIBUTES.unknown },
      { blocks: 0 },
      { size: 11 },
      { seconds: 2 ** 40 },
      { nanoseconds: -1 },
      { uid: -1 },
      { gid: 2 ** 40 },
    ]) {
      const compared = compare(build, listing, files, (rows) => {
        for (const [name, value] of Object.entries(change)) rows[ROW_SLOTS + ROW[name as "mode"]] = value;
      });
      expect([change, statesOf(compared)]).toEqual([change, "sossss"]);
    }
  });

  it("are told as far as the parent is there in the usual form, and no further", () => {
    const bytes = Buffer.from(listing);
    for (let length = 0; length < bytes.length - 14; length++) {
      const compared = compare(build, bytes.subarray(0, length));
      const whole = all.filter((_, i) => Buffer.byteLength(all.slice(0, i + 1).join(",")) < length).length;
      expect([length, statesOf(compared)]).toEqual([length, "s".repeat(whole)]);
    }
    const unusual: [string, string][] = [
      [all.with(2, '{"name":"\\u0063","type":"f","obj":"00"}').join(","), "ss"],
      [all.with(2, '{"name":"\ufffd","type":"f","obj":"00"}').join(","), "ss"],
      [all.with(2, '{"type":"f","name":"c","obj":"00"}').join(","), "ss"],
      [all.with(2, '{ "name":"c","type":"f","obj":"00"}').join(","), "ss"],
      [all.with(2, '{"name":"c","type":"x","obj":"00"}').join(","), "ss"],
      [all.with(2, '{"name":"c","type":"file","obj":"00"}').join(","), "ss"],
      [all.with(2, "null").join(","), "ss"],
      [`${all.slice(0, 2).join(",")};${all.slice(2).join(",")}`, "s"],
      [`${all.slice(0, 2).join(",")},`, "ss"],
    ];
    for (const [parent, states] of unusual) expect([parent, statesOf(compare(build, `${parent}]`))]).toEqual([parent, states]);
    // A name that holds the mark for bytes that are not known: a parent's may stand for another one.
    const marked = { ...(files[2] as File), name: "d\ufffd" };
    expect(statesOf(compare(build, `${[...all.slice(0, 3), entryOf(marked, idOf(7)), ...all.slice(3)].join(",")}]`, files.toSpliced(3, 0, marked)))).toBe(
      "sss",
    );
    // Twice the same name: the first one counts, as it does for whoever decodes.
    expect(statesOf(compare(build, `${[all[0]?.replace("0644", "0600"), ...all].join(",")}]`))).toBe("osssss");
  });

  it("give the same answers in every build, whatever is done to the parent", () => {
    const bytes = Buffer.from(listing);
    const noise = ctr(4000, Uint8Array.of(9));
    const signs = Buffer.from('"\\{}[],:\0\xff\xef\xbf\xbda0', "latin1");
    for (let round = 0; round < 1000; round++) {
      const parent = Buffer.from(bytes);
      for (let i = 0; i < 1 + (round % 3); i++) {
        const at = ((noise[round * 4 + i] ?? 0) * 256 + (noise[(round * 4 + i + 1) % 4000] ?? 0)) % parent.length;
        parent[at] = signs[(noise[(round * 4 + 3) % 4000] ?? 0) % signs.length] ?? 0;
      }
      expect([round, said(compare(build, parent))]).toEqual([round, said(compare(reference?.files ?? build, parent))]);
    }
  });
});

describe.for(builds)("a directory beside its parent's listing, $name build", ({ files: build, isNative }) => {
  let root: string;
  let fd: number;

  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), "compared-"));
    fd = openSync(root, "r");
    mkdirSync(join(root, "d"));
    for (const [i, name] of ["a", "b", "c"].entries()) {
      writeFileSync(join(root, "d", name), ctr(i));
      chmodSync(join(root, "d", name), 0o640);
      systemCalls.setTimes(join(root, "d", name), 0n, BigInt(i) * 1_000_000_001n);
    }
  });
  afterEach(() => {
    closeSync(fd);
    rmSync(root, { recursive: true, force: true });
  });

  /** What would be stored of it. */
  function listing(): string {
    const { uid, gid } = fstatSync(fd);
    const owner = `${uid === 0 ? "" : `"uid":${uid},`}${gid === 0 ? "" : `"gid":${gid},`}`;
    const times = ["", '"mtime":"1970-01-01T00:00:01.000000001Z",', '"mtime":"1970-01-01T00:00:02.000000002Z",'];
    const entries = times.map((time, i) => `{"name":"${"abc"[i]}","type":"f","mode":"0640",${i === 0 ? "" : `"size":${i},`}${time}${owner}"obj":"${idOf(i)}"}`);
    return `${HEAD}${entries.join(",")}],"summary":{"size":3,"files":3,"symlinks":0,"dirs":1,"maxTime":"1970-01-01T00:00:02.000000002Z","numFailed":0}}\n`;
  }

  /** What is told, or "nothing", with the descriptor closed. */
  function told(parent: string, { name = "d", avoid = ".ignore/", count = 10 } = {}): string {
    const into = comparedMemory(count, KEY_BYTES);
    const call = [fd, Buffer.from(name), { attributes: true, avoid: Buffer.from(avoid) }, Buffer.from(parent), KEY_BYTES] as const;
    const known = build.compareDirectory(...call, into);
    const own = into.found[FOUND.fd] ?? 0;
    expect(own >= 0).toBe(known && into.found[FOUND.whole] === 0);
    if (own >= 0) {
      expect(fstatSync(own).isDirectory()).toBe(true);
      closeSync(own);
    }
    return !known ? "nothing" : into.found[FOUND.whole] === 1 ? "whole" : statesOf(into);
  }

  it("is whole when its parent's listing is what would be written of it, and in no other case", () => {
    expect(told(listing())).toBe("whole");
    expect(told(listing().replace('"dirs":1', '"dirs":2'))).toBe("sss");
    expect(told(listing().replace("}}\n", '},"drayage":{"version":1}}\n'))).toBe("sss");
    expect(told(`${listing()} `)).toBe("sss");
    expect(told(listing().replace("[{", '[{"name":"0","type":"f","obj":"00"},{'))).toBe("sss");
    expect(told(listing().replace('],"s', ',{"name":"d","type":"f","obj":"00"}],"s'))).toBe("sss");
    writeFileSync(join(root, "d", "b"), "changed");
    expect(told(listing())).toBe("sos");
    unlinkSync(join(root, "d", "b"));
    expect(told(listing())).toBe("ss");
    writeFileSync(join(root, "d", "bb"), "new");
    linkSync(join(root, "d", "c"), join(root, "d", "cc"));
    symlinkSync("c", join(root, "d", "link"));
    expect(told(listing())).toBe("saoaa");
  });

  it("is not whole with an attribute of its own or of a file, or with holes in one", () => {
    systemCalls.setXattr(join(root, "d", "a"), "user.a", ctr(3));
    expect(told(listing())).toBe("oss");
    systemCalls.removeXattr(join(root, "d", "a"), "user.a");
    systemCalls.setXattr(join(root, "d"), "user.a", ctr(3));
    expect(told(listing())).toBe("sss");
    systemCalls.removeXattr(join(root, "d"), "user.a");
    truncateSync(join(root, "d", "c"), 1 << 20);
    systemCalls.setTimes(join(root, "d", "c"), 0n, 2_000_000_002n);
    expect(told(listing().replace('"size":2', '"size":1048576').replace('"size":3', '"size":1048577'))).toBe("sso");
  });

  describe("of which a few files have changed", () => {
    const key = ctr(32, Uint8Array.of(7));
    const DIGEST_BYTES = KEY_BYTES - 1;

    /** The listing that was written anew, with what else is said of it; undefined where none was. */
    async function rewritten(parent: string, { level = 1, bytesMax = 1 << 20, attributes = true } = {}): Promise<Rewritten | undefined> {
      const hasher = await createHasher("BLAKE2B-256-128", key);
      const into = comparedMemory(60, KEY_BYTES, { key, digestBytes: DIGEST_BYTES, level, bytesMax });
      const { found } = into;
      expect(build.compareDirectory(fd, Buffer.from("d"), { attributes, avoid: Buffer.alloc(0) }, Buffer.from(parent), KEY_BYTES, into)).toBe(true);
      const { data, ranges, hashes, text, payload } = into.rewritten ?? expect.fail("there is no memory for it");
      const length = found[FOUND.text] ?? 0;
      // Of one that was written anew nothing is left open.
      if (length === 0) closeSync(found[FOUND.fd] ?? -1);
      else expect(found[FOUND.fd]).toBe(-1);
      if (length === 0) return undefined;
      const listing = Buffer.from(text.subarray(0, length));
      const changed = found[FOUND.changed] ?? 0;
      const contents = Array.from({ length: changed }, (_, i) =>
        Buffer.from(data.subarray(ranges[i], (ranges[i] ?? 0) + (ranges[ranges.length / 2 + i] ?? 0))),
      );
      for (const [i, content] of [...contents, listing].entries()) {
        expect(toHex(hashes.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES))).toBe(toHex(hasher.hash(content)));
      }
      const packed = payload.subarray(4, found[FOUND.payload]);
      if ((found[FOUND.payload] ?? 0) > 0) expect(Buffer.from(compressorByName("zstd-fastest").decompress(packed, 1 << 20))).toEqual(listing);
      return {
        text: listing.toString(),
        contents: contents.map(String),
        isCompressed: (found[FOUND.payload] ?? 0) > 0,
        summary: [found[FOUND.count], found[FOUND.bytes], found[FOUND.seconds], found[FOUND.nanoseconds]],
      };
    }

    const write = (name: string, text: string, mtimeNs = 5_000_000_000n): void => {
      writeFileSync(join(root, "d", name), text);
      systemCalls.setTimes(join(root, "d", name), 0n, mtimeNs);
    };

    if (isNative)
      it("is written anew: entries of what is as it was as they are, others between, and what was read", async () => {
        const hasher = await createHasher("BLAKE2B-256-128", key);
        const of = (text: string): string => toHex(hasher.hash(Buffer.from(text)));
        const [a, , c] = JSON.parse(listing()).entries as { name: string; obj: string }[];
        write("b", "changed");
        write("é", "new");
        write("B", "");
        const { uid, gid } = fstatSync(fd);
        const { mode } = statSync(join(root, "d", "é"));
        const owner = `${uid === 0 ? "" : `"uid":${uid},`}${gid === 0 ? "" : `"gid":${gid},`}`;
        const entry = (name: string, text: string, bits = `0${(mode & 0o777).toString(8)}`): string =>
          `{"name":"${name}","type":"f","mode":"${bits}",${text === "" ? "" : `"size":${text.length},`}"mtime":"1970-01-01T00:00:05Z",${owner}"obj":"${of(text)}"}`;
        const entries = [entry("B", ""), JSON.stringify(a), entry("b", "changed", "0640"), JSON.stringify(c), entry("é", "new")];
        const text = `${HEAD}${entries.join(",")}],"summary":{"size":12,"files":5,"symlinks":0,"dirs":1,"maxTime":"1970-01-01T00:00:05Z","numFailed":0}}\n`;
        expect(await rewritten(listing())).toEqual({ text, contents: ["", "changed", "new"], isCompressed: true, summary: [5, 12, 5, 0] });
        expect(await rewritten(listing(), { level: 0, attributes: false })).toMatchObject({ text, isCompressed: false });
        // With a file less nothing is read.
        for (const name of ["b", "é", "B"]) unlinkSync(join(root, "d", name));
        expect(await rewritten(listing())).toMatchObject({ contents: [], summary: [2, 2, 2, 2] });
      });

    it("is left to code that decodes where more than plain text and files that have changed is in it", async () => {
      expect(await rewritten(`${listing()} `)).toEqual(isNative ? expect.objectContaining({ text: listing() }) : undefined);
      const isLeft = async (change: () => void, back: () => void, options?: Parameters<typeof rewritten>[1]): Promise<void> => {
        change();
        expect(await rewritten(listing(), options)).toBeUndefined();
        back();
      };
      const undo = (name: string) => () => unlinkSync(join(root, "d", name));
      await isLeft(() => symlinkSync("a", join(root, "d", "link")), undo("link"));
      await isLeft(() => linkSync(join(root, "d", "c"), join(root, "d", "cc")), undo("cc"));
      await isLeft(() => write('quote"', "x"), undo('quote"'));
      await isLeft(() => write("large", "x".repeat(2000)), undo("large"), { bytesMax: 2000 });
      await isLeft(() => write("larger", "x".repeat(300 << 10)), undo("larger"));
      await isLeft(() => {
        write("noted", "x");
        systemCalls.setXattr(join(root, "d", "noted"), "user.a", ctr(3));
      }, undo("noted"));
      await isLeft(
        () => truncateSync(join(root, "d", "c"), 1 << 16),
        () => truncateSync(join(root, "d", "c"), 2),
      );
      systemCalls.setTimes(join(root, "d", "c"), 0n, 2_000_000_002n);
      const setOwn = (): void => systemCalls.setXattr(join(root, "d"), "user.a", ctr(3));
      await isLeft(
        () => {
          write("new", "x");
          setOwn();
        },
        () => systemCalls.removeXattr(join(root, "d"), "user.a"),
      );
      undo("new")();
      // Whether a file of the same time has changed, and one whose time is written otherwise, only its entry tells.
      await isLeft(
        () => chmodSync(join(root, "d", "b"), 0o600),
        () => chmodSync(join(root, "d", "b"), 0o640),
      );
      for (const time of ["1970-01-01T01:00:01.000000001+01:00", "1970-01-01T00:00:01.0000000010Z", ""]) {
        expect(await rewritten(listing().replace("1970-01-01T00:00:01.000000001Z", time))).toBeUndefined();
      }
      await isLeft(
        () => {
          for (let i = 0; i < 33; i++) write(`many ${i}`, "x");
        },
        () => {
          for (let i = 0; i < 33; i++) undo(`many ${i}`)();
        },
      );
      for (const name of ["a", "b", "c"]) undo(name)();
      expect(await rewritten(listing())).toBeUndefined();
    });
  });

  it("that is empty is whole by its own time", () => {
    mkdirSync(join(root, "empty"));
    systemCalls.setTimes(join(root, "empty"), 0n, 5_000_000_000n);
    const empty = `${HEAD.slice(0, -1)}null,"summary":{"size":0,"files":0,"symlinks":0,"dirs":1,"maxTime":"1970-01-01T00:00:05Z","numFailed":0}}\n`;
    expect(told(empty, { name: "empty" })).toBe("whole");
    systemCalls.setTimes(join(root, "empty"), 0n, 6_000_000_000n);
    expect(told(empty, { name: "empty" })).toBe("");
    expect(told(listing(), { name: "empty" })).toBe("");
    expect(told(empty)).toBe("nothing");
  });

  describe("in a queue", () => {
    /** A call that can be told, for some of them that the directory is not as its parent's listing. */
    const callOf = (i: number, name = "d"): DirectoryCall => {
      const parent = Buffer.from(i % 3 === 0 ? `${listing()} ` : listing());
      return [fd, Buffer.from(name), { attributes: true, avoid: Buffer.alloc(0) }, parent, KEY_BYTES, comparedMemory(10, KEY_BYTES)];
    };
    const closeOf = ({ found }: ComparedDirectory): void => {
      const own = found[FOUND.fd] ?? -1;
      if (own >= 0) closeSync(own);
      // Only the number of the descriptor differs between two of the same call.
      found[FOUND.fd] = -1;
    };

    it.for([0, 1, 3])("is compared as without one, with %i threads beside this one", (threads) => {
      writeFileSync(join(root, "d", "a"), "changed");
      const queue = build.comparisonQueue(8, threads);
      const waiting = new Map<number, readonly [number, DirectoryCall]>();
      const finish = (place: number): void => {
        const [i, call] = waiting.get(place) ?? expect.fail("nothing is there");
        const [, name] = call;
        const alone = callOf(i, Buffer.from(name).toString());
        const told = build.compareDirectory(...alone);
        expect(queue.finish(place)).toBe(told);
        if (told) for (const [, , , , , into] of [call, alone]) closeOf(into);
        expect(call[5]).toEqual(alone[5]);
        waiting.delete(place);
      };
      for (let i = 0; i < 400; i++) {
        const place = (i * 5) % 8;
        if (waiting.has(place)) finish(place);
        const call = callOf(i, i % 5 === 4 ? "gone" : "d");
        waiting.set(place, [i, call]);
        queue.put(place, call);
      }
      for (const place of [...waiting.keys()].reverse()) finish(place);
    });

    it.for([0, 2])("is dropped when nobody wants it, and leaves its descriptor where it was compared, with %i threads", (threads) => {
      const queue = build.comparisonQueue(4, threads);
      let told = 0;
      for (let i = 0; i < 200; i++) {
        const calls = [0, 1, 2, 3].map((place) => callOf(3 * i + 3 * place));
        for (const [place, call] of calls.entries()) queue.put(place, call);
        for (const [place, call] of calls.entries()) {
          if (!queue.drop(place)) continue;
          told++;
          expect(fstatSync(call[5].found[FOUND.fd] ?? -1).isDirectory()).toBe(true);
          closeOf(call[5]);
        }
      }
      if (threads === 0) expect(told).toBe(0);
    });

    it("has one place for each", () => {
      const queue = build.comparisonQueue(2, 0);
      queue.put(1, callOf(1));
      expect(() => queue.put(1, callOf(1))).toThrow("a free place is wanted");
      expect(() => queue.put(2, callOf(1))).toThrow("a free place is wanted");
      for (const place of [0, 2])
        for (const take of ["finish", "drop"] as const) expect(() => queue[take](place)).toThrow("a place with a comparison is wanted");
      expect(queue.finish(1)).toBe(true);
      expect(() => queue.finish(1)).toThrow("a place with a comparison is wanted");
      // What is left in it is given back with it.
      queue.put(0, callOf(1));
    });
  });

  describe("that was seen before", () => {
    const call = (into: ComparedDirectory, from = fd, name = "d"): DirectoryCall => [
      ...([from, Buffer.from(name), { attributes: true, avoid: Buffer.alloc(0) }, Buffer.from(listing()), KEY_BYTES] as const),
      into,
    ];
    const compared = (queue: ComparisonQueue, from = fd, name = "d"): string => {
      const into = comparedMemory(10, KEY_BYTES);
      queue.put(0, call(into, from, name));
      if (!queue.finish(0)) return "nothing";
      if ((into.found[FOUND.fd] ?? -1) >= 0) closeSync(into.found[FOUND.fd] ?? -1);
      return into.found[FOUND.whole] === 1 ? "whole" : "changed";
    };
    const seen = async (bytesMax = 1 << 20, path = root): Promise<DirectoryScan> => {
      const scan = build.scanDirectories(path, { attributes: true, bytesMax });
      await scan.ended;
      return scan;
    };
    /** Its directory is as it was. */
    const change = (): void => writeFileSync(join(root, "d", "b"), "other");

    it("is as it was then, once", async () => {
      const memories = [comparedMemory(10, KEY_BYTES), comparedMemory(10, KEY_BYTES)] as const;
      const queue = build.comparisonQueue(1, 0, await seen());
      queue.put(0, call(memories[0]));
      expect(queue.finish(0)).toBe(true);
      expect(build.compareDirectory(...call(memories[1]))).toBe(true);
      expect(memories[0]).toEqual(memories[1]);
      const again = build.comparisonQueue(1, 0, await seen());
      change();
      // Nothing is seen ahead without the addon.
      expect([compared(again), compared(again)]).toEqual([isNative ? "whole" : "changed", "changed"]);
    });

    it("is looked at again where names have come or gone since, where it was dropped, and where there was no memory for it", async () => {
      const scan = await seen();
      writeFileSync(join(root, "d", "come"), "");
      unlinkSync(join(root, "d", "come"));
      change();
      expect(compared(build.comparisonQueue(1, 0, scan))).toBe("changed");
      for (const bytesMax of [0, 500]) expect(compared(build.comparisonQueue(1, 0, await seen(bytesMax)))).toBe("changed");
      rmSync(join(root, "d", "b"));
      writeFileSync(join(root, "d", "b"), ctr(1));
      chmodSync(join(root, "d", "b"), 0o640);
      systemCalls.setTimes(join(root, "d", "b"), 0n, 1_000_000_001n);
      const dropped = await seen();
      change();
      dropped.drop();
      expect(compared(build.comparisonQueue(1, 0, dropped))).toBe("changed");
    });

    it("may lie below others, but not behind a link", async () => {
      mkdirSync(join(root, "x", "y"), { recursive: true });
      renameSync(join(root, "d"), join(root, "x", "y", "d"));
      symlinkSync("x/y", join(root, "a-link"));
      const scan = await seen();
      const linked = await seen(1 << 20, join(root, "a-link", "d"));
      writeFileSync(join(root, "x", "y", "d", "b"), "other");
      const above = openSync(join(root, "x", "y"), "r");
      try {
        expect(compared(build.comparisonQueue(1, 0, scan), above)).toBe(isNative ? "whole" : "changed");
        // A path that is given may have links on its way.
        expect(compared(build.comparisonQueue(1, 0, linked), above)).toBe(isNative ? "whole" : "changed");
      } finally {
        closeSync(above);
      }
    });

    it("ends at once where it is stopped or there is nothing", async () => {
      const stopped = build.scanDirectories(root, { attributes: false, bytesMax: 1 << 20 });
      stopped.stop();
      await stopped.ended;
      await (await seen(1 << 20, join(root, "gone"))).ended;
      await (await seen(1 << 20, join(root, "d", "a"))).ended;
      expect(compared(build.comparisonQueue(1, 0, stopped))).toBe("whole");
    });
  });

  it("is left alone when it cannot be opened, holds directories, names to avoid or too many, or its parent is unusual", () => {
    for (const name of ["", ".", "..", "gone", "d/a", "d\0", "../d"]) expect([name, told(listing(), { name })]).toEqual([name, "nothing"]);
    symlinkSync("d", join(root, "link"));
    writeFileSync(join(root, "file"), "");
    for (const name of ["link", "file"]) expect([name, told(listing(), { name })]).toEqual([name, "nothing"]);
    expect(told(listing(), { avoid: "x/b/" })).toBe("nothing");
    expect(told(listing(), { avoid: "x/bb/" })).toBe("whole");
    expect(told(listing(), { count: 2 })).toBe("nothing");
    for (let length = 0; length < HEAD.length + 50; length++) expect([length, told(listing().slice(0, length))]).toEqual([length, "nothing"]);
    expect(told(listing().replace('"name":"b"', '"name":"\\u0062"'))).toBe("nothing");
    mkdirSync(join(root, "d", "directory"));
    expect(told(listing())).toBe("nothing");
  });
});
