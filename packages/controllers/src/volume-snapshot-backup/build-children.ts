/** The objects that are made for a VolumeSnapshotBackup, as OADP 1.2 made them. */
import { RESTIC_SECRET_KEYS, type ReplicationSource, type VolumeSnapshot, type VolumeSnapshotContent } from "@drayage/api";
import type { PersistentVolumeClaim, Pod, Secret } from "@drayage/kube";
import { childMetadata, type Parent } from "../volsync-era/children.ts";
import { type ClassOptions, cacheOptions, retainOf, wholeNumber } from "../volsync-era/class-options.ts";
import type { VolumeFacts } from "./volume-facts.ts";

type Names = Readonly<Record<"content" | "snapshot" | "claim" | "pod" | "secret" | "source", string>>;

const SNAPSHOT_GROUP = "snapshot.storage.k8s.io";
/** Which snapshot sidecar takes care of it, where each node has its own. */
const MANAGED_BY = "snapshot.storage.kubernetes.io/managed-by";

export function buildContent(
  parent: Parent,
  names: Names,
  namespace: string,
  { spec, status, metadata: original }: VolumeSnapshotContent,
): VolumeSnapshotContent {
  const metadata = childMetadata(parent, { name: names.content });
  const managedBy = original.labels?.[MANAGED_BY];
  // The driver needs the Secrets that stand here.
  const secrets = Object.entries(original.annotations ?? {}).filter(([key]) => /^snapshot\.storage\.kubernetes\.io\/deletion-secret-/.test(key));
  return {
    apiVersion: `${SNAPSHOT_GROUP}/v1`,
    kind: "VolumeSnapshotContent",
    metadata: {
      ...metadata,
      labels: { ...metadata.labels, ...(managedBy === undefined ? {} : { [MANAGED_BY]: managedBy }) },
      annotations: { ...metadata.annotations, ...Object.fromEntries(secrets) },
    },
    spec: {
      deletionPolicy: "Retain",
      driver: spec.driver,
      source: { snapshotHandle: status?.snapshotHandle ?? "" },
      ...(spec.sourceVolumeMode === undefined ? {} : { sourceVolumeMode: spec.sourceVolumeMode }),
      ...(spec.volumeSnapshotClassName === undefined ? {} : { volumeSnapshotClassName: spec.volumeSnapshotClassName }),
      volumeSnapshotRef: { apiVersion: `${SNAPSHOT_GROUP}/v1`, kind: "VolumeSnapshot", namespace, name: names.snapshot },
    },
  };
}

export function buildSnapshot(parent: Parent, names: Names, namespace: string, snapshotClass: string): VolumeSnapshot {
  return {
    apiVersion: `${SNAPSHOT_GROUP}/v1`,
    kind: "VolumeSnapshot",
    metadata: childMetadata(parent, { namespace, name: names.snapshot }),
    spec: { source: { volumeSnapshotContentName: names.content }, ...(snapshotClass === "" ? {} : { volumeSnapshotClassName: snapshotClass }) },
  };
}

export interface ClaimParts {
  readonly facts: VolumeFacts;
  readonly options: ClassOptions;
  /** Of the claim that is backed up. */
  readonly accessModes: readonly string[];
  readonly size: string;
}

export function buildClaim(parent: Parent, names: Names, namespace: string, { facts, options, accessModes, size }: ClaimParts): PersistentVolumeClaim {
  const className = options.storageClassName ?? facts.storageClass;
  return {
    apiVersion: "v1",
    kind: "PersistentVolumeClaim",
    metadata: childMetadata(parent, { namespace, name: names.claim }),
    spec: {
      accessModes: options.accessMode === undefined ? [...accessModes] : [options.accessMode],
      resources: { requests: { storage: size } },
      ...(className === "" ? {} : { storageClassName: className }),
      dataSource: { apiGroup: SNAPSHOT_GROUP, kind: "VolumeSnapshot", name: names.snapshot },
    },
  };
}

