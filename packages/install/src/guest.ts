/** What runs beside a Velero server, which stays: node-agents that take what names our mover, and nothing else of ours. */
import { loadCrds } from "@drayage/api";
import { guestPermissions, type Manifest, NODE_AGENT_NAME, type WorkloadOptions } from "./manifests.ts";
import { nodeAgent } from "./workloads.ts";

/** The DaemonSet beside Velero's own node-agent. */
export const GUEST_NODE_AGENT = "drayage-node-agent";

export interface GuestOptions extends WorkloadOptions {
  /** Also take what Velero's node-agent would, which must not run then: ours takes its name, by which Velero looks for it. */
  readonly claimBuiltin: boolean;
}

/** In an order in which it can be created. Namespace, kinds, locations and passwords are Velero's and not touched. */
export function guestManifests(options: GuestOptions): Manifest[] {
  const { namespace, claimBuiltin, nodeAgentArgs = [] } = options;
  const name = claimBuiltin ? NODE_AGENT_NAME : GUEST_NODE_AGENT;
  const args = ["--guest", ...(claimBuiltin ? ["--claim-builtin"] : []), `--daemonset-name=${name}`, ...nodeAgentArgs];
  return [
    ...loadCrds("drayage.io").map((crd) => ({ ...crd, metadata: { ...crd.metadata, name: `${crd.spec.names.plural}.${crd.spec.group}` } }) as Manifest),
    ...guestPermissions(namespace),
    nodeAgent({ ...options, nodeAgentArgs: args }, name),
  ];
}
