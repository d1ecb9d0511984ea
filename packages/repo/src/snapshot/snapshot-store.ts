/** Snapshots as manifests of a repository: saved, found, listed, pinned, deleted. Changes are durable after the repository is flushed. */
import { DrayError, hasCode } from "@drayage/base";
import type { Labels } from "../manifest/manifest-content.ts";
import type { ManifestStore } from "../manifest/manifest-store.ts";
import { decodeSnapshot, encodeSnapshot, labelsOfSnapshot, SNAPSHOT_TYPE, type Snapshot, type SnapshotContent } from "./snapshot-manifest.ts";
import { labelsOfSource, type SnapshotSource } from "./snapshot-source.ts";

export interface FindSnapshotsOptions {
  readonly source?: SnapshotSource;
  /** All of these must be there with these values. */
  readonly tags?: Labels;
  readonly signal?: AbortSignal | undefined;
}

export interface ListedSnapshots {
  /** By source, then by start. */
  readonly snapshots: readonly Snapshot[];
  /** Manifests that cannot be read; garbage collection takes what only they refer to. */
  readonly unreadable: readonly { readonly id: string; readonly error: unknown }[];
}

const ID_SHOWN_MIN = 6;
/** As restic has it. */
export const LATEST = "latest";

export class SnapshotStore {
  readonly #manifests: ManifestStore;

  constructor(manifests: ManifestStore) {
    this.#manifests = manifests;
  }

  /** Stores a snapshot and returns its id. */
  async save(content: SnapshotContent, signal?: AbortSignal): Promise<string> {
    return await this.#manifests.put(labelsOfSnapshot(content), encodeSnapshot(content), signal);
  }

  /** Throws REPO_MANIFEST_NOT_FOUND, also when the manifest of that id is none of a snapshot; REPO_CORRUPT. */
  async get(id: string, signal?: AbortSignal): Promise<Snapshot> {
    const manifest = await this.#manifests.get(id, signal).catch((error: unknown) => {
      throw hasCode(error, "REPO_MANIFEST_NOT_FOUND") ? snapshotNotFound(id) : error;
    });
    if (manifest.labels["type"] !== SNAPSHOT_TYPE) throw snapshotNotFound(id);
    return decodeSnapshot(manifest);
  }

  /** The snapshot whose id is `id` or, where only one does, begins with it; for `latest` the complete one that began last. Throws REPO_MANIFEST_NOT_FOUND, USAGE when several do. */
  async resolve(id: string, signal?: AbortSignal): Promise<Snapshot> {
    if (id === LATEST) return await this.#latest(signal);
    if (id.length >= 32 || id.length < ID_SHOWN_MIN) return await this.get(id, signal);
    const matches = (await this.#manifests.find({ type: SNAPSHOT_TYPE }, signal)).filter((manifest) => manifest.id.startsWith(id));
    if (matches.length > 1) throw new DrayError("USAGE", `Cannot choose snapshot "${id}": ${matches.length} ids begin so`, { hint: "Give more of the id." });
    return await this.get(matches[0]?.id ?? id, signal);
  }

  async #latest(signal?: AbortSignal): Promise<Snapshot> {
    const { snapshots } = await this.list({ signal });
    const complete = snapshots.filter(({ incomplete }) => incomplete === undefined);
    const newest = complete.reduce<Snapshot | undefined>((best, next) => (best === undefined || next.startTimeNs >= best.startTimeNs ? next : best), undefined);
    if (newest === undefined) throw snapshotNotFound(LATEST);
    return newest;
  }

  async list({ source, tags, signal }: FindSnapshotsOptions = {}): Promise<ListedSnapshots> {
    const labels = { ...tags, ...(source === undefined ? {} : labelsOfSource(source)), type: SNAPSHOT_TYPE };
    const snapshots: Snapshot[] = [];
    const unreadable: { id: string; error: unknown }[] = [];
    for (const { id } of await this.#manifests.find(labels, signal)) {
      try {
        snapshots.push(await this.get(id, signal));
      } catch (error) {
        if (!hasCode(error, "REPO_CORRUPT")) throw error;
        unreadable.push({ id, error });
      }
    }
    return { snapshots: snapshots.sort(bySourceAndStart), unreadable };
  }

  /** Replaces a snapshot's manifest; since ids are given by manifests, the new one is another. */
  async update(snapshot: Snapshot, signal?: AbortSignal): Promise<string> {
    const id = await this.save(snapshot, signal);
    await this.#manifests.delete(snapshot.id, signal);
    return id;
  }

  /** Throws REPO_MANIFEST_NOT_FOUND. Space comes back through maintenance. */
  async delete(id: string, signal?: AbortSignal): Promise<void> {
    await this.get(id, signal).catch((error: unknown) => {
      // A manifest that cannot be read can still be deleted.
      if (!hasCode(error, "REPO_CORRUPT")) throw error;
    });
    await this.#manifests.delete(id, signal);
  }
}

function snapshotNotFound(id: string): DrayError {
  return new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot find snapshot "${id}" in the repository`, {
    context: { snapshot: id },
    hint: "`dray snapshot list` shows the snapshots that there are.",
  });
}

function bySourceAndStart(a: Snapshot, b: Snapshot): number {
  const sourceA = `${a.source.userName}@${a.source.host}:${a.source.path}`;
  const sourceB = `${b.source.userName}@${b.source.host}:${b.source.path}`;
  if (sourceA !== sourceB) return sourceA < sourceB ? -1 : 1;
  return a.startTimeNs < b.startTimeNs ? -1 : a.startTimeNs > b.startTimeNs ? 1 : 0;
}
