/** Directories that no parent has, of nothing but files: these go into jobs by their names, and jobs leave to the walk what is not for them. */
import { closeSync, linkSync, mkdirSync, mkdtempSync, openSync, rmSync, symlinkSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemCalls } from "@drayage/kernels";
import { createRepository, openRepository, parseSnapshotSource } from "@drayage/repo";
import { MemoryStorage, rememberingKeys } from "@drayage/repo/testing";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { type UploadSnapshotOptions, uploadSnapshot } from "./upload-snapshot.ts";

const snapshotSource = parseSnapshotSource("user@host:/data");
const deriveKey = rememberingKeys();
/** Contents have the same names in copies of one repository. */
const template = new MemoryStorage();
let root: string;

beforeAll(async () => {
  await (await createRepository(template, { password: "pw", deriveKey })).close();
});
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "unseen-"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(root, { recursive: true, force: true });
});

async function stored(options: Partial<UploadSnapshotOptions>, withLanes = true): Promise<object> {
  const storage = new MemoryStorage();
  for await (const { id } of template.list("")) await storage.put(id, await template.get(id));
  const repository = await openRepository(storage, { password: "pw", deriveKey });
  try {
    // Without lanes every file is looked at.
    if (!withLanes) Object.assign(repository.contents, { openLanes: undefined });
    const { rootEntry, stats, problems, warnings } = await uploadSnapshot({
      repository,
      source: { kind: "directory", path: root },
      snapshotSource,
      ...options,
    });
    const contents = [...repository.contents.list({ prefix: "" })].map(({ id, originalLength }) => `${id} ${originalLength}`).sort();
    return { rootEntry, stats, problems, warnings, contents };
  } finally {
    await repository.close();
  }
}

async function inEveryWay(): Promise<void> {
  const wanted = await stored({}, false);
  for (const parallel of [0, 2]) expect(await stored({ parallel })).toEqual(wanted);
  vi.stubEnv("DRAY_KERNELS", "portable");
  expect(await stored({ parallel: 0 })).toEqual(wanted);
}

describe("files that nobody looked at before", { timeout: 60_000 }, () => {
  it("are stored as if somebody had: several names, attributes, holes, contents of any size", async () => {
    mkdirSync(join(root, "few"));
    for (let i = 0; i < 40; i++) writeFileSync(join(root, "few", `file ${i}`), patternBytes(i * 31, i));
    // As large as a content can be without a cut, one byte less, and more; at the beginning, in the middle and at the end.
    for (const [name, length] of Object.entries({ "a large": 3 << 20, "file 2 edge": 2 << 20, "file 2 less": (2 << 20) - 1, "z large": 9 << 20 })) {
      writeFileSync(join(root, "few", name), patternBytes(length, 7));
    }
    linkSync(join(root, "few", "file 5"), join(root, "few", "file 5 again"));
    linkSync(join(root, "few", "a large"), join(root, "few", "large again"));
    const sparse = openSync(join(root, "few", "file 9 with a hole"), "w");
    writeSync(sparse, patternBytes(4096, 4), 0, 4096, 1 << 20);
    closeSync(sparse);
    truncateSync(join(root, "few", "file 9 with a hole"), 4 << 20);
    mkdirSync(join(root, "noted"));
    for (let i = 0; i < 4; i++) writeFileSync(join(root, "noted", `file ${i}`), "noted");
    systemCalls.setXattr(join(root, "noted", "file 2"), "user.note", patternBytes(20));
    await inEveryWay();
  });

  it("are looked at where something else is among them", async () => {
    mkdirSync(join(root, "mixed"));
    for (let i = 0; i < 4; i++) writeFileSync(join(root, "mixed", `file ${i}`), patternBytes(100, i));
    symlinkSync("file 1", join(root, "mixed", "link"));
    await inEveryWay();
  });
});
