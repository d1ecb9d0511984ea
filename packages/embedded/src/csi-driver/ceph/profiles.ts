import type { CephKind } from "./ceph-services.ts";

/** The drivers that a cluster may have beside its own. */
export const CSI_PROFILES = ["cephfs", "rbd"] as const satisfies readonly CephKind[];
export type CsiProfile = (typeof CSI_PROFILES)[number];

/** As ceph-csi registers itself; Rook puts its namespace in front. */
export const driverNameOf = (profile: CsiProfile): string => `${profile}.csi.ceph.com`;
