/** A real VolSync beside an embedded cluster: its manager as a process, its mover's image as its own script with the real restic. */
import type { ImageMapping } from "@drayage/embedded/kubelet";
import { deployments } from "@drayage/kube";
import type { Harness } from "../e2e/harness.ts";
import { freePort, type PeerProcess, peer, startPeer } from "./peers.ts";

const IMAGE = "volsync.example.com/restic-mover:test";

/** For the cluster that it will run in. */
export function volSyncMoverImage(): ImageMapping {
  return {
    pattern: IMAGE,
    mounts: [
      { source: peer("volsync-restic-mover"), target: "/mover-restic/entry.sh", readOnly: true },
      { source: peer("restic"), target: "/mover-restic/bin/restic", readOnly: true },
    ],
    path: ["/mover-restic/bin"],
  };
}

/** The Deployment by which an installation sees that a VolSync is meant to run; the manager itself is a process here. */
export async function announceVolSync(harness: Harness, namespace: string): Promise<void> {
  const labels = { "app.kubernetes.io/name": "volsync" };
  await harness.client.create(deployments, {
    apiVersion: "apps/v1",
    kind: "Deployment",
    metadata: { namespace, name: "volsync", labels },
    spec: {
      replicas: 1,
      selector: { matchLabels: labels },
      template: { metadata: { labels }, spec: { containers: [{ name: "manager", image: "busybox", command: ["sleep", "100000"] }] } },
    },
  });
}

export async function startRealVolSync(harness: Harness): Promise<PeerProcess> {
  const health = await freePort();
  return await startPeer(
    "volsync",
    [
      "--kubeconfig",
      harness.cluster.kubeconfigPath,
      "--metrics-bind-address=0",
      `--health-probe-bind-address=127.0.0.1:${health}`,
      "--restic-container-image",
      IMAGE,
    ],
    async () => (await fetch(`http://127.0.0.1:${health}/readyz`)).ok,
  );
}
