/**
 * How the data of a volume gets into a backup: by a snapshot, through the file system of a pod that mounts it, or not at all. What decides, in this order (Velero's):
 * the first volume policy that fits; the pod's annotations together with `defaultVolumesToFsBackup`; `snapshotVolumes`.
 */
import { ANNOTATIONS, type BackupSpec } from "@drayage/api";
import type { PersistentVolume, PersistentVolumeClaim, Pod, Volume as PodVolume } from "@drayage/kube";
import type { ResourcePolicies } from "./resource-policies.ts";
import { factsOfClaim, factsOfPodVolume, matchingPolicy, type VolumeFacts } from "./volume-facts.ts";

export type ClaimChoice =
  | { readonly by: "snapshot"; readonly parameters: Readonly<Record<string, unknown>> }
  /** A pod's volume is read through its file system; the pod's part of the backup does that. */
  | { readonly by: "fs-backup"; readonly why: string }
  | { readonly by: "nothing"; readonly why: string };

export interface VolumeChoiceOptions {
  readonly spec: Pick<BackupSpec, "snapshotVolumes" | "defaultVolumesToFsBackup">;
  readonly policies: ResourcePolicies | undefined;
  /** Claims are not in the backup, so neither is what pods see of them. */
  readonly claimsExcluded?: boolean;
}

/** Sources whose contents are API objects or the node's own. */
const NEVER_READ = ["hostPath", "secret", "configMap", "projected", "downwardAPI"] as const;

export class VolumeChoice {
  readonly #options: VolumeChoiceOptions;

  constructor(options: VolumeChoiceOptions) {
    this.#options = options;
  }

  /** What becomes of a claim. `users` are the pods that mount it. */
  ofClaim(claim: PersistentVolumeClaim, volume: PersistentVolume | undefined, users: readonly Pod[]): ClaimChoice {
    const { policies, spec } = this.#options;
    const policy = matchingPolicy(policies, factsOfClaim(claim, volume));
    if (policy !== undefined) {
      const { type, parameters } = policy.action;
      if (type === "snapshot") return { by: "snapshot", parameters };
      const why = `a volume policy says ${type}`;
      return type === "fs-backup" ? { by: "fs-backup", why } : { by: "nothing", why };
    }
    const name = claim.metadata.name ?? "";
    const reader = users.find((pod) =>
      (pod.spec.volumes ?? []).some((mounted) => mounted.persistentVolumeClaim?.claimName === name && this.#isWanted(pod, mounted)),
    );
    if (reader !== undefined) return { by: "fs-backup", why: `pod "${reader.metadata.name}" has it read through its file system` };
    if (spec.snapshotVolumes === false) return { by: "nothing", why: "spec.snapshotVolumes is false" };
    return { by: "snapshot", parameters: {} };
  }

  /** Whether a pod's volume is read through the file system. Claim and volume are given where there are some. */
  isRead(pod: Pod, volume: PodVolume, claim: PersistentVolumeClaim | undefined, bound: PersistentVolume | undefined): boolean {
    const { policies, claimsExcluded } = this.#options;
    if (!canBeRead(volume) || (volume.persistentVolumeClaim !== undefined && claimsExcluded === true)) return false;
    const facts: VolumeFacts = claim === undefined ? factsOfPodVolume(volume) : factsOfClaim(claim, bound);
    const policy = matchingPolicy(policies, facts);
    return policy === undefined ? this.#isWanted(pod, volume) : policy.action.type === "fs-backup";
  }

  /** What the pod's annotations say, or the default where they say nothing. */
  #isWanted({ metadata }: Pod, volume: PodVolume): boolean {
    if (!canBeRead(volume)) return false;
    if (this.#options.spec.defaultVolumesToFsBackup !== true) return namesIn(metadata.annotations?.[ANNOTATIONS.backupVolumes]).includes(volume.name);
    return !namesIn(metadata.annotations?.[ANNOTATIONS.backupVolumesExcludes]).includes(volume.name);
  }
}

/** Whether a volume is one that can be read through the file system of the node. */
function canBeRead(volume: PodVolume): boolean {
  const source = volume as unknown as Readonly<Record<string, unknown>>;
  return !volume.name.startsWith("default-token") && NEVER_READ.every((key) => source[key] === undefined);
}

function namesIn(list: string | undefined): readonly string[] {
  return (list ?? "").split(",").map((name) => name.trim());
}
