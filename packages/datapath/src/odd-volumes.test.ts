/** What is rare in a volume and must come back all the same: times far away, paths longer than a system call takes, kinds that Kopia has no place for, attributes that make programs privileged. */
import {
  closeSync,
  constants,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemCalls } from "@drayage/kernels";
import { parseSnapshotSource } from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { restoreSnapshot } from "./restore/restore-snapshot.ts";
import { uploadSnapshot } from "./upload/upload-snapshot.ts";

const isRoot = process.getuid?.() === 0;
let folder: string;
let source: string;
let target: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "odd-"));
  source = join(folder, "source");
  target = join(folder, "target");
  mkdirSync(source);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function roundTrip(): Promise<void> {
  const { repository } = memoryRepository();
  const made = await uploadSnapshot({ repository, source: { kind: "directory", path: source }, snapshotSource: parseSnapshotSource("u@h:/d") });
  expect(made).toMatchObject({ problems: [], warnings: [] });
  const result = await restoreSnapshot({ repository, root: made.rootEntry, target: { kind: "directory", path: target } });
  expect(result).toMatchObject({ problems: [], warnings: [] });
}

const mtimeNs = (path: string): bigint => lstatSync(path, { bigint: true }).mtimeNs;

describe("a volume with odd things in it comes back as it was", () => {
  it("times before 1970 and after 2038, of files, links and directories, to the nanosecond", async () => {
    const times: Readonly<Record<string, bigint>> = {
      "just-before-1970": -1n,
      "1901": -2_147_483_647_000_000_001n,
      "after-2038": 2_147_483_648_123_456_789n,
      "2185": 6_784_732_800_493_827_160n,
      epoch: 0n,
    };
    mkdirSync(join(source, "dirs"));
    for (const name of Object.keys(times)) {
      writeFileSync(join(source, name), name);
      symlinkSync(name, join(source, `link-${name}`));
      mkdirSync(join(source, "dirs", name));
    }
    const paths = Object.entries(times).flatMap(([name, ns]) => [name, `link-${name}`, `dirs/${name}`].map((path) => [path, ns] as const));
    for (const [path, ns] of paths) systemCalls.setTimes(join(source, path), ns, ns);
    // What the file system can hold is what is wanted back.
    const wanted = paths.map(([path]) => [path, mtimeNs(join(source, path))]);
    expect(wanted.filter(([, ns], index) => ns === paths[index]?.[1]).length).toBeGreaterThan(9);
    await roundTrip();
    expect(paths.map(([path]) => [path, mtimeNs(join(target, path))])).toEqual(wanted);
  });

  it("paths longer than a system call takes", async () => {
    const name = "d".repeat(200);
    const levels = 30;
    /** Opens the directory at a depth, one level at a time: no path is longer than a name. */
    const atDepth = <T>(root: string, depth: number, make: boolean, work: (at: string) => T): T => {
      let fd = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
      try {
        for (let level = 0; level < depth; level++) {
          const child = `/proc/self/fd/${fd}/${name}`;
          if (make) mkdirSync(child);
          const next = openSync(child, constants.O_RDONLY | constants.O_DIRECTORY);
          closeSync(fd);
          fd = next;
        }
        return work(`/proc/self/fd/${fd}`);
      } finally {
        closeSync(fd);
      }
    };
    atDepth(source, levels, true, (at) => writeFileSync(`${at}/bottom`, "deep"));
    await roundTrip();
    expect(atDepth(target, levels, false, (at) => readFileSync(`${at}/bottom`, "utf8"))).toBe("deep");
    // Node removes by path.
    for (const root of [source, target])
      for (let depth = levels - 1; depth >= 0; depth--) atDepth(root, depth, false, (at) => rmSync(`${at}/${name}`, { recursive: true }));
  });

  it("names of files, directories and links, and targets of links, that are not UTF-8", async () => {
    const odd = (prefix: string): Buffer => Buffer.concat([Buffer.from(prefix), Buffer.of(0xff, 0xfe, 0x80)]);
    writeFileSync(odd(`${source}/file-`), "1");
    mkdirSync(odd(`${source}/dir-`));
    writeFileSync(Buffer.concat([odd(`${source}/dir-`), Buffer.from("/inside")]), "2");
    symlinkSync(odd("to-"), odd(`${source}/link-`));
    // Two that Kopia would give one name.
    writeFileSync(Buffer.concat([Buffer.from(`${source}/same`), Buffer.of(0x80)]), "a");
    writeFileSync(Buffer.concat([Buffer.from(`${source}/same`), Buffer.of(0x81)]), "b");
    await roundTrip();
    expect(readdirSync(target, { encoding: "latin1" }).sort()).toEqual(readdirSync(source, { encoding: "latin1" }).sort());
    expect(readlinkSync(odd(`${target}/link-`), { encoding: "buffer" })).toEqual(odd("to-"));
    expect(readFileSync(Buffer.concat([Buffer.from(`${target}/same`), Buffer.of(0x81)]), "utf8")).toBe("b");
    expect(readFileSync(Buffer.concat([odd(`${target}/dir-`), Buffer.from("/inside")]), "utf8")).toBe("2");
  });

  it("sockets, FIFOs and, as root, devices", async () => {
    const server = createServer().listen(join(source, "socket"));
    await new Promise((resolve) => server.once("listening", resolve));
    systemCalls.makeNode(join(source, "fifo"), 0o010640, 0, 0);
    if (isRoot) {
      systemCalls.makeNode(join(source, "null"), 0o020666, 1, 3);
      systemCalls.makeNode(join(source, "disk"), 0o060660, 259, 70_000);
    }
    const facts = (root: string): unknown[] =>
      readdirSync(root).map((name) => {
        const { mode, rdev, uid, gid, mtimeNs: time } = lstatSync(join(root, name), { bigint: true });
        return [name, mode.toString(8), rdev, uid, gid, time];
      });
    const wanted = facts(source);
    expect(wanted).toHaveLength(isRoot ? 4 : 2);
    try {
      await roundTrip();
      expect(facts(target)).toEqual(wanted);
    } finally {
      await new Promise((resolve) => server.close(resolve));
    }
  });

  it("POSIX ACLs of files and directories and, as root, capabilities of programs", async () => {
    // Version 2, then entries of tag, permissions and id: owner, a user, group, mask, others.
    const entry = (tag: number, permissions: number, id = 0xffffffff): number[] => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt16LE(tag, 0);
      bytes.writeUInt16LE(permissions, 2);
      bytes.writeUInt32LE(id, 4);
      return [...bytes];
    };
    const acl = Buffer.from([2, 0, 0, 0, ...entry(0x01, 6), ...entry(0x02, 4, 1234), ...entry(0x04, 4), ...entry(0x10, 4), ...entry(0x20, 0)]);
    writeFileSync(join(source, "shared"), "1");
    mkdirSync(join(source, "dir"));
    systemCalls.setXattr(join(source, "shared"), "system.posix_acl_access", acl);
    systemCalls.setXattr(join(source, "dir"), "system.posix_acl_default", acl);
    const program = join(source, "ping");
    writeFileSync(program, "#!/bin/true\n", { mode: 0o755 });
    // Version 2 of the capability record, effective: CAP_NET_RAW.
    if (isRoot) systemCalls.setXattr(program, "security.capability", Buffer.from("0100000200200000000000000000000000000000", "hex"));
    await roundTrip();
    for (const name of ["shared", "dir", "ping"]) {
      expect(systemCalls.listXattrs(join(target, name)), name).toEqual(systemCalls.listXattrs(join(source, name)));
      expect(lstatSync(join(target, name)).mode, name).toBe(lstatSync(join(source, name)).mode);
    }
    expect(systemCalls.listXattrs(join(target, "shared")).map(({ name }) => name)).toContain("system.posix_acl_access");
    expect(systemCalls.listXattrs(join(target, "ping")).length).toBe(isRoot ? 1 : 0);
  });
});
