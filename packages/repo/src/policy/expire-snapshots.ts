/** Deletes the snapshots that policies do not keep: first a plan, then what it says. Space comes back through maintenance. */
import type { Repository } from "../repository.ts";
import type { Snapshot } from "../snapshot/snapshot-manifest.ts";
import { formatSnapshotSource, type SnapshotSource } from "../snapshot/snapshot-source.ts";
import { PolicyStore } from "./policy-store.ts";
import { retentionReasons } from "./retention.ts";

export interface ExpiryDecision {
  readonly snapshot: Snapshot;
  /** Empty: it goes. Pins are named `pin:<name>`. */
  readonly reasons: readonly string[];
}

export interface ExpiryPlan {
  readonly decisions: readonly ExpiryDecision[];
  /** Manifests that cannot be read: nobody knows what they are, so they stay. */
  readonly unreadable: readonly { readonly id: string; readonly error: unknown }[];
}

/** What would expire, of one source or of all. Throws REPO_CORRUPT for a policy that cannot be read: then nothing may be decided. */
export async function planExpiry(repository: Repository, source: SnapshotSource | undefined, signal?: AbortSignal): Promise<ExpiryPlan> {
  const policies = new PolicyStore(repository.manifests);
  const options = { ...(source === undefined ? {} : { source }), ...(signal === undefined ? {} : { signal }) };
  const { snapshots, unreadable } = await repository.snapshots.list(options);
  const decisions: ExpiryDecision[] = [];
  for (const [, line] of Map.groupBy(snapshots, (snapshot) => formatSnapshotSource(snapshot.source))) {
    const first = line[0] as Snapshot;
    const reasons = retentionReasons(line, (await policies.effective(first.source, signal)).retention);
    for (const snapshot of line) decisions.push({ snapshot, reasons: [...(reasons.get(snapshot.id) ?? []), ...snapshot.pins.map((pin) => `pin:${pin}`)] });
  }
  return { decisions, unreadable };
}

/** Deletes what a plan lets go, and makes it durable. What somebody else has deleted meanwhile counts as done. */
export async function executeExpiry(repository: Repository, plan: ExpiryPlan, signal?: AbortSignal): Promise<readonly Snapshot[]> {
  const expired = plan.decisions.filter(({ reasons }) => reasons.length === 0).map(({ snapshot }) => snapshot);
  if (expired.length === 0) return [];
  const present = new Set((await repository.manifests.find({ type: "snapshot" }, signal)).map(({ id }) => id));
  for (const { id } of expired) if (present.has(id)) await repository.snapshots.delete(id, signal);
  await repository.flush(signal);
  return expired;
}
