/**
 * What becomes of a claim.
 *
 *   Pending ──a volume fits, or one was provisioned──▶ Bound ──its volume is gone or another's──▶ Lost
 *      └──nothing fits──▶ asks the provisioner of its class (annotation), or waits for its first consumer
 *
 * Binding is four writes, in this order: the volume's claimRef, the volume's phase, the claim's volumeName, the claim's phase. Whoever reads a claim that is Bound
 * finds its volume bound to it. Where it stops, the next pass goes on.
 */
import {
  hasFinalizer,
  isDeleting,
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  type StorageClass,
  withFinalizer,
  withoutFinalizer,
} from "@drayage/kube";
import {
  BIND_COMPLETED,
  BOUND_BY_CONTROLLER,
  CLAIM_PROTECTION,
  DEFAULT_STORAGE_CLASS,
  NO_PROVISIONER,
  SELECTED_NODE,
  STORAGE_PROVISIONER,
  STORAGE_PROVISIONER_BETA,
} from "../names.ts";
import { annotationOf, claimInPhase, sameJson, volumeInPhase, withAnnotations } from "../object-changes.ts";
import { type Decision, event, type KubeStep, nothing, replace, replaceStatus } from "../steps.ts";
import { findVolumeFor, isVolumeOfClaim, volumeMismatch } from "./match-volume.ts";

export interface ObservedClaim {
  readonly claim: PersistentVolumeClaim;
  readonly volumes: readonly PersistentVolume[];
  readonly classes: readonly StorageClass[];
  /** Pods that name the claim and have a node: a kubelet may be using it. */
  readonly usedBy: readonly string[];
  /** Pods that name the claim and wait for a node. */
  readonly waitedForBy: readonly string[];
  readonly nowMs: number;
}

export function decideClaim(o: ObservedClaim): Decision {
  if (isDeleting(o.claim)) return decideDeletion(o);
  if (!hasFinalizer(o.claim, CLAIM_PROTECTION)) return { steps: [replace(persistentVolumeClaims, withFinalizer(o.claim, CLAIM_PROTECTION))] };
  if (annotationOf(o.claim, BIND_COMPLETED) !== undefined) return decideBound(o);
  return (o.claim.spec.volumeName ?? "") === "" ? decideUnbound(o) : decideRequested(o);
}

/** A claim goes when no pod with a node names it any more. */
function decideDeletion({ claim, usedBy }: ObservedClaim): Decision {
  if (!hasFinalizer(claim, CLAIM_PROTECTION) || usedBy.length > 0) return nothing;
  return { steps: [replace(persistentVolumeClaims, withoutFinalizer(claim, CLAIM_PROTECTION))], irreversible: true };
}

/** Any volume will do. */
function decideUnbound(o: ObservedClaim): Decision {
  const { claim, volumes, classes } = o;
  const className = claim.spec.storageClassName;
  const storageClass = classes.find((candidate) => candidate.metadata.name === className);
  const delayed = storageClass?.volumeBindingMode === "WaitForFirstConsumer";
  const volume = findVolumeFor(claim, volumes, { delayed });
  if (volume !== undefined) return { steps: bind(volume, claim, o.nowMs) };
  const defaultClass = className === undefined ? defaultOf(classes) : undefined;
  if (defaultClass !== undefined) return { steps: [replace(persistentVolumeClaims, withClass(claim, defaultClass))] };
  if (delayed && annotationOf(claim, SELECTED_NODE) === undefined) return pending(claim, event(claim, "Normal", ...waitingReason(o)));
  if (className === undefined || className === "") {
    return pending(claim, event(claim, "Normal", "FailedBinding", "no persistent volumes available for this claim and no storage class is set"));
  }
  if (storageClass === undefined) return pending(claim, event(claim, "Warning", "ProvisioningFailed", `storageclass.storage.k8s.io "${className}" not found`));
  return storageClass.provisioner === NO_PROVISIONER ? pending(claim) : askProvisioner(claim, storageClass.provisioner);
}

function waitingReason({ waitedForBy }: ObservedClaim): [reason: string, message: string] {
  if (waitedForBy.length === 0) return ["WaitForFirstConsumer", "waiting for first consumer to be created before binding"];
  return ["WaitForPodScheduled", `waiting for pod${waitedForBy.length > 1 ? "s" : ""} ${waitedForBy.join(",")} to be scheduled`];
}

function askProvisioner(claim: PersistentVolumeClaim, provisioner: string): Decision {
  const asked = withAnnotations(claim, { [STORAGE_PROVISIONER]: provisioner, [STORAGE_PROVISIONER_BETA]: provisioner });
  if (asked === claim) return pending(claim);
  const waiting = `Waiting for a volume to be created either by the external provisioner '${provisioner}' or manually by the system administrator. If volume creation is delayed, please verify that the provisioner is running and correctly registered.`;
  return { steps: [replace(persistentVolumeClaims, asked), ...pending(asked, event(claim, "Normal", "ExternalProvisioning", waiting)).steps] };
}

