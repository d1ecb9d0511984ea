import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { type GoldenName, golden, goldenStore, openGolden } from "@drayage/restic/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { verifyRestic } from "../verify/verify-restic.ts";
import { findInResticSnapshot, ResticSource, resticRootOf } from "./restic-source.ts";
import { type RestoreFromOptions, type RestoreResult, restoreFrom } from "./restore-snapshot.ts";

type Store = Awaited<ReturnType<typeof goldenStore>>;

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-restic-source-"));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function restore(name: GoldenName, options: Partial<RestoreFromOptions> = {}, store?: Store): Promise<RestoreResult> {
  const repository = await openGolden(name, store);
  const snapshot = await repository.findSnapshot("latest");
  const target = { kind: "directory", path: join(folder, "target") } as const;
  return await restoreFrom({ source: new ResticSource(repository), root: resticRootOf(snapshot), keepRootAttributes: true, target, ...options });
}

/** As byte strings. */
function pathsBelow(root: string, path = ""): string[] {
  return readdirSync(Buffer.from(`${root}/${path}`, "latin1"), { withFileTypes: true, encoding: "buffer" }).flatMap((entry) => {
    const below = path + entry.name.toString("latin1");
    return [below, ...(entry.isDirectory() ? pathsBelow(root, `${below}/`) : [])];
  });
}

async function flipPackOf(store: Store, path: string): Promise<string> {
  const repository = await openGolden("v2", store);
  const entry = await findInResticSnapshot(repository, await repository.findSnapshot("latest"), path);
  const contents = entry.ref !== undefined && "contents" in entry.ref ? entry.ref.contents : new Uint8Array(32);
  const place = (await repository.index()).place("data", contents);
  const key = repository.layout.pack(place?.pack ?? "");
  const bytes = await store.get(key);
  await store.put(key, bytes.with((place?.offset ?? 0) + 20, (bytes[(place?.offset ?? 0) + 20] ?? 0) ^ 1));
  return place?.pack ?? "";
}

describe("a restore from restic", () => {
  it.each<GoldenName>(["v1", "v2", "v2-off", "v2-max", "upgraded", "pruned"])("%s: brings names and bytes back, hard links as links", async (name) => {
    const { problemCount, progress } = await restore(name);
    expect(problemCount).toBe(0);
    const facts = golden(name).snapshots.at(-1) ?? {};
    expect(pathsBelow(join(folder, "target")).sort()).toEqual(
      Object.keys(facts)
        .filter((path) => path !== ".")
        .sort(),
    );
    expect(progress.filesDone).toBe(Object.values(facts).filter(({ type }) => type === "file").length);
    expect(readFileSync(join(folder, "target", "compressible"), "utf8")).toBe("the same again\n".repeat(400));
    expect(statSync(join(folder, "target", "dir", "hard-link")).ino).toBe(statSync(join(folder, "target", "compressible")).ino);
  });

  it("leaves owner, mode and times of the target as they are, and attributes that are not wanted", async () => {
    const repository = await openGolden("v2");
    const [withAll, without] = [new ResticSource(repository), new ResticSource(repository, { keepsAttribute: () => false })];
    const root = resticRootOf(await repository.findSnapshot("latest"));
    const attributesOf = async (source: ResticSource): Promise<number> => {
      let count = 0;
      for await (const batch of source.list(root).batches()) for (const { xattrs } of batch) count += xattrs?.length ?? 0;
      return count;
    };
    expect([await attributesOf(withAll), await attributesOf(without)]).toEqual([2, 0]);
    await restore("v2");
    expect(statSync(join(folder, "target")).mode & 0o777).toBe(0o700);
  });

  it("names the files that a damaged pack costs, and restores the others", async () => {
    const store = await goldenStore("v2");
    const pack = await flipPackOf(store, "compressible");
    const result = await restore("v2", { keepGoing: true }, store);
    expect(result.problems.map(({ path, code }) => [path, code])).toEqual([
      ["compressible", "REPO_CORRUPT"],
      ["dir/hard-link", "REPO_CORRUPT"],
    ]);
    expect(result.problems[0]?.message).toContain(pack);
    expect(readFileSync(join(folder, "target", "a"), "utf8")).toBe("a");
    expect(readdirSync(join(folder, "target"))).not.toContain("compressible");
  });

  it("ends at the first such file when it is not to go on", async () => {
    const store = await goldenStore("v2");
    await flipPackOf(store, "compressible");
    await expect(restore("v2", {}, store)).rejects.toMatchObject({ code: "REPO_CORRUPT" });
  });

  it("finds an entry by its path, and says which part is not there", async () => {
    const repository = await openGolden("v2");
    const snapshot = await repository.findSnapshot("latest");
    expect(await findInResticSnapshot(repository, snapshot, "/dir/./link")).toMatchObject({ type: "symlink", linkTarget: Buffer.from("../a") });
    expect(await findInResticSnapshot(repository, snapshot, "device")).toMatchObject({ type: "char", device: { major: 5, minor: 1 } });
    await expect(findInResticSnapshot(repository, snapshot, "dir/nothing/x")).rejects.toMatchObject({
      code: "PATH_NOT_FOUND",
      message: `Cannot find "dir/nothing" in snapshot "${snapshot.id}": it is not there`,
    });
  });
});

