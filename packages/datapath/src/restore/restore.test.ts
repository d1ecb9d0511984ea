import {
  chmodSync,
  chownSync,
  closeSync,
  existsSync,
  ftruncateSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { type SystemCalls, systemCalls } from "@drayage/kernels";
import { type DirectoryEntry, DirectoryListingWriter, type ObjectId, ObjectWriter, parseSnapshotSource, type Repository } from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { findInSnapshot } from "../find-in-snapshot.ts";
import { patternBytes } from "../testing/index.ts";
import { uploadSnapshot } from "../upload/upload-snapshot.ts";
import { type RestoreSnapshotOptions, restoreSnapshot } from "./restore-snapshot.ts";

const snapshotSource = parseSnapshotSource("user@host:/data");
const isRoot = process.getuid?.() === 0;
let folder: string;
let source: string;
let target: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "restore-"));
  source = join(folder, "source");
  target = join(folder, "target");
  mkdirSync(source);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function uploaded(system: SystemCalls = systemCalls) {
  const { repository, contents } = memoryRepository();
  const { rootEntry, snapshotId } = await uploadSnapshot({
    repository,
    source: { kind: "directory", path: source },
    snapshotSource,
    clock: repository.clock,
    system,
  });
  return { repository, contents, rootEntry, snapshotId };
}

function restore(repository: Repository, root: DirectoryEntry, options: Partial<RestoreSnapshotOptions> = {}) {
  return restoreSnapshot({ repository, root, target: { kind: "directory", path: target }, clock: repository.clock, ...options });
}

/** A directory of hand-made entries, as somebody with the password but no good intentions would store. */
async function forged(
  repository: Repository,
  entries: readonly (Partial<DirectoryEntry> & { readonly name: string; readonly text?: string })[],
): Promise<DirectoryEntry> {
  const listing = new DirectoryListingWriter(repository.objectWriters);
  for (const { text = "x", ...entry } of entries) {
    const object = new ObjectWriter(repository.objectWriters);
    await object.write(Buffer.from(text));
    const { objectId } = await object.finish();
    await listing.add({ type: "file", mode: 0o644, size: text.length, mtimeNs: 1n, uid: 0, gid: 0, objectId, ...entry });
  }
  return { name: "root", type: "directory", mode: 0o755, size: 0, mtimeNs: 1n, uid: 0, gid: 0, ...(await listing.finish({ mtimeNs: 1n })) };
}

