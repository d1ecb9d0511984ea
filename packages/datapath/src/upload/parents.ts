/** Which earlier snapshots an upload goes on from, as Kopia and Velero choose: the newest complete one of the same source and tags, and the incomplete ones after it. */
import { hasCode } from "@drayage/base";
import type { Labels, Repository, Snapshot, SnapshotSource } from "@drayage/repo";

/** `auto` looks for them, `none` reads everything, an id takes that snapshot (and reads everything when it is gone). */
export type ParentChoice = "auto" | "none" | { readonly id: string };

export interface Parents {
  /** The complete one; what the upload counts as its predecessor. */
  readonly complete: Snapshot | undefined;
  /** Newest first. */
  readonly incomplete: readonly Snapshot[];
}

/** Tags that a complete parent must share, where the new snapshot has them. */
const TAGS_OF_A_LINE = ["snapshot-requester", "snapshot-uploader"];
const INCOMPLETE_MAX = 3;

export async function findParents(
  repository: Repository,
  choice: ParentChoice,
  source: SnapshotSource,
  tags: Labels,
  signal: AbortSignal | undefined,
): Promise<Parents> {
  if (choice === "none") return { complete: undefined, incomplete: [] };
  const options = signal === undefined ? {} : { signal };
  const { snapshots } = await repository.snapshots.list({ source, ...options });
  const wanted = Object.fromEntries(TAGS_OF_A_LINE.filter((tag) => tags[tag] !== undefined).map((tag) => [tag, tags[tag]]));
  const complete =
    choice === "auto" ? snapshots.findLast((snapshot) => isComplete(snapshot) && hasTags(snapshot, wanted)) : await byId(repository, choice.id, signal);
  const incomplete = snapshots
    .filter((snapshot) => snapshot.incomplete !== undefined && snapshot.rootEntry !== undefined && snapshot.startTimeNs > (complete?.startTimeNs ?? 0n))
    .toReversed()
    .slice(0, INCOMPLETE_MAX);
  return { complete, incomplete };
}

/** Incomplete snapshots of a source that a complete one has made superfluous. */
export async function staleCheckpoints(repository: Repository, source: SnapshotSource, beforeNs: bigint, signal: AbortSignal | undefined): Promise<Snapshot[]> {
  const { snapshots } = await repository.snapshots.list({ source, ...(signal === undefined ? {} : { signal }) });
  return snapshots.filter((snapshot) => snapshot.incomplete === "checkpoint" && snapshot.startTimeNs < beforeNs);
}

function isComplete(snapshot: Snapshot): boolean {
  return snapshot.incomplete === undefined && snapshot.rootEntry !== undefined;
}

function hasTags(snapshot: Snapshot, wanted: Readonly<Record<string, string | undefined>>): boolean {
  return Object.entries(wanted).every(([tag, value]) => snapshot.tags[tag] === value);
}

async function byId(repository: Repository, id: string, signal: AbortSignal | undefined): Promise<Snapshot | undefined> {
  try {
    return await repository.snapshots.get(id, signal);
  } catch (error) {
    if (hasCode(error, "REPO_MANIFEST_NOT_FOUND", "REPO_CORRUPT")) return undefined;
    throw error;
  }
}
