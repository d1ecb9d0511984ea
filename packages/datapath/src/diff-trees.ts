/**
 * What differs between two entries of snapshots, and everything below them. Listings are in one order, so two are streamed side by side and never held whole; what has the same object
 * id is the same to the last byte and is not read.
 */
import {
  compareEntries,
  type DirectoryEntry,
  DirectoryListing,
  type ListingExtension,
  noListingExtension,
  type Repository,
  type SpecialEntry,
} from "@drayage/repo";
import { below } from "./upload/source-entry.ts";

export type Difference = "added" | "removed" | "content" | "attributes";

export interface TreeDifference {
  readonly difference: Difference;
  /** A byte string below the roots, empty for the roots themselves. */
  readonly path: string;
  readonly kind: DirectoryEntry["type"] | SpecialEntry["kind"];
  readonly before?: DirectoryEntry;
  readonly after?: DirectoryEntry;
  /** Names of the attributes that differ, for `attributes` and `content`. */
  readonly attributes: readonly string[];
}

/** One side: where it is read from, and what of it is compared. */
export interface TreeSide {
  readonly repository: Repository;
  readonly root: DirectoryEntry;
}

/** Differences in the order of listings, depth first. The names of the roots do not count. Throws REPO_CORRUPT, REPO_CONTENT_NOT_FOUND. */
export async function* diffTrees(before: TreeSide, after: TreeSide, signal?: AbortSignal): AsyncGenerator<TreeDifference, void, undefined> {
  yield* diffPair(new Comparison(before.repository, after.repository, signal), "", before.root, { ...after.root, name: before.root.name });
}

class Comparison {
  readonly #before: Repository;
  readonly #after: Repository;
  readonly signal: AbortSignal | undefined;

  constructor(before: Repository, after: Repository, signal: AbortSignal | undefined) {
    this.#before = before;
    this.#after = after;
    this.signal = signal;
  }

  /** Whether equal object ids mean equal bytes: those of two repositories are hashed under two keys. */
  get sameKeys(): boolean {
    return this.#before === this.#after || Buffer.from(this.#before.uniqueId).equals(this.#after.uniqueId);
  }

