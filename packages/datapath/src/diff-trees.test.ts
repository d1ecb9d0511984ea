import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, utimesSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Repository, textOfByteString } from "@drayage/repo";
import { memoryRepository } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { diffTrees } from "./diff-trees.ts";
import { patternBytes } from "./testing/index.ts";
import { type UploadResult, uploadSnapshot } from "./upload/upload-snapshot.ts";

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "diff-"));
  mkdirSync(join(folder, "dir", "deep"), { recursive: true });
  mkdirSync(join(folder, "same"));
  writeFileSync(join(folder, "same", "file"), "same");
  writeFileSync(join(folder, "dir", "file"), "one");
  writeFileSync(join(folder, "dir", "deep", "gone"), "gone");
  writeFileSync(join(folder, "dir", "becomes"), "a file");
  symlinkSync("a", join(folder, "link"));
  for (const path of ["dir", "dir/deep", "same"]) utimesSync(join(folder, path), 1, 1);
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function upload(repository: Repository): Promise<UploadResult> {
  return uploadSnapshot({ repository, source: { kind: "directory", path: folder }, snapshotSource: { userName: "u", host: "h", path: "/d" }, parent: "none" });
}

async function differences(before: Repository, a: UploadResult, after: Repository, b: UploadResult): Promise<string[]> {
  const found: string[] = [];
  for await (const { difference, path, kind, attributes } of diffTrees({ repository: before, root: a.rootEntry }, { repository: after, root: b.rootEntry })) {
    found.push([difference, kind, `/${textOfByteString(path)}`, ...attributes].join(" "));
  }
  return found;
}

describe("the differences of two snapshots", () => {
  it("are none between a snapshot and itself, nor between two repositories of one tree", async () => {
    const { repository } = memoryRepository();
    const first = await upload(repository);
    expect(await differences(repository, first, repository, first)).toEqual([]);
    const { repository: other } = memoryRepository({ splitter: "DYNAMIC-1M-RABINKARP" });
    expect(await differences(repository, first, other, await upload(other))).toEqual([]);
  });

  it("are what was added, removed and changed, content and attributes apart", async () => {
    const { repository } = memoryRepository();
    const first = await upload(repository);
    writeFileSync(join(folder, "dir", "file"), "two");
    utimesSync(join(folder, "dir", "file"), 5, 5);
    chmodSync(join(folder, "same", "file"), 0o600);
    rmSync(join(folder, "dir", "deep"), { recursive: true });
    rmSync(join(folder, "dir", "becomes"));
    mkdirSync(join(folder, "dir", "becomes"));
    writeFileSync(join(folder, "dir", "becomes", "new"), "");
    writeFileSync(Buffer.concat([Buffer.from(`${folder}/dir/caf`), Buffer.from([0xe9])]), "");
    utimesSync(join(folder, "dir"), 1, 1);
    rmSync(join(folder, "link"));
    symlinkSync("b", join(folder, "link"));
    expect((await differences(repository, first, repository, await upload(repository))).filter((line) => !line.startsWith("attributes directory / "))).toEqual([
      "added directory /dir/becomes",
      "added file /dir/becomes/new",
      "removed directory /dir/deep",
      "removed file /dir/deep/gone",
      "removed file /dir/becomes",
      "added file /dir/caf\ufffd",
      "content file /dir/file mtime",
      "attributes file /same/file mode",
      "content symlink /link mtime",
    ]);
  });

  it("equal bytes that were cut in two ways are no difference, bytes of equal length that differ are one", async () => {
    const { repository } = memoryRepository();
    const { repository: other } = memoryRepository({ splitter: "DYNAMIC-256K-BUZHASH" });
    writeFileSync(join(folder, "large"), patternBytes(1_500_000));
    utimesSync(join(folder, "large"), 9, 9);
    const first = await upload(repository);
    expect(await differences(repository, first, other, await upload(other))).toEqual([]);
    writeFileSync(join(folder, "large"), patternBytes(1_500_000).fill(7, 1_400_000, 1_400_001));
    utimesSync(join(folder, "large"), 9, 9);
    utimesSync(folder, 1, 1);
    expect(await differences(repository, first, other, await upload(other))).toContain("content file /large");
  });
});
