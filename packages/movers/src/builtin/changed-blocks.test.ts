import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { CHANGED_BLOCKS_ENV, type ChangedBlocksAccess } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { BlockMetadataResponse, DeltaRequest, SnapshotMetadataClient } from "@drayage/protocols/snapshot-metadata";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { changedBlocksFromEnvironment, snapshotMetadataBlocks } from "./changed-blocks.ts";

const access: ChangedBlocksAccess = { address: "meta:443", caCert: "PEM", namespace: "velero", snapshot: "up-1", changeId: "snap-2", volumeId: "vol-1" };
const gone = new DrayError("CSI_UNAVAILABLE", "the driver restarts");

let folder: string;
let token: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "changed-blocks-"));
  token = join(folder, "token");
  writeFileSync(token, "first\n");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** A service whose calls end one after the other as they are given: with these ranges, and then with an error if there is one. */
function service(...calls: readonly { readonly ranges: readonly (readonly [offset: number, length: number])[]; readonly error?: Error }[]) {
  const asked: Partial<DeltaRequest>[] = [];
  let closed = 0;
  async function* answer(request: Partial<DeltaRequest>): AsyncGenerator<BlockMetadataResponse> {
    const { ranges, error } = calls[Math.min(asked.length, calls.length - 1)] ?? { ranges: [] };
    asked.push(request);
    writeFileSync(token, "renewed");
    for (const [offset, length] of ranges)
      yield { blockMetadataType: "VARIABLE_LENGTH", volumeCapacityBytes: "1000", blockMetadata: [{ byteOffset: String(offset), sizeBytes: String(length) }] };
    if (error !== undefined) throw error;
  }
  const client: SnapshotMetadataClient = { allocated: answer, delta: answer, close: () => closed++ };
  return { asked, connect: () => client, closed: () => closed };
}

async function rangesOf({ connect }: ReturnType<typeof service>, base?: string): Promise<[number, number][]> {
  const ranges: [number, number][] = [];
  for await (const { offset, length } of snapshotMetadataBlocks(access, token, connect).ranges(base, undefined)) ranges.push([offset, length]);
  return ranges;
}

describe("snapshotMetadataBlocks()", () => {
  it("asks for what was written, or for what changed since a snapshot of the storage", async () => {
    const written = service({ ranges: [[0, 10]] });
    expect(await rangesOf(written)).toEqual([[0, 10]]);
    expect(written.asked).toEqual([{ securityToken: "first", namespace: "velero", startingOffset: "0", maxResults: 0, snapshotName: "up-1" }]);
    const changed = service({ ranges: [[5, 1]] });
    await rangesOf(changed, "snap-1");
    expect(changed.asked).toMatchObject([{ baseSnapshotId: "snap-1", targetSnapshotName: "up-1" }]);
    expect([written.closed(), changed.closed()]).toEqual([1, 1]);
  });

  it("goes on where a stream broke, with the token of then, and tells nothing twice", async () => {
    const broken = service(
      {
        ranges: [
          [0, 10],
          [20, 10],
        ],
        error: gone,
      },
      {
        ranges: [
          [20, 15],
          [40, 5],
        ],
      },
    );
    expect(await rangesOf(broken)).toEqual([
      [0, 10],
      [20, 10],
      [30, 5],
      [40, 5],
    ]);
    expect(broken.asked).toMatchObject([
      { securityToken: "first", startingOffset: "0" },
      { securityToken: "renewed", startingOffset: "30" },
    ]);
  });

  it("gives up when nothing comes any more, and at once on an answer that is final", async () => {
    const dead = service({ ranges: [], error: gone });
    await expect(rangesOf(dead)).rejects.toBe(gone);
    expect([dead.asked.length, dead.closed()]).toEqual([5, 1]);
    const refused = new DrayError("CSI_NOT_FOUND", "nothing is known of it");
    const final = service({ ranges: [], error: refused });
    await expect(rangesOf(final)).rejects.toBe(refused);
    expect(final.asked.length).toBe(1);
  });
});

describe("changedBlocksFromEnvironment()", () => {
  it("is what the pod was told, nothing when it was told nothing", () => {
    expect(changedBlocksFromEnvironment({})).toBeUndefined();
    expect(changedBlocksFromEnvironment({ [CHANGED_BLOCKS_ENV]: JSON.stringify(access) })).toMatchObject({ changeId: "snap-2", volumeId: "vol-1" });
    for (const text of ["{", "null", "[]", JSON.stringify({ ...access, address: "" })])
      expect(() => changedBlocksFromEnvironment({ [CHANGED_BLOCKS_ENV]: text })).toThrow('Cannot read DRAYAGE_CHANGED_BLOCKS: "address" is not in it');
  });
});
