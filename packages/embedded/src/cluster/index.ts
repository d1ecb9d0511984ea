/** Bringing a cluster up and down: light to load. What runs inside its processes is in `cluster-control-plane` and `cluster-node`. */

export { CSI_PROFILES, type CsiProfile } from "../csi-driver/ceph/profiles.ts";
export { shellQuote } from "../kubelet/shell-quote.ts";
export { type ClusterDownOptions, clusterDown, type EndedCluster } from "./cluster-down.ts";
export { type ClusterStatus, clusterStatus } from "./cluster-status.ts";
export { type ClusterRole, type ClusterUpOptions, clusterUp, type RunningCluster } from "./cluster-up.ts";
export type { RoleCommand } from "./role-process.ts";
