/** Repositories that kopia 0.22.3 wrote (`tools/golden-repositories.ts`), read to the last byte where kopia is not. */
import { createHash } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fromBase64 } from "@drayage/base";
import { MemoryStorage } from "@drayage/blob/testing";
import { describe, expect, it } from "vitest";
import { openRepository } from "./open-repository.ts";
import type { Repository } from "./repository.ts";
import type { DirectoryEntry } from "./snapshot/directory-entry.ts";
import { DirectoryListing } from "./snapshot/directory-listing.ts";

interface Golden {
  /** How it was made. */
  readonly commands: readonly string[];
  readonly password: string;
  /** SHA-256 by path. */
  readonly files: Readonly<Record<string, string>>;
  readonly blobs: Readonly<Record<string, string>>;
}

const folder = join(import.meta.dirname, "../../../test/fixtures/kopia-0.22.3/repositories");

async function digests(repository: Repository, root: DirectoryEntry): Promise<Record<string, string>> {
  const found: Record<string, string> = {};
  const walk = async (entry: DirectoryEntry, path: string): Promise<void> => {
    if (entry.type === "directory") {
      for await (const child of new DirectoryListing(repository.objects, entry.objectId).entries())
        await walk(child, path === "" ? child.name : `${path}/${child.name}`);
      return;
    }
    const hash = createHash("sha256");
    for await (const piece of repository.objects.pieces(entry.objectId)) hash.update(piece);
    found[path] = hash.digest("hex");
  };
  await walk(root, "");
  return found;
}

describe("a repository that kopia made", () => {
  it.each(readdirSync(folder).map((name) => name.replace(".json", "")))("%s is read to the last byte", async (name) => {
    const golden = JSON.parse(readFileSync(join(folder, `${name}.json`), "utf8")) as Golden;
    const storage = new MemoryStorage();
    for (const [id, text] of Object.entries(golden.blobs)) await storage.put(id, fromBase64(text) ?? new Uint8Array());
    const repository = await openRepository(storage, { password: golden.password, readOnly: true });
    try {
      const { snapshots, unreadable } = await repository.snapshots.list();
      expect(unreadable).toEqual([]);
      expect(snapshots).toHaveLength(1);
      expect(await digests(repository, snapshots[0]?.rootEntry as DirectoryEntry)).toEqual(golden.files);
      for (const { id } of repository.contents.list()) await repository.contents.get(id);
    } finally {
      await repository.close();
    }
  });
});
