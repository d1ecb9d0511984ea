/**
 * Makes the volume of a claim whose class asks for this driver: the work of the external provisioner.
 *
 *   the binder asks (annotation) ──▶ a node is selected, where the class waits for one ──▶ CreateVolume ──▶ PersistentVolume with claimRef ──▶ the binder binds
 *
 * The volume is named after the claim's UID, in the storage and in the API, so the pass may be cut anywhere and made again. Once CreateVolume was answered the
 * PersistentVolume is written whatever became of the claim: an orphan is then released and deleted as any other volume is.
 */
import { isDeleting, type Node, type PersistentVolume, type PersistentVolumeClaim, type StorageClass } from "@drayage/kube";
import { BIND_COMPLETED, SELECTED_NODE, STORAGE_PROVISIONER, STORAGE_PROVISIONER_BETA } from "../names.ts";
import { annotationOf } from "../object-changes.ts";
import { type Decision, event, nothing } from "../steps.ts";
import type { ResolvedSource } from "./source.ts";

export interface ObservedRequest {
  readonly driverName: string;
  readonly claim: PersistentVolumeClaim;
  readonly storageClass: StorageClass | undefined;
  /** The volume that an earlier pass made. */
  readonly volume: PersistentVolume | undefined;
  readonly source: ResolvedSource;
  readonly nodes: readonly Node[];
}

export interface ProvisionStep {
  readonly do: "provision";
  readonly claim: PersistentVolumeClaim;
  readonly storageClass: StorageClass;
  readonly source: ResolvedSource & { readonly state: "none" | "ready" };
  /** Where the volume may be, the best place first. */
  readonly nodes: readonly Node[];
}

/** How soon a source that is not ready is looked at again, should no change of it be seen. */
const SOURCE_RECHECK_MS = 5_000;

export function volumeNameOf(claim: PersistentVolumeClaim): string {
  return `pvc-${claim.metadata.uid}`;
}

export function decideProvision(o: ObservedRequest): Decision<ProvisionStep> {
  const { claim, storageClass, source } = o;
  if (!isAsked(o) || storageClass === undefined) return nothing;
  if (claim.spec.selector !== undefined) return failed(o, "claim Selector is not supported");
  const node = selectedNode(o);
  if (node === "waiting") return nothing;
  // Somebody else fills this claim.
  if (source.state === "foreign") return nothing;
  if (source.state === "unready") return { ...failed(o, source.why), recheckAfterMs: SOURCE_RECHECK_MS };
  const provisioning = event(
    claim,
    "Normal",
    "Provisioning",
    `External provisioner is provisioning volume for claim "${claim.metadata.namespace}/${claim.metadata.name}"`,
  );
  return { steps: [provisioning, { do: "provision", claim, storageClass, source, nodes: node === undefined ? o.nodes : [node] }] };
}

export function failed({ claim, storageClass }: Pick<ObservedRequest, "claim" | "storageClass">, why: string): Decision {
  return { steps: [event(claim, "Warning", "ProvisioningFailed", `failed to provision volume with StorageClass "${storageClass?.metadata.name}": ${why}`)] };
}

/** Whether the binder has asked this driver for a volume that is still wanted and not yet there. */
function isAsked({ driverName, claim, storageClass, volume }: ObservedRequest): boolean {
  const asked = annotationOf(claim, STORAGE_PROVISIONER) ?? annotationOf(claim, STORAGE_PROVISIONER_BETA);
  const open = !isDeleting(claim) && (claim.spec.volumeName ?? "") === "" && annotationOf(claim, BIND_COMPLETED) === undefined;
  return asked === driverName && storageClass?.provisioner === driverName && open && volume === undefined;
}

/** The node that the scheduler chose, undefined when any will do. */
function selectedNode({ claim, storageClass, nodes }: ObservedRequest): Node | "waiting" | undefined {
  const name = annotationOf(claim, SELECTED_NODE);
  if (name === undefined) return storageClass?.volumeBindingMode === "WaitForFirstConsumer" ? "waiting" : undefined;
  return nodes.find((node) => node.metadata.name === name) ?? "waiting";
}
