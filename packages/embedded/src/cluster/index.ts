export { type ClusterDownOptions, clusterDown, type EndedCluster } from "./cluster-down.ts";
export { type ClusterStatus, clusterStatus } from "./cluster-status.ts";
export { type ClusterRole, type ClusterUpOptions, clusterUp, type RunningCluster } from "./cluster-up.ts";
export { type RunControlPlaneOptions, runControlPlane } from "./control-plane.ts";
export { type RunNodeOptions, runNode } from "./node.ts";
export type { RoleCommand } from "./role-process.ts";
