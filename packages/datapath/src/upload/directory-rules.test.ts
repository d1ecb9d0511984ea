import { mkdirSync, mkdtempSync, rmSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import { type SystemCalls, systemCalls } from "@drayage/kernels";
import {
  CACHE_DIRECTORY_SIGNATURE,
  type DirectoryEntry,
  DirectoryListing,
  EffectivePolicy,
  type PolicyDocument,
  PolicyTree,
  type Repository,
} from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type UploadResult, type UploadSnapshotOptions, uploadSnapshot } from "./upload-snapshot.ts";

let folder: string;
let repository: Repository;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "rules-"));
  repository = memoryRepository().repository;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function file(path: string, text = "x"): void {
  const at = join(folder, path);
  mkdirSync(join(at, ".."), { recursive: true });
  writeFileSync(at, text);
}

const defaults: PolicyDocument = { files: { ignoreDotFiles: [".kopiaignore"] } };

function tree(document: PolicyDocument, below: Readonly<Record<string, PolicyDocument>> = {}): PolicyTree {
  return PolicyTree.build(
    new EffectivePolicy({ ...defaults, ...document }),
    new Map(Object.entries(below).map(([path, policy]) => [path, new EffectivePolicy(policy)])),
  );
}

function upload(policies: PolicyTree, options: Partial<UploadSnapshotOptions> = {}): Promise<UploadResult> {
  return uploadSnapshot({
    repository,
    source: { kind: "directory", path: folder },
    snapshotSource: { userName: "u", host: "h", path: "/d" },
    policies,
    ...options,
  });
}

async function pathsOf({ rootEntry }: UploadResult): Promise<string[]> {
  const paths: string[] = [];
  const walk = async (entry: DirectoryEntry, at: string): Promise<void> => {
    if (entry.type !== "directory") return;
    for await (const child of new DirectoryListing(repository.objects, entry.objectId).entries()) {
      paths.push(`${at}${child.name}`);
      await walk(child, `${at}${child.name}/`);
    }
  };
  await walk(rootEntry, "");
  return paths.sort();
}

describe("what policies leave out of a snapshot", () => {
  it("names in ignore lists and ignore files, which are counted", async () => {
    for (const path of ["keep", "a.tmp", "sub/a.tmp", "sub/special.tmp", "sub/.kopiaignore", "cache/x"]) file(path);
    file("sub/.kopiaignore", "!special.tmp\n");
    const result = await upload(tree({ files: { ...(defaults["files"] as object), ignore: ["*.tmp", "/cache"] } }));
    expect(await pathsOf(result)).toEqual(["keep", "sub", "sub/.kopiaignore", "sub/special.tmp"]);
    expect(result.stats).toMatchObject({ excludedFileCount: 2, excludedDirCount: 1, fileCount: 3 });
    expect(result).toMatchObject({ problems: [], warnings: [] });
  });

  it("what lies in a directory that says it is a cache, but not in one that only has such a file", async () => {
    file("cache/CACHEDIR.TAG", `${CACHE_DIRECTORY_SIGNATURE}\nmore`);
    file("cache/data");
    file("other/CACHEDIR.TAG", "Signature: nothing of the kind");
    expect(await pathsOf(await upload(tree({})))).toEqual(["cache", "other", "other/CACHEDIR.TAG"]);
    expect(await pathsOf(await upload(tree({ files: { ignoreCacheDirs: false } })))).toContain("cache/data");
  });

  it("files that are too large, also in folders with a policy of their own", async () => {
    for (const path of ["large", "sub/large"]) {
      file(path);
      truncateSync(join(folder, path), 1000);
    }
    expect(await pathsOf(await upload(tree({ files: { maxFileSize: 999 } })))).toEqual(["sub"]);
    expect(await pathsOf(await upload(tree({ files: { maxFileSize: 999 } }, { sub: { files: { maxFileSize: 1000 } } })))).toEqual(["sub", "sub/large"]);
  });

  it("nothing because of rules that cannot be read, which are named", async () => {
    file("a/.kopiaignore", "[\nb\n");
    file("a/b");
    file("a/c");
    mkdirSync(join(folder, "link"));
    symlinkSync("/etc/passwd", join(folder, "link", ".kopiaignore"));
    file("long/.kopiaignore");
    truncateSync(join(folder, "long", ".kopiaignore"), (1 << 20) + 1);
    const result = await upload(tree({}));
    expect(await pathsOf(result)).toEqual(["a", "a/.kopiaignore", "a/c", "link", "link/.kopiaignore", "long", "long/.kopiaignore"]);
    expect(result.warnings.map(({ path }) => path).sort()).toEqual(["a/.kopiaignore", "link/.kopiaignore", "long/.kopiaignore"]);
    await expect(upload(tree({ files: { ignore: ["["] } }))).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("how policies have files stored", () => {
  it("the compressor is chosen by extension and size, for each folder", async () => {
    const written: { length: number; compressor: string | undefined }[] = [];
    const memory = memoryRepository();
    repository = memory.repository;
    file("text.txt", "1".repeat(100));
    file("photo.jpg", "2".repeat(101));
    file("tiny.txt", "3".repeat(9));
    file("sub/other.txt", "4".repeat(102));
    const compression = { compressorName: "zstd", neverCompress: [".jpg"], minSize: 10 };
    await upload(tree({ compression }, { sub: { compression: { compressorName: "gzip" } } }));
    written.push(...memory.contents.writes);
    const of = (length: number): string | undefined => written.find((write) => write.length === length)?.compressor;
    expect([of(100), of(101), of(9), of(102)]).toEqual(["zstd", undefined, undefined, "gzip"]);
  });

  it("a snapshot that would equal the one before is not saved where a policy says so", async () => {
    file("a");
    const policies = tree({ retention: { ignoreIdenticalSnapshots: true } });
    const first = await upload(policies);
    expect(await upload(policies)).toMatchObject({ snapshotId: first.snapshotId, isIdentical: true });
    file("b");
    expect(await upload(policies)).toMatchObject({ isIdentical: false });
    expect((await repository.snapshots.list()).snapshots).toHaveLength(2);
  });

  it("what cannot be read is no error where a policy says so", async () => {
    file("bad");
    truncateSync(join(folder, "bad"), 1 << 21);
    file("good");
    const system: SystemCalls = {
      ...systemCalls,
      dataExtents: () => {
        throw new DrayError("PATH_IO", "Cannot find", { context: { errno: "EIO" } });
      },
    };
    expect((await upload(tree({}), { system })).stats).toMatchObject({ errorCount: 1, ignoredErrorCount: 0 });
    const result = await upload(tree({ errorHandling: { ignoreFileErrors: true } }), { system });
    expect(result).toMatchObject({ problems: [], stats: { errorCount: 0, ignoredErrorCount: 1 } });
    expect(result.rootEntry.summary).toMatchObject({ failed: 0, ignoredErrors: 1, errors: [{ path: "bad" }] });
  });
});
