/** What the vendor's installation applies: its mover, so that users find it and its parameters are checked, and what its controller may do. A Velero needs only the latter. */
import type { DataMover } from "@drayage/api";

export const MOVER_NAME = "storage.vendor.example";

export const registration: DataMover = {
  apiVersion: "drayage.io/v1alpha1",
  kind: "DataMover",
  metadata: { name: MOVER_NAME },
  spec: {
    version: "1.0.0",
    description: "Volumes of a vendor's storage, copied by the storage itself",
    controller: true,
    deletesData: true,
    capabilities: { kinds: ["persistentvolumeclaims"], cancel: true, progress: true, block: true, incremental: false },
    parameters: {
      type: "object",
      properties: { tier: { type: "string", enum: ["hot", "cold"], default: "cold", description: "Where the storage keeps its copies" } },
    },
  },
};

interface Rule {
  readonly apiGroups: readonly string[];
  readonly resources: readonly string[];
  readonly verbs: readonly string[];
}

/** Of a Role in the namespace of Drayage or Velero. */
export const ownNamespaceRules: readonly Rule[] = [
  { apiGroups: ["velero.io"], resources: ["datauploads", "datadownloads"], verbs: ["get", "list", "watch", "patch"] },
  { apiGroups: ["drayage.io"], resources: ["datamoverbackups"], verbs: ["get", "list", "watch", "patch"] },
  { apiGroups: [""], resources: ["persistentvolumeclaims"], verbs: ["create", "delete"] },
];

/** Of a ClusterRole: snapshots and claims are in the namespaces of the applications, volumes in none. */
export const clusterRules: readonly Rule[] = [
  { apiGroups: [""], resources: ["persistentvolumeclaims", "persistentvolumes"], verbs: ["get", "patch"] },
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshots"], verbs: ["get", "delete"] },
  { apiGroups: ["snapshot.storage.k8s.io"], resources: ["volumesnapshotcontents"], verbs: ["get", "patch"] },
];
