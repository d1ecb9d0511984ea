// Written by tools/generate-api.ts from packages/api/crds; do not edit.
import type { KindDescriptor, ObjectMeta } from "../meta.ts";

export interface ReplicationSourceSpec {
  /** A provider of somebody else. */
  external?: {
    /** What the provider is told. */
    parameters?: Record<string, string>;
    /** Its name, with a domain. */
    provider?: string;
  };
  /** Whether it rests; what runs is stopped. */
  paused?: boolean;
  /** Served by VolSync alone, and kept here as it is. */
  rclone?: Record<string, unknown>;
  /** A restic repository. */
  restic?: {
    /** Access modes of the volume that is made; those of the source when left out. */
    accessModes?: string[];
    /** Access modes of the cache's volume. */
    cacheAccessModes?: string[];
    /** Size of the cache's volume. */
    cacheCapacity?: number | string;
    /** Storage class of the cache's volume. */
    cacheStorageClassName?: string;
    /** Size of the volume that is made. */
    capacity?: number | string;
    /** How a state of the volume is held: Direct (None is its old name), Clone, Snapshot. */
    copyMethod?: "Direct" | "None" | "Clone" | "Snapshot";
    /** A CA to trust beside the system's. */
    customCA?: {
      /** The ConfigMap that holds it. */
      configMapName?: string;
      /** The key of its PEM. */
      key?: string;
      /** The Secret that holds it. */
      secretName?: string;
    };
    /** Where the mover's pod may run. */
    moverAffinity?: Record<string, unknown>;
    /** More labels of the mover's pod. */
    moverPodLabels?: Record<string, string>;
    /** What the mover's container asks for, and its limits. */
    moverResources?: Record<string, unknown>;
    /** The security context of the mover's pod. */
    moverSecurityContext?: Record<string, unknown>;
    /** The service account of the mover's pod. */
    moverServiceAccount?: string;
    /** More volumes of the mover's pod, at /mnt. */
    moverVolumes?: Array<{
      /** Below /mnt. */
      mountPath: string;
      /** A Secret, a claim or an NFS share. */
      volumeSource: Record<string, unknown>;
    }>;
    /** Days between two prunings of the repository; 7 when left out. */
    pruneIntervalDays?: number;
    /** The Secret with RESTIC_REPOSITORY, RESTIC_PASSWORD and the store's credentials. */
    repository?: string;
    /** Which snapshots of the repository stay. */
    retain?: {
      /** How many daily ones. */
      daily?: number;
      /** How many hourly ones. */
      hourly?: number;
      /** How many of the newest. */
      last?: string;
      /** How many monthly ones. */
      monthly?: number;
      /** How many weekly ones. */
      weekly?: number;
      /** All that are younger, such as 3d12h. */
      within?: string;
      /** How many yearly ones. */
      yearly?: number;
    };
    /** Storage class of the volume that is made. */
    storageClassName?: string;
    /** A tag. Each new value asks for stale locks to be removed before the next backup. */
    unlock?: string;
    /** Class of the snapshots that are made. */
    volumeSnapshotClassName?: string;
  };
  /** Served by VolSync alone, and kept here as it is. */
  rsync?: Record<string, unknown>;
  /** Served by VolSync alone, and kept here as it is. */
  rsyncTLS?: Record<string, unknown>;
  /** The claim whose volume it is. */
  sourcePVC?: string;
  /** Served by VolSync alone, and kept here as it is. */
  syncthing?: Record<string, unknown>;
  /** When to synchronize; without it, one synchronization follows the other. */
  trigger?: {
    /** A tag. Each new value asks for one synchronization; it goes before the schedule. */
    manual?: string;
    /** A cron expression, in UTC. */
    schedule?: string;
  };
}

export interface ReplicationSourceStatus {
  /** What is known of it, one entry for each aspect. */
  conditions?: Array<{
    /** When this status began. */
    lastTransitionTime: string;
    /** For people; may be empty. */
    message: string;
    /** The generation of the object that this was said of. */
    observedGeneration?: number;
    /** For programs. */
    reason: string;
    /** Whether it holds. */
    status: "True" | "False" | "Unknown";
    /** The aspect. */
    type: string;
  }>;
  /** What an external provider says. */
  external?: Record<string, string>;
  /** The tag of the last synchronization that was asked for. */
  lastManualSync?: string;
  /** How long the last synchronization took, such as 1m30.5s. */
  lastSyncDuration?: string;
  /** When the synchronization began that is under way. */
  lastSyncStartTime?: string;
  /** When the last synchronization ended. */
  lastSyncTime?: string;
  /** How the last mover ended. */
  latestMoverStatus?: {
    /** The last lines of its log. */
    logs?: string;
    /** How it ended: Successful, Failed. */
    result?: string;
  };
  /** When the next one is due. */
  nextSyncTime?: string;
  /** Of the repository. */
  restic?: {
    /** When it was last pruned. */
    lastPruned?: string;
    /** The tag of the last removal of locks. */
    lastUnlocked?: string;
  };
  /** Served by VolSync alone, and kept here as it is. */
  rsync?: Record<string, unknown>;
  /** Served by VolSync alone, and kept here as it is. */
  rsyncTLS?: Record<string, unknown>;
  /** Served by VolSync alone, and kept here as it is. */
  syncthing?: Record<string, unknown>;
}

export interface ReplicationSource {
  apiVersion?: string;
  kind?: string;
  metadata: ObjectMeta;
  spec: ReplicationSourceSpec;
  status?: ReplicationSourceStatus;
}

export const replicationSources: KindDescriptor<ReplicationSource> = { group: "volsync.backube", version: "v1alpha1", plural: "replicationsources", kind: "ReplicationSource", namespaced: true };
