/**
 * Manifests: small JSON documents with labels (kopia-format.md 7.3). Snapshots, policies and the maintenance parameters are kept as such.
 *
 * Invariants:
 * - What was put or deleted is visible here at once and durable after `commit` followed by a flush of the contents.
 * - Entries of one id are merged by the later `modified`; the first one seen wins a tie. A tombstone hides its id.
 * - Compaction writes every live entry into one content and deletes the others in the same flush, so no reader sees neither.
 */
import { type Clock, DrayError, hasCode, mapLimit, type RandomSource, randomHex } from "@drayage/base";
import type { ContentId, ContentWriter } from "../content-port.ts";
import { decodeManifestContent, encodeManifestContent, type Labels, MANIFEST_PREFIX, type StoredManifest } from "./manifest-content.ts";

export interface ManifestMetadata {
  readonly id: string;
  readonly labels: Labels;
  readonly modifiedNs: bigint;
  /** Bytes of the raw JSON text. */
  readonly length: number;
}

export interface Manifest extends ManifestMetadata {
  /** Raw JSON text as it was stored. */
  readonly data: string;
}

export interface ManifestStoreOptions {
  readonly contents: ContentWriter;
  readonly clock: Clock;
  readonly random: RandomSource;
  /** Nothing is compacted, put or deleted. */
  readonly readOnly: boolean;
}

/** Kopia compacts from this many contents on. */
const COMPACT_FROM_CONTENTS = 16;
const ID_BYTES = 16;
const LOAD_PARALLEL = 8;
/** How often loading starts again when another client compacts meanwhile. */
const LOAD_ATTEMPTS_MAX = 5;

export class ManifestStore {
  readonly #options: ManifestStoreOptions;
  #committed: Map<string, StoredManifest> | undefined;
  readonly #pending = new Map<string, StoredManifest>();
  #lastModifiedNs = 0n;

  constructor(options: ManifestStoreOptions) {
    this.#options = options;
  }

  /** Reads what other clients have written since. Every manifest content is read again. */
  async refresh(signal?: AbortSignal): Promise<void> {
    await this.#options.contents.refresh(signal);
    await this.#load(signal);
  }

