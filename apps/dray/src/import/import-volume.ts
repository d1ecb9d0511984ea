/** Imports one volume of a backup into the repository of its namespace, which is made as Velero makes it where there is none. */
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { hasCode } from "@drayage/base";
import { importResticSnapshot, uploadSnapshot } from "@drayage/datapath";
import type { Repository } from "@drayage/repo";
import { repositoryPassword } from "../engine/repository-access.ts";
import type { TransferView } from "../engine/transfer-view.ts";
import { storageFromUrl } from "../repository-url.ts";
import type { BucketImport } from "./import-backups.ts";
import { tellResult } from "./import-plain.ts";
import type { MovedVolume } from "./planned-backup.ts";
import { withResticAt } from "./restic-source.ts";

/** As Velero's data mover names its snapshots, and looks them up (velero.md 8.3). */
const REQUESTER = "snapshot-data-upload-download";
const UPLOADER = "kopia";

export interface ImportedVolume {
  readonly volume: MovedVolume;
  readonly snapshotId: string;
  readonly bytes: number;
  readonly problemCount: number;
}

export async function importVolume(bucket: BucketImport, volume: MovedVolume, view: TransferView): Promise<ImportedVolume> {
  const { terminal, resticPassword, url, options } = bucket;
  const { namespace, facts, path, snapshotId } = volume;
  const { signal, clock } = terminal;
  return await withVolumeRepository(bucket, namespace, async (repository) => {
    const kept = {
      snapshotSource: { userName: "default", host: "default", path: `${REQUESTER}/${UPLOADER}/${namespace}/${facts.claimName}` },
      tags: { "snapshot-requester": REQUESTER, "snapshot-uploader": UPLOADER },
      description: "Kopia Uploader",
      pins: ["velero-pin"],
    };
    if (snapshotId === undefined) return { volume, snapshotId: await emptySnapshot(repository, kept, bucket), bytes: 0, problemCount: 0 };
    return await withResticAt({ url, below: path }, resticPassword, terminal, async (restic) => {
      const snapshot = await restic.findSnapshot(snapshotId, signal);
      const result = await view.run(() =>
        importResticSnapshot({
          ...{ from: restic, snapshot, repository, ...kept, isVolume: true, signal, clock, onProgress: view.onProgress },
          ...{ keepGoing: options.keepGoing === true, verify: options.verify !== false },
        }),
      );
      tellResult(view, { volume: `${namespace}/${facts.claimName}`, resticSnapshot: snapshotId }, result);
      return { volume, snapshotId: result.snapshotId, bytes: result.bytes, problemCount: result.problemCount };
    });
  });
}

/** `<prefix>/kopia/<namespace>` of the bucket. */
async function withVolumeRepository<T>(
  { url, prefix, options, terminal }: BucketImport,
  namespace: string,
  work: (repository: Repository) => Promise<T>,
): Promise<T> {
  const below = [...(prefix === "" ? [] : [prefix]), "kopia", namespace].join("/");
  const storage = await storageFromUrl(url, terminal, { below, create: true });
  try {
    const { createRepository, openRepository } = await import("@drayage/repo");
    const { clock, random, signal } = terminal;
    const opening = { password: await repositoryPassword(options, terminal), clock, random, signal };
    const repository = await openRepository(storage, opening).catch((error: unknown) => {
      if (!hasCode(error, "REPO_NOT_FOUND")) throw error;
      return createRepository(storage, { ...opening, velero: {} });
    });
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await storage.close();
  }
}

type Kept = Pick<Parameters<typeof uploadSnapshot>[0], "snapshotSource" | "tags" | "description" | "pins">;

/** The snapshot of a volume that had nothing in it. */
async function emptySnapshot(repository: Repository, kept: Kept, { terminal: { signal, clock } }: BucketImport): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), "dray-empty-"));
  try {
    await chmod(path, 0o755);
    const { snapshotId } = await uploadSnapshot({
      ...kept,
      repository,
      source: { kind: "directory", path },
      parent: "none",
      xattrs: false,
      parallel: 0,
      signal,
      clock,
    });
    return snapshotId;
  } finally {
    await rm(path, { recursive: true, force: true });
  }
}
