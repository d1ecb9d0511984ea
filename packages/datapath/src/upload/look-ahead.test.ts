import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DrayError } from "@drayage/base";
import type { DirectoryScan } from "@drayage/kernels";
import { createRepository, parseSnapshotSource } from "@drayage/repo";
import { MemoryStorage } from "@drayage/repo/testing";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { patternBytes } from "../testing/index.ts";
import { withLookAhead } from "./look-ahead.ts";
import { type UploadResult, uploadSnapshot } from "./upload-snapshot.ts";

let root: string;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "ahead-"));
  mkdirSync(join(root, "below", "d"), { recursive: true });
  for (let i = 0; i < 60; i++) writeFileSync(join(root, "below", "d", `file ${i}`), patternBytes(100 + i, i));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

const reading = () => ({ source: { kind: "directory", path: root }, parallel: 2 }) as const;

describe("a look ahead of an upload", () => {
  it("is given up with what it was for, whatever becomes of that", async () => {
    let given: DirectoryScan | undefined;
    const failing = withLookAhead(reading(), async (scan) => {
      given = scan;
      throw new DrayError("REPO_WRONG_PASSWORD", "the password is wrong");
    });
    await expect(failing).rejects.toThrow("the password is wrong");
    await given?.ended;
    expect(given).toBeDefined();
  });

  it("is not taken of a device, of nothing, or without a processor for it", async () => {
    const given = async (options: Partial<Parameters<typeof withLookAhead>[0]>): Promise<boolean> =>
      await withLookAhead({ ...reading(), ...options }, async (scan) => scan !== undefined);
    expect(await given({})).toBe(true);
    expect(await given({ source: { kind: "block", path: "/dev/null" } })).toBe(false);
    expect(await given({ parallel: 1 })).toBe(false);
    expect(await given({ cpu: 1.5 })).toBe(false);
    // Who reads it finds that out.
    expect(await given({ source: { kind: "directory", path: join(root, "gone") } })).toBe(true);
  });

  it("leaves what comes and goes between it and the walk to the walk", async () => {
    await using repository = Object.assign(await createRepository(new MemoryStorage(), { password: "pw" }), {
      [Symbol.asyncDispose]: (): Promise<void> => repository.close(),
    });
    const snapshotSource = parseSnapshotSource("user@host:/data");
    const onParents = vi.fn();
    const upload = (scan: DirectoryScan | undefined, parent: "auto" | "none"): Promise<UploadResult> =>
      uploadSnapshot({ repository, snapshotSource, clock: repository.clock, ...reading(), parent, scan, onParents });
    await upload(undefined, "none");
    expect(onParents).not.toHaveBeenCalled();
    const seen = await withLookAhead(reading(), async (scan) => {
      await scan?.ended;
      writeFileSync(join(root, "below", "d", "come"), "come");
      rmSync(join(root, "below", "d", "file 7"));
      return await upload(scan, "auto");
    });
    expect(onParents).toHaveBeenCalledOnce();
    expect(seen.stats).toMatchObject({ fileCount: 60, cachedFiles: 59 });
    expect(seen.rootEntry).toEqual((await upload(undefined, "none")).rootEntry);
  });
});