  /** The manifests that carry all of these labels, oldest first. */
  async find(labels: Labels, signal?: AbortSignal): Promise<ManifestMetadata[]> {
    const found = (await this.#live(signal)).filter((manifest) => Object.entries(labels).every(([key, value]) => manifest.labels[key] === value));
    return found.map(metadataOf).sort((a, b) => (a.modifiedNs < b.modifiedNs ? -1 : a.modifiedNs > b.modifiedNs ? 1 : a.id < b.id ? -1 : 1));
  }

  /** Throws REPO_MANIFEST_NOT_FOUND. */
  async get(id: string, signal?: AbortSignal): Promise<Manifest> {
    const manifest = this.#pending.get(id) ?? (await this.#loaded(signal)).get(id);
    if (manifest === undefined || manifest.deleted) throw manifestNotFound(id);
    return { ...metadataOf(manifest), data: manifest.data };
  }

  /** Stores a document under a new id, which is returned. `data` is JSON text and must be valid; labels must have a `type`. */
  async put(labels: Labels, data: string, signal?: AbortSignal): Promise<string> {
    this.#assertWritable();
    if ((labels["type"] ?? "") === "") throw new DrayError("INVARIANT", 'Cannot put a manifest: label "type" is missing');
    // Kopia reads what is stored here with every command; a malformed document would lock everybody out.
    JSON.parse(data);
    await this.#loaded(signal);
    const id = randomHex(this.#options.random, ID_BYTES);
    this.#pending.set(id, { id, labels, data, modifiedNs: this.#now(), deleted: false });
    return id;
  }

  /** Replaces all manifests of these labels by one; returns its id. */
  async replace(labels: Labels, data: string, signal?: AbortSignal): Promise<string> {
    const previous = await this.find(labels, signal);
    const id = await this.put(labels, data, signal);
    for (const manifest of previous) await this.delete(manifest.id, signal);
    return id;
  }

  /** Throws REPO_MANIFEST_NOT_FOUND. */
  async delete(id: string, signal?: AbortSignal): Promise<void> {
    this.#assertWritable();
    const { modifiedNs } = await this.get(id, signal);
    if ((await this.#loaded(signal)).has(id)) this.#pending.set(id, { id, labels: {}, data: "null", modifiedNs: this.#now(modifiedNs), deleted: true });
    else this.#pending.delete(id);
  }

  /** Writes what is pending as one content. Durable after the contents are flushed. */
  async commit(signal?: AbortSignal): Promise<void> {
    if (this.#pending.size === 0) return;
    const entries = [...this.#pending.values()];
    await this.#write(entries, signal);
    const committed = await this.#loaded(signal);
    for (const entry of entries) {
      if (entry.deleted) committed.delete(entry.id);
      else committed.set(entry.id, entry);
      if (this.#pending.get(entry.id) === entry) this.#pending.delete(entry.id);
    }
  }

  /** Writes every live entry into one content and deletes the others. Durable after the contents are flushed. */
  async compact(signal?: AbortSignal): Promise<void> {
    this.#assertWritable();
    const { contents } = this.#options;
    const before = this.#contentIds();
    await this.#load(signal, before);
    const kept = before.length === 0 ? undefined : await this.#write([...(await this.#loaded(signal)).values()], signal);
    // An equal content may have been there already: then it stays.
    for (const id of before) if (id !== kept) await contents.delete(id);
  }

  async #live(signal: AbortSignal | undefined): Promise<StoredManifest[]> {
    const committed = [...(await this.#loaded(signal)).values()].filter((manifest) => !this.#pending.has(manifest.id));
    return [...committed, ...[...this.#pending.values()].filter((manifest) => !manifest.deleted)];
  }

  async #loaded(signal: AbortSignal | undefined): Promise<Map<string, StoredManifest>> {
    if (this.#committed === undefined) await this.#load(signal);
    return this.#committed as Map<string, StoredManifest>;
  }

  async #load(signal: AbortSignal | undefined, ids?: readonly ContentId[]): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        await this.#loadOnce(ids ?? this.#contentIds(), signal);
        break;
      } catch (error) {
        // Another client compacted between the listing and the reading: what it wrote is in the index by now.
        if (!hasCode(error, "REPO_CONTENT_NOT_FOUND") || attempt >= LOAD_ATTEMPTS_MAX) throw error;
        await this.#options.contents.refresh(signal);
      }
    }
    if (!this.#options.readOnly && ids === undefined && this.#contentIds().length >= COMPACT_FROM_CONTENTS) await this.compact(signal);
  }

  async #loadOnce(ids: readonly ContentId[], signal: AbortSignal | undefined): Promise<void> {
    const { contents } = this.#options;
    // Each session left one of them, in a pack among listings that nobody may want.
    const lists = await mapLimit(ids, LOAD_PARALLEL, async (id) => decodeManifestContent(await contents.get(id, signal, { aroundBytes: 0 }), id), signal);
    const merged = new Map<string, StoredManifest>();
    for (const entry of lists.flat()) {
      const other = merged.get(entry.id);
      if (other === undefined || entry.modifiedNs > other.modifiedNs) merged.set(entry.id, entry);
    }
    for (const entry of merged.values()) if (entry.deleted) merged.delete(entry.id);
    this.#committed = merged;
  }

  #contentIds(): ContentId[] {
    return [...this.#options.contents.list({ prefix: MANIFEST_PREFIX })].filter((info) => !info.deleted).map((info) => info.id);
  }

  async #write(entries: readonly StoredManifest[], signal: AbortSignal | undefined): Promise<ContentId> {
    const written = await this.#options.contents.write(encodeManifestContent(entries), { prefix: MANIFEST_PREFIX, compressor: "zstd-fastest" }, signal);
    return written.id;
  }

  /** Later than anything this store gave out and than `after`, so that a delete always wins over the put before it, whoever's clock was ahead. */
  #now(after = 0n): bigint {
    const now = this.#options.clock.nowNs();
    const earliest = (after > this.#lastModifiedNs ? after : this.#lastModifiedNs) + 1n;
    this.#lastModifiedNs = now > earliest ? now : earliest;
    return this.#lastModifiedNs;
  }

  #assertWritable(): void {
    if (this.#options.readOnly) throw new DrayError("REPO_READ_ONLY", "Cannot change manifests: the repository was opened for reading only");
  }
}

export function manifestNotFound(id: string): DrayError {
  return new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot find manifest "${id}" in the repository`, { context: { manifest: id } });
}

function metadataOf(manifest: StoredManifest): ManifestMetadata {
  return { id: manifest.id, labels: manifest.labels, modifiedNs: manifest.modifiedNs, length: Buffer.byteLength(manifest.data) };
}
