/** Whether a VolSync runs in the cluster, or is meant to: then its kinds are its own (docs/design/0015). */
import type { Clock } from "@drayage/base";
import { deployments, type KubeClient } from "@drayage/kube";

/** Of VolSync's Helm chart. */
const CHART_LABEL = "app.kubernetes.io/name=volsync";
/** Of its operator; OADP 1.2 looked for it too. */
const OPERATOR_NAME = "volsync-controller-manager";
/** Many objects may be looked at in one moment. */
const REMEMBERED_MS = 10_000;

export function createVolSyncPresence(client: KubeClient, clock: Clock): () => Promise<boolean> {
  let known: { readonly atMs: number; readonly runs: boolean } | undefined;
  return async () => {
    const nowMs = clock.monotonicMs();
    if (known === undefined || nowMs - known.atMs > REMEMBERED_MS) known = { atMs: nowMs, runs: await isThere(client) };
    return known.runs;
  };
}

/** One that is scaled to zero does not run; one that is only being updated does. */
async function isThere(client: KubeClient): Promise<boolean> {
  for (const where of [{ labelSelector: CHART_LABEL }, { fieldSelector: `metadata.name=${OPERATOR_NAME}` }]) {
    const { items } = await client.list(deployments, where);
    if (items.some(({ spec }) => ((spec as { replicas?: number }).replicas ?? 1) > 0)) return true;
  }
  return false;
}
