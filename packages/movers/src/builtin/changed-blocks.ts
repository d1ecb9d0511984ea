/** Asks the SnapshotMetadata service of a cluster which parts of a device changed (velero.md 12). */
import { readFile } from "node:fs/promises";
import { CHANGED_BLOCKS_ENV, CHANGED_BLOCKS_TOKEN_PATH, type ChangedBlocksAccess } from "@drayage/api";
import { DrayError } from "@drayage/base";
import type { ChangedBlocks } from "@drayage/datapath";
import { type BlockMetadataResponse, connectSnapshotMetadata } from "@drayage/protocols/snapshot-metadata";

/** Of one upload, the calls that are made: a stream that breaks is gone on with from where it was. */
const CALLS_MAX = 5;

/** What the pod was told, if anything. Throws VALIDATION_FAILED when it cannot be understood. */
export function changedBlocksFromEnvironment(env: Readonly<Record<string, string | undefined>> = process.env): ChangedBlocks | undefined {
  const text = env[CHANGED_BLOCKS_ENV];
  return text === undefined || text === "" ? undefined : snapshotMetadataBlocks(parse(text), CHANGED_BLOCKS_TOKEN_PATH);
}

/** `tokenPath` is read for every call: the kubelet renews what is in it. */
export function snapshotMetadataBlocks(
  access: ChangedBlocksAccess,
  tokenPath: string,
  connect: typeof connectSnapshotMetadata = connectSnapshotMetadata,
): ChangedBlocks {
  const { address, caCert, namespace, snapshot, changeId, volumeId } = access;
  return {
    changeId,
    volumeId,
    async *ranges(base, signal) {
      const client = connect({ address, caCert });
      let end = 0;
      try {
        for (let call = 1; ; call++) {
          const securityToken = (await readFile(tokenPath, "utf8")).trim();
          const from = { securityToken, namespace, startingOffset: String(end), maxResults: 0 };
          const responses =
            base === undefined
              ? client.allocated({ ...from, snapshotName: snapshot }, signal)
              : client.delta({ ...from, baseSnapshotId: base, targetSnapshotName: snapshot }, signal);
          const before = end;
          try {
            for await (const response of responses) {
              for (const range of rangesOf(response)) {
                // A call that goes on begins with a block that was told in part.
                if (range.offset + range.length <= end) continue;
                const offset = Math.max(range.offset, call > 1 ? end : 0);
                yield { offset, length: range.offset + range.length - offset };
                end = range.offset + range.length;
              }
            }
            return;
          } catch (error) {
            if (!isPassing(error) || (call >= CALLS_MAX && end === before)) throw error;
          }
        }
      } finally {
        client.close();
      }
    },
  };
}

function* rangesOf({ blockMetadata }: BlockMetadataResponse): Generator<{ readonly offset: number; readonly length: number }> {
  for (const { byteOffset, sizeBytes } of blockMetadata) yield { offset: Number(byteOffset), length: Number(sizeBytes) };
}

function isPassing(error: unknown): boolean {
  return error instanceof DrayError && error.code === "CSI_UNAVAILABLE";
}

function parse(text: string): ChangedBlocksAccess {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = undefined;
  }
  const wanted = ["address", "caCert", "namespace", "snapshot", "changeId", "volumeId"] as const;
  const object = typeof value === "object" && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
  const missing = wanted.find((name) => typeof object[name] !== "string" || object[name] === "");
  if (missing !== undefined) throw new DrayError("VALIDATION_FAILED", `Cannot read ${CHANGED_BLOCKS_ENV}: "${missing}" is not in it`);
  return object as unknown as ChangedBlocksAccess;
}