/** Has the volume bound: a class that waits for its first consumer would not bind it otherwise. */
export function buildPod(
  parent: Parent,
  names: Names,
  namespace: string,
  { image, command }: { readonly image: string; readonly command: readonly string[] },
): Pod {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: childMetadata(parent, { namespace, name: names.pod }),
    spec: {
      restartPolicy: "Never",
      terminationGracePeriodSeconds: 0,
      automountServiceAccountToken: false,
      securityContext: { runAsUser: 65532, runAsNonRoot: true, seccompProfile: { type: "RuntimeDefault" } },
      containers: [
        {
          name: "busybox",
          image,
          imagePullPolicy: "IfNotPresent",
          command: [...command],
          securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: ["ALL"] } },
          volumeMounts: [{ name: "volume1", mountPath: "/mnt/volume1", readOnly: true }],
        },
      ],
      volumes: [{ name: "volume1", persistentVolumeClaim: { claimName: names.claim, readOnly: true } }],
    },
  };
}

export function buildSecret(parent: Parent, names: Names, namespace: string, data: Record<string, string>): Secret {
  return { apiVersion: "v1", kind: "Secret", metadata: childMetadata(parent, { namespace, name: names.secret }), type: "Opaque", data };
}

export interface SourceParts {
  readonly facts: VolumeFacts;
  readonly options: ClassOptions;
  /** The temporary one. */
  readonly claim: PersistentVolumeClaim;
  /** Texts of the location's Secret. */
  readonly location: Readonly<Record<string, string>>;
  /** That the mover runs as. */
  readonly account: string | undefined;
  /** That the mover has, where the options ask for that of the application. */
  readonly securityContext: Readonly<Record<string, unknown>> | undefined;
}

/** The tag of a manual trigger; undefined where the location's Secret has a schedule. */
export function manualTrigger(name: string, location: Readonly<Record<string, string>>): string | undefined {
  return (location[RESTIC_SECRET_KEYS.schedule] ?? "") === "" ? `${name}-trigger` : undefined;
}

/** Throws VALIDATION_FAILED for settings that cannot be read. */
export function buildSource(
  parent: Parent,
  names: Names,
  namespace: string,
  { facts, options, claim, location, account, securityContext }: SourceParts,
): ReplicationSource {
  const manual = manualTrigger(parent.owner.metadata.name ?? "", location);
  const className = options.storageClassName ?? facts.storageClass;
  const retain = retainOf({ ...location, ...options.retain });
  const pruneText = location[RESTIC_SECRET_KEYS.pruneInterval] ?? "";
  const pruneIntervalDays = pruneText === "" ? 0 : wholeNumber(RESTIC_SECRET_KEYS.pruneInterval, pruneText);
  const hasCustomCa = (location[RESTIC_SECRET_KEYS.customCa] ?? "") !== "";
  return {
    apiVersion: "volsync.backube/v1alpha1",
    kind: "ReplicationSource",
    metadata: childMetadata(parent, { namespace, name: names.source }),
    spec: {
      sourcePVC: names.claim,
      trigger: manual === undefined ? { schedule: location[RESTIC_SECRET_KEYS.schedule] ?? "" } : { manual },
      restic: {
        repository: names.secret,
        copyMethod: "Direct",
        ...(account === undefined ? {} : { moverServiceAccount: account }),
        ...(securityContext === undefined ? {} : { moverSecurityContext: { ...securityContext } }),
        ...(className === "" ? {} : { storageClassName: className }),
        ...(facts.snapshotClass === "" ? {} : { volumeSnapshotClassName: facts.snapshotClass }),
        accessModes: [...(claim.spec.accessModes ?? [])],
        ...cacheOptions(options),
        ...(retain === undefined ? {} : { retain }),
        ...(pruneIntervalDays === 0 ? {} : { pruneIntervalDays }),
        ...(hasCustomCa ? { customCA: { secretName: names.secret, key: RESTIC_SECRET_KEYS.customCa } } : {}),
      },
    },
  };
}