  listing(side: "before" | "after", entry: DirectoryEntry): DirectoryListing {
    return new DirectoryListing((side === "before" ? this.#before : this.#after).objects, entry.objectId, this.signal);
  }

  /** Whether two files hold the same bytes. */
  async sameBytes(before: DirectoryEntry, after: DirectoryEntry): Promise<boolean> {
    if (before.size !== after.size) return false;
    if (before.objectId === after.objectId && this.sameKeys) return true;
    // The same bytes cut in two ways have two ids.
    const options = this.signal === undefined ? {} : { signal: this.signal };
    const right = new Bytes(this.#after.objects.pieces(after.objectId, options));
    for await (const piece of this.#before.objects.pieces(before.objectId, options)) if (!(await right.begins(piece))) return right.close();
    return await right.isAtEnd();
  }
}

/** A stream of pieces that is compared with another one. */
class Bytes {
  readonly #pieces: AsyncIterator<Uint8Array>;
  #held: Uint8Array = new Uint8Array(0);

  constructor(pieces: AsyncIterable<Uint8Array>) {
    this.#pieces = pieces[Symbol.asyncIterator]();
  }

  async begins(wanted: Uint8Array): Promise<boolean> {
    for (let at = 0; at < wanted.length; ) {
      if (this.#held.length === 0 && !(await this.#fill())) return false;
      const count = Math.min(this.#held.length, wanted.length - at);
      if (Buffer.compare(this.#held.subarray(0, count), wanted.subarray(at, at + count)) !== 0) return false;
      this.#held = this.#held.subarray(count);
      at += count;
    }
    return true;
  }

  async isAtEnd(): Promise<boolean> {
    return this.#held.length === 0 && !(await this.#fill());
  }

  async close(): Promise<false> {
    await this.#pieces.return?.();
    return false;
  }

  async #fill(): Promise<boolean> {
    for (;;) {
      const next = await this.#pieces.next();
      if (next.done === true) return false;
      this.#held = next.value;
      if (next.value.length > 0) return true;
    }
  }
}

async function* diffPair(compare: Comparison, path: string, before: DirectoryEntry, after: DirectoryEntry): AsyncGenerator<TreeDifference, void, undefined> {
  if (before.type !== after.type) {
    yield* all(compare, "removed", path, before);
    yield* all(compare, "added", path, after);
    return;
  }
  const attributes = attributesThatDiffer(before, after);
  if (before.type !== "directory") {
    const same = await compare.sameBytes(before, after);
    if (!same || attributes.length > 0) yield { difference: same ? "attributes" : "content", path, kind: after.type, before, after, attributes };
    return;
  }
  if (attributes.length > 0) yield { difference: "attributes", path, kind: "directory", before, after, attributes };
  if (before.objectId === after.objectId && compare.sameKeys) return;
  yield* diffListings(compare, path, compare.listing("before", before), compare.listing("after", after));
}

async function* diffListings(
  compare: Comparison,
  path: string,
  before: DirectoryListing,
  after: DirectoryListing,
): AsyncGenerator<TreeDifference, void, undefined> {
  const [left, right] = [before.entries(), after.entries()];
  try {
    let [a, b] = [await left.next(), await right.next()];
    while (a.done !== true || b.done !== true) {
      const order = a.done === true ? 1 : b.done === true ? -1 : compareEntries(a.value, b.value);
      if (order < 0 && a.done !== true) yield* all(compare, "removed", below(path, a.value.name), a.value);
      else if (order > 0 && b.done !== true) yield* all(compare, "added", below(path, b.value.name), b.value);
      else if (a.done !== true && b.done !== true) yield* diffPair(compare, below(path, a.value.name), a.value, b.value);
      if (order <= 0) a = await left.next();
      if (order >= 0) b = await right.next();
    }
  } finally {
    await left.return();
    await right.return();
  }
  yield* diffExtensions(path, before.extension, after.extension);
}

/** What lies beside the entries that Kopia knows: attributes of the directory itself, and entries of other kinds. */
function* diffExtensions(path: string, before: ListingExtension, after: ListingExtension): Generator<TreeDifference> {
  if (text(before.xattrs) !== text(after.xattrs)) yield { difference: "attributes", path, kind: "directory", attributes: ["xattrs"] };
  const [left, right] = [byName(before.special), byName(after.special)];
  for (const name of [...new Set([...left.keys(), ...right.keys()])].sort()) {
    const [a, b] = [left.get(name), right.get(name)];
    const at = below(path, name);
    if (a !== undefined && a.kind !== b?.kind) yield { difference: "removed", path: at, kind: a.kind, attributes: [] };
    if (b !== undefined && b.kind !== a?.kind) yield { difference: "added", path: at, kind: b.kind, attributes: [] };
    if (a === undefined || b === undefined || a.kind !== b.kind) continue;
    const attributes = attributesThatDiffer(a, b);
    if (text(a.device) !== text(b.device)) attributes.push("device");
    if (attributes.length > 0) yield { difference: "attributes", path: at, kind: b.kind, attributes };
  }
}

/** An entry with all that is in it. */
async function* all(
  compare: Comparison,
  difference: "added" | "removed",
  path: string,
  entry: DirectoryEntry,
): AsyncGenerator<TreeDifference, void, undefined> {
  yield { difference, path, kind: entry.type, attributes: [], ...(difference === "added" ? { after: entry } : { before: entry }) };
  if (entry.type !== "directory") return;
  const listing = compare.listing(difference === "added" ? "after" : "before", entry);
  for await (const child of listing.entries()) yield* all(compare, difference, below(path, child.name), child);
  const [before, after] = difference === "added" ? [noListingExtension, listing.extension] : [listing.extension, noListingExtension];
  for (const special of diffExtensions(path, before, after)) if (special.difference === difference) yield special;
}

function attributesThatDiffer(a: DirectoryEntry | SpecialEntry, b: DirectoryEntry | SpecialEntry): string[] {
  const names: string[] = [];
  if (a.mode !== b.mode) names.push("mode");
  if (a.uid !== b.uid || a.gid !== b.gid) names.push("owner");
  if (a.mtimeNs !== b.mtimeNs) names.push("mtime");
  // An entry that Kopia wrote says nothing of these.
  if (text(a.extension?.xattrs) !== text(b.extension?.xattrs)) names.push("xattrs");
  return names;
}

function byName(special: readonly SpecialEntry[]): Map<string, SpecialEntry> {
  return new Map(special.map((entry) => [entry.name, entry]));
}

function text(value: unknown): string {
  const empty = value === undefined || (Array.isArray(value) && value.length === 0);
  return empty ? "" : JSON.stringify(value, (_key, member: unknown) => (member instanceof Uint8Array ? Buffer.from(member).toString("base64") : member));
}