/** Exactly this volume is wanted. */
function decideRequested({ claim, volumes, nowMs }: ObservedClaim): Decision {
  const volume = volumes.find((candidate) => candidate.metadata.name === claim.spec.volumeName);
  if (volume === undefined) return pending(claim);
  if (isVolumeOfClaim(volume, claim)) return { steps: bind(volume, claim, nowMs) };
  const name = volume.metadata.name;
  if (volume.spec.claimRef !== undefined)
    return pending(claim, event(claim, "Warning", "FailedBinding", `volume "${name}" already bound to a different claim.`));
  const mismatch = volumeMismatch(volume, claim);
  if (mismatch === undefined) return { steps: bind(volume, claim, nowMs) };
  return pending(claim, event(claim, "Warning", "VolumeMismatch", `Cannot bind to requested volume "${name}": ${mismatch}`));
}

/** It was bound: it still is, or its data are lost to it, which is final. */
function decideBound({ claim, volumes, nowMs }: ObservedClaim): Decision {
  const volume = volumes.find((candidate) => candidate.metadata.name === claim.spec.volumeName);
  if ((claim.spec.volumeName ?? "") === "") return lost(claim, "ClaimLost", "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!");
  if (volume === undefined) return lost(claim, "ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
  const { claimRef } = volume.spec;
  if (claimRef === undefined || claimRef.uid === claim.metadata.uid) return { steps: bind(volume, claim, nowMs) };
  return lost(claim, "ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly");
}

/** A cache of volumes may be behind that of claims, so a loss is read again before it is said. */
function lost(claim: PersistentVolumeClaim, reason: string, message: string): Decision {
  const next = claimInPhase(claim, "Lost");
  return next === undefined ? nothing : { steps: [replaceStatus(persistentVolumeClaims, next), event(claim, "Warning", reason, message)], irreversible: true };
}

function pending(claim: PersistentVolumeClaim, ...events: readonly KubeStep[]): Decision {
  const next = claimInPhase(claim, "Pending");
  return { steps: [...events, ...(next === undefined ? [] : [replaceStatus(persistentVolumeClaims, next)])] };
}

/** The writes that are missing until both say that they are bound to each other. */
function bind(volume: PersistentVolume, claim: PersistentVolumeClaim, nowMs: number): KubeStep[] {
  const boundVolume = volumeWithClaim(volume, claim);
  const volumeStatus = volumeInPhase(boundVolume, "Bound", nowMs);
  const boundClaim = claimWithVolume(claim, volume);
  const claimStatus = claimInPhase(boundClaim, "Bound", volume);
  return [
    ...(boundVolume === volume ? [] : [replace(persistentVolumes, boundVolume)]),
    ...(volumeStatus === undefined ? [] : [replaceStatus(persistentVolumes, volumeStatus)]),
    ...(boundClaim === claim ? [] : [replace(persistentVolumeClaims, boundClaim)]),
    ...(claimStatus === undefined ? [] : [replaceStatus(persistentVolumeClaims, claimStatus)]),
  ];
}

/** A reservation that somebody made by hand is completed and stays his; one that is made here is marked, so that it may be undone. */
function volumeWithClaim(volume: PersistentVolume, claim: PersistentVolumeClaim): PersistentVolume {
  const { namespace, name, uid, resourceVersion } = claim.metadata;
  if (volume.spec.claimRef?.uid === uid) return volume;
  const marked = isVolumeOfClaim(volume, claim) ? volume : withAnnotations(volume, { [BOUND_BY_CONTROLLER]: "yes" });
  const identity = Object.fromEntries(Object.entries({ namespace, name, uid, resourceVersion }).filter(([, value]) => value !== undefined));
  return { ...marked, spec: { ...volume.spec, claimRef: { apiVersion: "v1", kind: "PersistentVolumeClaim", ...identity } } };
}

function claimWithVolume(claim: PersistentVolumeClaim, volume: PersistentVolume): PersistentVolumeClaim {
  const volumeName = volume.metadata.name ?? "";
  const chosen =
    claim.spec.volumeName === volumeName ? claim : withAnnotations({ ...claim, spec: { ...claim.spec, volumeName } }, { [BOUND_BY_CONTROLLER]: "yes" });
  const bound = withAnnotations(chosen, { [BIND_COMPLETED]: annotationOf(claim, BIND_COMPLETED) ?? "yes" });
  return sameJson(bound, claim) ? claim : bound;
}

function withClass(claim: PersistentVolumeClaim, storageClass: StorageClass): PersistentVolumeClaim {
  return { ...claim, spec: { ...claim.spec, storageClassName: storageClass.metadata.name ?? "" } };
}

/** The newest of several default classes, as the API server chooses. */
function defaultOf(classes: readonly StorageClass[]): StorageClass | undefined {
  return classes
    .filter((storageClass) => annotationOf(storageClass, DEFAULT_STORAGE_CLASS) === "true")
    .toSorted((a, b) => ((a.metadata.creationTimestamp ?? "") > (b.metadata.creationTimestamp ?? "") ? -1 : 1))[0];
}
