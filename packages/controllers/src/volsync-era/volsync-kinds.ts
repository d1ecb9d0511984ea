/** VolSync's kinds, as far as they are used here. */
import type { KubeObject, ResourceType } from "@drayage/kube";
import type { SyncStatus } from "./synchronization.ts";

interface Trigger {
  manual?: string;
  schedule?: string;
}

interface ResticOptions {
  repository?: string;
  copyMethod?: string;
  moverServiceAccount?: string;
  moverSecurityContext?: Record<string, unknown>;
  storageClassName?: string;
  volumeSnapshotClassName?: string;
  accessModes?: string[];
  cacheStorageClassName?: string;
  cacheAccessModes?: string[];
  cacheCapacity?: string;
  customCA?: { secretName?: string; key?: string };
}

export interface ReplicationSource extends KubeObject {
  spec?: { sourcePVC?: string; trigger?: Trigger; restic?: ResticOptions & { retain?: Record<string, number | string>; pruneIntervalDays?: number } };
  status?: SyncStatus;
}

export interface ReplicationDestination extends KubeObject {
  spec?: { trigger?: Trigger; restic?: ResticOptions & { capacity?: string } };
  status?: SyncStatus & { latestImage?: { apiGroup?: string | null; kind: string; name: string } };
}

export const replicationSources: ResourceType<ReplicationSource> = {
  group: "volsync.backube",
  version: "v1alpha1",
  plural: "replicationsources",
  kind: "ReplicationSource",
  namespaced: true,
};

export const replicationDestinations: ResourceType<ReplicationDestination> = {
  group: "volsync.backube",
  version: "v1alpha1",
  plural: "replicationdestinations",
  kind: "ReplicationDestination",
  namespaced: true,
};