describe("restoreSnapshot", () => {
  it("brings everything back: bytes, modes, owners, times, links, holes, attributes, odd names, nodes", async () => {
    mkdirSync(join(source, "dir"));
    writeFileSync(join(source, "dir", "large"), patternBytes(1_000_000, 1));
    writeFileSync(Buffer.concat([Buffer.from(`${source}/a`), Buffer.of(0xff)]), "odd");
    linkSync(join(source, "dir", "large"), join(source, "name"));
    symlinkSync("../outside", join(source, "link"));
    const fd = openSync(join(source, "sparse"), "w");
    ftruncateSync(fd, 20 << 20);
    writeSync(fd, patternBytes(8192, 2), 0, 8192, 10 << 20);
    closeSync(fd);
    writeFileSync(join(source, "zeros"), Buffer.alloc(300_000));
    systemCalls.setXattr(join(source, "zeros"), "user.test", Buffer.from("value"));
    systemCalls.setXattr(join(source, "dir"), "user.of-the-directory", Buffer.from("v"));
    systemCalls.makeNode(join(source, "pipe"), 0o010640, 0, 0);
    chmodSync(join(source, "dir"), 0o2750);
    if (isRoot) chownSync(join(source, "zeros"), 1234, 4321);
    chmodSync(join(source, "zeros"), 0o4711);
    systemCalls.setTimes(join(source, "zeros"), 1n, 1_234_567_890_123_456_789n);
    systemCalls.setTimes(join(source, "link"), 1n, -5n);
    systemCalls.setTimes(join(source, "dir"), 1n, 987_654_321n);
    const { repository, rootEntry } = await uploaded();
    const result = await restore(repository, rootEntry, { verify: true });
    expect(result).toMatchObject({ problems: [], warnings: [], progress: { phase: "done", errors: 0 } });
    const names = (path: string) => readdirSync(path, { encoding: "latin1" as never }).sort();
    expect(names(target)).toEqual(names(source));
    for (const name of ["dir", "dir/large", "link", "sparse", "zeros", "pipe", "name", "."]) {
      const a = lstatSync(join(source, name), { bigint: true });
      const b = lstatSync(join(target, name), { bigint: true });
      expect([name, b.mode, b.uid, b.gid, b.mtimeNs, b.nlink], name).toEqual([name, a.mode, a.uid, a.gid, a.mtimeNs, a.nlink]);
      if (a.isFile()) expect(readFileSync(join(target, name)).equals(readFileSync(join(source, name))), name).toBe(true);
    }
    expect(statSync(join(target, "name")).ino).toBe(statSync(join(target, "dir", "large")).ino);
    expect(readlinkSync(join(target, "link"))).toBe("../outside");
    expect(statSync(join(target, "sparse")).blocks).toBeLessThan(100);
    // Zeros that were written are written again: the space is meant to be there.
    expect(statSync(join(target, "zeros")).blocks * 512).toBeGreaterThanOrEqual(300_000);
    expect(systemCalls.listXattrs(join(target, "zeros"))).toEqual(systemCalls.listXattrs(join(source, "zeros")));
    expect(systemCalls.listXattrs(join(target, "dir"))).toEqual(systemCalls.listXattrs(join(source, "dir")));
  });

  it("leaves every block of zeros as a hole when that is wanted", async () => {
    writeFileSync(join(source, "zeros"), Buffer.alloc(1 << 20));
    const { repository, rootEntry } = await uploaded();
    await restore(repository, rootEntry, { sparse: true });
    expect(statSync(join(target, "zeros"))).toMatchObject({ size: 1 << 20, blocks: 0 });
  });

  it("a hole that is declared over data does not lose the data", async () => {
    const { repository } = memoryRepository();
    const root = await forged(repository, [{ name: "a", text: "data", extension: { holes: [{ offset: 0, length: 4 }] } }]);
    await restore(repository, root);
    expect(readFileSync(join(target, "a"), "utf8")).toBe("data");
  });

  it("restores a part of a snapshot, and a single file under a new name", async () => {
    mkdirSync(join(source, "dir", "sub"), { recursive: true });
    writeFileSync(join(source, "dir", "sub", "file"), "content");
    const { repository, snapshotId } = await uploaded();
    const snapshot = await repository.snapshots.get(snapshotId);
    await restore(repository, await findInSnapshot(repository, snapshot, "dir/sub"));
    expect(readdirSync(target)).toEqual(["file"]);
    const file = await findInSnapshot(repository, snapshot, "/dir/sub/file/");
    await restore(repository, file, { target: { kind: "directory", path: join(folder, "renamed") } });
    expect(readFileSync(join(folder, "renamed"), "utf8")).toBe("content");
    await restore(repository, file, { target: { kind: "directory", path: folder } });
    expect(readFileSync(join(folder, "file"), "utf8")).toBe("content");
    await expect(findInSnapshot(repository, snapshot, "dir/none/x")).rejects.toThrow('Cannot find "dir/none" in snapshot');
  });

  it("many files in many directories, more than are written at once", async () => {
    for (let index = 0; index < 300; index++) {
      mkdirSync(join(source, String(index % 20)), { recursive: true });
      writeFileSync(join(source, String(index % 20), `f${index}`), patternBytes(index * 10, 3));
    }
    const { repository, rootEntry } = await uploaded();
    const { progress } = await restore(repository, rootEntry, { parallel: 3, memoryBudget: 160 << 20 });
    expect(progress).toMatchObject({ filesDone: 300, bytesDone: rootEntry.summary?.size });
    for (let index = 0; index < 20; index++) expect(readdirSync(join(target, String(index)))).toHaveLength(15);
  });
});