describe("verification of restic", () => {
  async function verify(store: Store, mode: "quick" | "full") {
    const repository = await openGolden("v2", store);
    const { snapshots } = await repository.listSnapshots();
    return { ...(await verifyRestic({ repository, snapshots, mode })), id: snapshots[0]?.id ?? "" };
  }

  it("finds nothing wrong with what is whole", async () => {
    for (const mode of ["quick", "full"] as const) {
      const report = await verify(await goldenStore("v2"), mode);
      expect(report).toMatchObject({ mode, snapshots: 1, problems: [], problemCount: 0, files: 8 });
    }
  });

  it("names a damaged pack and the files it costs, when it reads everything", async () => {
    const store = await goldenStore("v2");
    const pack = await flipPackOf(store, "compressible");
    expect((await verify(store, "quick")).problemCount).toBe(0);
    const { problems, id } = await verify(store, "full");
    expect(problems.map(({ path }) => path)).toEqual([`data/${pack.slice(0, 2)}/${pack}`, `${id}/compressible`, `${id}/dir/hard-link`]);
  });

  it("names a missing pack and a short one, and the files they cost, from the listing alone", async () => {
    for (const [spoil, why] of [
      [(store: Store, key: string) => store.delete(key), "is missing"],
      [async (store: Store, key: string) => store.put(key, (await store.get(key)).slice(0, 50)), "has 50 bytes"],
    ] as const) {
      const store = await goldenStore("v2");
      const repository = await openGolden("v2", store);
      const entry = await findInResticSnapshot(repository, await repository.findSnapshot("latest"), "a");
      const contents = entry.ref !== undefined && "contents" in entry.ref ? entry.ref.contents : new Uint8Array(32);
      const pack = (await repository.index()).place("data", contents)?.pack ?? "";
      await spoil(store, repository.layout.pack(pack));
      const { problems, id } = await verify(store, "quick");
      expect(problems[0]).toMatchObject({ path: `data/${pack.slice(0, 2)}/${pack}`, message: expect.stringContaining(why) as string });
      expect(problems.map(({ path }) => path)).toContain(`${id}/a`);
    }
  });

  it("names a listing that cannot be read by the directory it is of", async () => {
    const store = await goldenStore("v2");
    const repository = await openGolden("v2", store);
    const entry = await findInResticSnapshot(repository, await repository.findSnapshot("latest"), "dir");
    const tree = entry.ref !== undefined && "tree" in entry.ref ? entry.ref.tree : new Uint8Array(32);
    const { pack, offset } = (await repository.index()).place("tree", tree) ?? { pack: "", offset: 0 };
    const key = repository.layout.pack(pack);
    const bytes = await store.get(key);
    await store.put(key, bytes.with(offset + 20, (bytes[offset + 20] ?? 0) ^ 1));
    const { problems, id } = await verify(store, "quick");
    expect(problems.map(({ path }) => path)).toEqual([`${id}/dir`]);
  });
});