describe("targets that are not empty", () => {
  it("are refused, naming what is there", async () => {
    mkdirSync(target);
    writeFileSync(join(target, "mine"), "precious");
    const { repository, rootEntry } = await uploaded();
    await expect(restore(repository, rootEntry)).rejects.toThrow(
      expect.objectContaining({ code: "PATH_NOT_EMPTY", message: `Cannot restore to "${target}": it holds "mine", nothing was wanted there` }),
    );
    expect(readFileSync(join(target, "mine"), "utf8")).toBe("precious");
  });

  it("an empty lost+found belongs to the file system", async () => {
    mkdirSync(join(target, "lost+found"), { recursive: true });
    const { repository, rootEntry } = await uploaded();
    await restore(repository, rootEntry);
    writeFileSync(join(target, "lost+found", "#12"), "");
    await expect(restore(repository, rootEntry)).rejects.toThrow('it holds "lost+found"');
  });

  it("are written over when that is allowed, and a link in the way is replaced, not followed", async () => {
    const outside = join(folder, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "file"), "outside");
    mkdirSync(join(source, "dir"));
    writeFileSync(join(source, "dir", "file"), "new");
    writeFileSync(join(source, "top"), "new");
    mkdirSync(target);
    symlinkSync(outside, join(target, "dir"));
    symlinkSync(join(outside, "file"), join(target, "top"));
    writeFileSync(join(target, "other"), "kept");
    const { repository, rootEntry } = await uploaded();
    await restore(repository, rootEntry, { overwrite: true });
    expect(readFileSync(join(target, "dir", "file"), "utf8")).toBe("new");
    expect(lstatSync(join(target, "dir")).isDirectory()).toBe(true);
    expect(readFileSync(join(target, "top"), "utf8")).toBe("new");
    expect(readFileSync(join(target, "other"), "utf8")).toBe("kept");
    expect(readFileSync(join(outside, "file"), "utf8")).toBe("outside");
  });

  it("a directory in the way of a file is not removed", async () => {
    writeFileSync(join(source, "x"), "file");
    mkdirSync(join(target, "x"), { recursive: true });
    const { repository, rootEntry } = await uploaded();
    await expect(restore(repository, rootEntry, { overwrite: true })).rejects.toThrow(`Cannot replace "${join(target, "x")}": it is a directory`);
  });
});

describe("targets that are to hold nothing else", () => {
  it("lose what the snapshot does not hold, at every depth, and what is in its way; the snapshot's own entries stay", async () => {
    mkdirSync(join(source, "kept", "deep"), { recursive: true });
    writeFileSync(join(source, "kept", "deep", "file"), "new");
    writeFileSync(join(source, "was-a-directory"), "file");
    systemCalls.setTimes(join(source, "kept"), 1n, 987_654_321n);
    const outside = join(folder, "outside");
    mkdirSync(outside);
    writeFileSync(join(outside, "precious"), "precious");
    mkdirSync(join(target, "kept", "deep", "other"), { recursive: true });
    mkdirSync(join(target, "gone", "deeper"), { recursive: true });
    mkdirSync(join(target, "was-a-directory", "full"), { recursive: true });
    mkdirSync(join(target, "lost+found"));
    writeFileSync(join(target, "lost+found", "#12"), "");
    for (const path of ["kept/deep/file", "kept/deep/other/file", "kept/late", "gone/deeper/file", "was-a-directory/full/file"])
      writeFileSync(join(target, path), "old");
    symlinkSync(outside, join(target, "link"));
    symlinkSync(outside, join(target, "gone", "link"));
    writeFileSync(Buffer.concat([Buffer.from(`${target}/odd`), Buffer.of(0xff)]), "old");
    const { repository, rootEntry } = await uploaded();
    const result = await restore(repository, rootEntry, { overwrite: true, deleteOthers: true });
    expect(result).toMatchObject({ problems: [], warnings: [] });
    expect(readdirSync(target, { recursive: true }).sort()).toEqual([
      ...["kept", "kept/deep", "kept/deep/file", "lost+found", "lost+found/#12", "was-a-directory"],
    ]);
    expect(readFileSync(join(target, "kept", "deep", "file"), "utf8")).toBe("new");
    expect(lstatSync(join(target, "kept"), { bigint: true }).mtimeNs).toBe(987_654_321n);
    expect(readFileSync(join(outside, "precious"), "utf8")).toBe("precious");
  });

  it("keep what there is where the snapshot's listing cannot be read to its end", async () => {
    const { repository, rootEntry } = await uploaded();
    mkdirSync(target);
    writeFileSync(join(target, "mine"), "precious");
    const broken: DirectoryEntry = { ...rootEntry, objectId: unlike(rootEntry.objectId ?? "") as ObjectId };
    await expect(restore(repository, broken, { overwrite: true, deleteOthers: true, keepGoing: true })).rejects.toThrow(DrayError);
    expect(readFileSync(join(target, "mine"), "utf8")).toBe("precious");
  });

  describe("where a file could not be read when the snapshot was made", () => {
    const unreadable: SystemCalls = {
      ...systemCalls,
      dataExtents: () => {
        throw new DrayError("PATH_IO", "Cannot find", { context: { errno: "EIO" } });
      },
    };
    const lacking = async () => {
      mkdirSync(join(source, "below"));
      mkdirSync(join(source, "whole"));
      writeFileSync(join(source, "good"), "new");
      writeFileSync(join(source, "below", "precious"), "");
      truncateSync(join(source, "below", "precious"), 2 << 20);
      const stored = await uploaded(unreadable);
      expect(stored.rootEntry.summary).toMatchObject({ failed: 1 });
      for (const path of ["below", "whole"]) mkdirSync(join(target, path), { recursive: true });
      for (const path of ["good", "other", "below/precious", "whole/other"]) writeFileSync(join(target, path), "old");
      return stored;
    };
    const why = "nothing was removed from it: 1 of its entries could not be read when the snapshot was made, which lacks them";

    it("lose nothing at all, and are told why", async () => {
      const { repository, rootEntry } = await lacking();
      const result = await restore(repository, rootEntry, { overwrite: true, deleteOthers: true });
      expect(result).toMatchObject({ problems: [], warnings: [{ path: "", message: why }] });
      const texts = ["good", "other", "below/precious", "whole/other"].map((path) => readFileSync(join(target, path), "utf8"));
      expect(texts).toEqual(["new", "old", "old", "old"]);
    });

    it("lose nothing in the directories that say so where the root says nothing", async () => {
      const { repository, rootEntry } = await lacking();
      const { summary, ...silent } = rootEntry;
      if (summary === undefined) throw new Error("the root has no summary");
      const result = await restore(repository, silent, { overwrite: true, deleteOthers: true });
      expect(result.warnings).toEqual([
        { path: "below", message: why },
        { path: "", message: why },
      ]);
      expect(readdirSync(target, { recursive: true }).sort()).toEqual(["below", "below/precious", "good", "other", "whole"]);
    });
  });
});

/** The id of an object that is not there. */
const unlike = (objectId: string): string => `${objectId.slice(0, -4)}${objectId.endsWith("0000") ? "1111" : "0000"}`;

describe("snapshots that want out of the target", () => {
  it.each(["../escaped", "..", ".", "a/b", "/etc/escaped", "nul\0"])("the name %j is refused", async (name) => {
    const { repository } = memoryRepository();
    const root = await forged(repository, [{ name, text: "evil" }]);
    await expect(restore(repository, root)).rejects.toThrow(expect.objectContaining({ code: "PATH_ESCAPES_TARGET" }));
    expect(readdirSync(folder).sort()).toEqual(["source", "target"]);
    expect(readdirSync(target)).toEqual([]);
  });

  it("a directory after a link of the same name is not written through the link", async () => {
    const { repository } = memoryRepository();
    const inner = await forged(repository, [{ name: "escaped", text: "evil" }]);
    const root = await forged(repository, [
      { name: "d", type: "symlink", text: folder },
      { ...inner, name: "d" },
    ]);
    await expect(restore(repository, root)).rejects.toThrow(DrayError);
    await restore(repository, root, { overwrite: true }).catch(() => undefined);
    expect(existsSync(join(folder, "escaped"))).toBe(false);
  });

  it("a node that is swapped for a link has its mode given to nothing else", async () => {
    const victim = join(folder, "victim");
    writeFileSync(victim, "", { mode: 0o600 });
    systemCalls.makeNode(join(source, "fifo"), 0o010777, 0, 0);
    chmodSync(join(source, "fifo"), 0o777);
    const { repository, rootEntry } = await uploaded();
    const system: SystemCalls = { ...systemCalls, makeNode: (at) => symlinkSync(victim, at as Buffer) };
    const { warnings } = await restore(repository, rootEntry, { system });
    expect(lstatSync(victim).mode & 0o777).toBe(0o600);
    expect(warnings).toMatchObject([{ path: "fifo", message: expect.stringContaining("mode") }]);
    rmSync(target, { recursive: true });
    await restore(repository, rootEntry);
    expect(lstatSync(join(target, "fifo")).mode & 0o777).toBe(0o777);
  });
});

describe("what goes wrong while restoring", () => {
  const full = Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC" });

  it("a full target ends the restore, named, even when it should keep going, and leaves no half file", async () => {
    writeFileSync(join(source, "a"), patternBytes(400_000, 4));
    const { repository, rootEntry } = await uploaded();
    const system: SystemCalls = {
      ...systemCalls,
      setTimes: () => {
        throw full;
      },
    };
    await expect(restore(repository, rootEntry, { system, keepGoing: true })).rejects.toThrow(
      expect.objectContaining({ code: "PATH_NO_SPACE", message: expect.stringContaining('target/a": no space is left on the device') }),
    );
    expect(readdirSync(target)).toEqual([]);
  });

  it("a lost content costs its file only when it should keep going, and nothing half is left", async () => {
    writeFileSync(join(source, "bad"), patternBytes(400_000, 5));
    writeFileSync(join(source, "good"), "good");
    const { repository, contents, rootEntry } = await uploaded();
    const lost = contents.writes.find(({ length }) => length > 60_000)?.id;
    if (lost !== undefined) contents.lose(lost);
    await expect(restore(repository, rootEntry)).rejects.toThrow(expect.objectContaining({ code: "REPO_CONTENT_NOT_FOUND" }));
    rmSync(target, { recursive: true });
    const result = await restore(repository, rootEntry, { keepGoing: true });
    expect(result.problems).toMatchObject([{ path: "bad", code: "REPO_CONTENT_NOT_FOUND" }]);
    expect(readdirSync(target)).toEqual(["good"]);
  });

  it("an object of another length than its entry says is corrupt", async () => {
    const { repository } = memoryRepository();
    const root = await forged(repository, [{ name: "a", text: "12345", size: 4 }]);
    await expect(restore(repository, root)).rejects.toThrow("has more than 4 bytes, 4 were wanted");
    const shorter = await forged(repository, [{ name: "a", text: "12345", size: 6 }]);
    await expect(restore(repository, shorter)).rejects.toThrow("has 5 bytes, 6 were wanted");
    expect(readdirSync(target)).toEqual([]);
  });

  it("a target that could not write what it took fails the restore that waits for it", async () => {
    writeFileSync(join(source, "a"), "1");
    const { repository, rootEntry } = await uploaded();
    const system: SystemCalls = { ...systemCalls, syncFs: () => Promise.reject(full) };
    await expect(restore(repository, rootEntry, { system, flush: true })).rejects.toMatchObject({ code: "PATH_NO_SPACE" });
    rmSync(target, { recursive: true });
    expect((await restore(repository, rootEntry, { flush: true })).problems).toEqual([]);
  });

  it("attributes that the target does not take are warnings", async () => {
    writeFileSync(join(source, "a"), "1");
    systemCalls.setXattr(join(source, "a"), "user.x", Buffer.from("1"));
    const { repository, rootEntry } = await uploaded();
    const system: SystemCalls = {
      ...systemCalls,
      setXattr: () => {
        throw new DrayError("NOT_SUPPORTED", "no", { context: { errno: "ENOTSUP" } });
      },
    };
    const result = await restore(repository, rootEntry, { system });
    expect(result.warnings).toMatchObject([{ path: "a" }]);
    expect(readFileSync(join(target, "a"), "utf8")).toBe("1");
  });

  it("an aborted signal ends it with its reason, and removes what is half written", async () => {
    writeFileSync(join(source, "large"), patternBytes(3 << 20, 6));
    const { repository, contents, rootEntry } = await uploaded();
    const controller = new AbortController();
    const reason = new Error("enough");
    const get = contents.get.bind(contents);
    let reads = 0;
    contents.get = (id, signal) => {
      if (++reads === 8) controller.abort(reason);
      return get(id, signal);
    };
    await expect(restore(repository, rootEntry, { signal: controller.signal })).rejects.toBe(reason);
    expect(readdirSync(target)).toEqual([]);
  });

  it("a snapshot of a directory does not go onto a block device, nor bytes onto what is none", async () => {
    writeFileSync(join(source, "a"), "1");
    mkdirSync(join(source, "b"));
    const { repository, rootEntry } = await uploaded();
    await expect(restore(repository, rootEntry, { target: { kind: "block", path: "/dev/null" } })).rejects.toThrow("holds a directory");
    const root = await forged(repository, [{ name: "/dev/vda", text: "bytes" }]);
    await expect(restore(repository, root, { target: { kind: "block", path: "/dev/null" } })).rejects.toThrow("as a block device: it is none");
  });
});
