/**
 * Snapshots of volumes that belong together, cut at one moment by their driver: a VolumeGroupSnapshot for all claims of a namespace with the same value of the backup's group label.
 *
 *   VolumeGroupSnapshot ──► its content ──► a VolumeSnapshot for each claim ──► these are made the backup's own ──► group and content go, the snapshots stay
 *
 * After that each snapshot is treated as if it had been cut alone. Invariants: a group is cut once for a backup, whoever of its claims comes first; a group that cannot be cut leaves
 * nothing behind. The class is chosen as Velero chooses it.
 */
import {
  ANNOTATIONS,
  type Backup,
  LABELS,
  type VolumeGroupSnapshot,
  type VolumeGroupSnapshotClass,
  type VolumeGroupSnapshotContent,
  type VolumeSnapshot,
  validLabelValue,
  volumeGroupSnapshotClasses,
  volumeGroupSnapshotContents,
  volumeGroupSnapshots,
  volumeSnapshots,
} from "@drayage/api";
import { type Clock, DrayError, hasCode, type Logger, type RandomSource } from "@drayage/base";
import {
  isDeleting,
  type KubeClient,
  keyOf,
  type PersistentVolume,
  type PersistentVolumeClaim,
  persistentVolumeClaims,
  persistentVolumes,
  type ResourceType,
  requireDuration,
  updateObject,
} from "@drayage/kube";
import { allOf } from "../all-of.ts";

export interface VolumeGroupSnapshotsOptions {
  readonly client: KubeClient;
  readonly clock: Clock;
  readonly random: RandomSource;
}

export interface GroupMember {
  readonly claim: PersistentVolumeClaim;
  readonly driver: string;
  readonly backup: Backup;
}

const POLL_FIRST_MS = 100;
const POLL_FACTOR = 1.5;
const POLL_MAX_MS = 2_000;
const CLEAN_UP_MS = 30_000;
/** The API is served in the later version since external-snapshotter 8.4; both mean the same here. */
const VERSIONS = ["v1beta2", "v1beta1"] as const;
/** Of external-snapshotter: a member goes only with its group. */
const IN_GROUP = "snapshot.storage.kubernetes.io/volumesnapshot-in-group-protection";

/** The value of the group label; undefined for a claim that belongs to none. */
export function groupOf({ metadata }: PersistentVolumeClaim, { spec }: Backup): string | undefined {
  const key = spec.volumeGroupSnapshotLabelKey ?? "";
  const group = key === "" ? undefined : metadata.labels?.[key];
  return group === undefined || group === "" ? undefined : group;
}

/** The groups of one backup. */
export class VolumeGroupSnapshots {
  readonly #options: VolumeGroupSnapshotsOptions;
  /** Snapshots by the names of their claims; by namespace and value of the group. */
  readonly #cut = new Map<string, Promise<ReadonlyMap<string, VolumeSnapshot>>>();

  constructor(options: VolumeGroupSnapshotsOptions) {
    this.#options = options;
  }

  /** Whether any group was cut: there may then be snapshots of claims that the backup does not take. */
  get wereCut(): boolean {
    return this.#cut.size > 0;
  }

  /** The snapshot of a claim, cut together with those of its group. Throws SNAPSHOT_FAILED, TIMED_OUT. */
  async snapshotOf(member: GroupMember, group: string, log: Logger, signal: AbortSignal): Promise<VolumeSnapshot> {
    const { namespace = "", name = "" } = member.claim.metadata;
    const key = `${namespace}/${group}`;
    let cutting = this.#cut.get(key);
    if (cutting === undefined) {
      cutting = this.#cutGroup(member, group, log, signal);
      this.#cut.set(key, cutting);
    }
    const snapshot = (await cutting).get(name);
    if (snapshot !== undefined) return snapshot;
    throw new DrayError("SNAPSHOT_FAILED", `Cannot take a snapshot of claim "${namespace}/${name}": it came to group "${group}" after that was cut`, {
      hint: "Run the backup again.",
    });
  }

  async #cutGroup(member: GroupMember, group: string, log: Logger, signal: AbortSignal): Promise<ReadonlyMap<string, VolumeSnapshot>> {
    const { client } = this.#options;
    const { backup, claim, driver } = member;
    const { namespace = "" } = claim.metadata;
    const labelKey = backup.spec.volumeGroupSnapshotLabelKey ?? "";
    const claims = await this.#claimsOf(namespace, labelKey, group, driver, signal);
    const served = await this.#served(group, signal);
    const className = await this.#classOf(member, served, group, signal);
    const created = await client.create<VolumeGroupSnapshot>(
      served.groups,
      {
        apiVersion: `${served.groups.group}/${served.groups.version}`,
        kind: "VolumeGroupSnapshot",
        metadata: {
          generateName: `velero-${group}-`,
          namespace,
          labels: { ...backupLabels(backup), [labelKey]: group },
        },
        spec: { volumeGroupSnapshotClassName: className, source: { selector: { matchLabels: { [labelKey]: group } } } },
      },
      { signal },
    );
    log.info(`VolumeGroupSnapshot "${namespace}/${created.metadata.name}" was created for ${claims.length} claims of group "${group}"`);
    try {
      const timeoutMs = requireDuration(backup.spec.csiSnapshotTimeout ?? "0s", "spec.csiSnapshotTimeout");
      const { members, contentName } = await this.#untilCut(created, claims, served, timeoutMs, signal);
      for (const [claimName, snapshot] of members) members.set(claimName, await this.#adopt(snapshot, created, backup, signal));
      await release(client, served, created, contentName, signal);
      return members;
    } catch (error) {
      await removeGroup(client, served, created, AbortSignal.timeout(CLEAN_UP_MS)).catch((failure: unknown) =>
        log.warn(`VolumeGroupSnapshot "${namespace}/${created.metadata.name}" was left behind`, { error: String(failure) }),
      );
      throw error;
    }
  }

  /** The names of the group's claims, all of which must be of the one driver: a group is cut by one. */
  async #claimsOf(namespace: string, labelKey: string, group: string, driver: string, signal: AbortSignal): Promise<readonly string[]> {
    const { client } = this.#options;
    const names: string[] = [];
    for await (const claim of client.listAll<PersistentVolumeClaim>(persistentVolumeClaims, { namespace, labelSelector: `${labelKey}=${group}`, signal })) {
      const name = claim.metadata.name ?? "";
      const volume =
        claim.spec.volumeName === undefined ? undefined : await client.find<PersistentVolume>(persistentVolumes, { name: claim.spec.volumeName }, signal);
      const itsDriver = volume?.spec.csi?.driver;
      if (itsDriver !== driver) {
        const what = itsDriver === undefined ? "not provided by a CSI driver" : `of driver "${itsDriver}"`;
        throw new DrayError(
          "SNAPSHOT_FAILED",
          `Cannot cut group "${group}" of namespace "${namespace}": claim "${name}" is ${what}, others are of "${driver}"`,
          {
            hint: `Give the label ${labelKey} only to claims of one driver, and another value to each driver's.`,
          },
        );
      }
      names.push(name);
    }
    return names;
  }

  async #served(group: string, signal: AbortSignal): Promise<ServedGroups> {
    for (const version of VERSIONS) {
      const classes = { ...volumeGroupSnapshotClasses, version };
      try {
        await this.#options.client.list<VolumeGroupSnapshotClass>(classes, { limit: 1, signal });
        return { classes, groups: { ...volumeGroupSnapshots, version }, contents: { ...volumeGroupSnapshotContents, version } };
      } catch (error) {
        if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
      }
    }
    throw new DrayError("SNAPSHOT_FAILED", `Cannot cut group "${group}": the cluster does not know VolumeGroupSnapshots`, {
      hint: "Install the group snapshot definitions of external-snapshotter and enable its CSIVolumeGroupSnapshot feature, or take the label off the claims.",
    });
  }

  async #classOf({ claim, driver, backup }: GroupMember, { classes }: ServedGroups, group: string, signal: AbortSignal): Promise<string> {
    const asked =
      claim.metadata.annotations?.[ANNOTATIONS.volumeGroupSnapshotClassOfClaim] ??
      backup.metadata.annotations?.[`${ANNOTATIONS.volumeGroupSnapshotClass}_${driver}`];
    if (asked !== undefined && asked !== "") return asked;
    const all = await allOf(this.#options.client.listAll<VolumeGroupSnapshotClass>(classes, { signal }));
    const ofDriver = all.filter((candidate) => candidate.driver === driver);
    const marked = ofDriver.filter(({ metadata }) => metadata.labels?.[LABELS.volumeGroupSnapshotClass] === "true");
    const [only] = marked;
    if (only !== undefined && marked.length === 1) return only.metadata.name ?? "";
    throw new DrayError(
      "SNAPSHOT_FAILED",
      `Cannot cut group "${group}": driver "${driver}" has ${ofDriver.length} VolumeGroupSnapshotClasses, ${marked.length} of them labelled ${LABELS.volumeGroupSnapshotClass}=true, where 1 is wanted`,
      { hint: `Create a VolumeGroupSnapshotClass with driver: ${driver}, and label it.` },
    );
  }

  /** Waits until every claim has a snapshot that belongs to the group and is ready. */
  async #untilCut(
    group: VolumeGroupSnapshot,
    claims: readonly string[],
    { groups }: ServedGroups,
    timeoutMs: number,
    signal: AbortSignal,
  ): Promise<{ readonly members: Map<string, VolumeSnapshot>; readonly contentName: string }> {
    const { client, clock } = this.#options;
    const untilMs = clock.nowMs() + timeoutMs;
    for (let delayMs = POLL_FIRST_MS; ; delayMs = Math.min(delayMs * POLL_FACTOR, POLL_MAX_MS)) {
      const { status } = await client.get<VolumeGroupSnapshot>(groups, keyOf(group), signal);
      const contentName = status?.boundVolumeGroupSnapshotContentName;
      const members = new Map<string, VolumeSnapshot>();
      for await (const snapshot of client.listAll<VolumeSnapshot>(volumeSnapshots, { namespace: group.metadata.namespace, signal })) {
        const claimName = snapshot.spec.source.persistentVolumeClaimName;
        const isMember = snapshot.metadata.ownerReferences?.some(({ uid }) => uid === group.metadata.uid) === true;
        // The snapshot controller (external-snapshotter 8.7) writes into a member only while its group is there: one that is not ready would never be.
        if (claimName !== undefined && isMember && snapshot.status?.readyToUse === true) members.set(claimName, snapshot);
      }
      if (contentName !== undefined && claims.every((name) => members.has(name))) return { members, contentName };
      if (clock.nowMs() + delayMs > untilMs) {
        const missing = claims.filter((name) => !members.has(name));
        const complaint = status?.error?.message;
        throw new DrayError(
          "TIMED_OUT",
          `VolumeGroupSnapshot "${group.metadata.namespace}/${group.metadata.name}" has no snapshot that is ready of ${missing.join(", ")} after ${timeoutMs / 1000} s${complaint === undefined ? "" : `: ${complaint}`}`,
          { hint: "Look at the CSI driver's snapshotter and at the snapshot controller, or raise spec.csiSnapshotTimeout." },
        );
      }
      await clock.sleep(delayMs, signal);
    }
  }

  /** Makes a snapshot independent of its group, and the backup's own. */
  async #adopt(snapshot: VolumeSnapshot, group: VolumeGroupSnapshot, backup: Backup, signal: AbortSignal): Promise<VolumeSnapshot> {
    const { client, clock, random } = this.#options;
    return updateObject<VolumeSnapshot>(
      client,
      volumeSnapshots,
      keyOf(snapshot),
      (current) => {
        const { ownerReferences = [], finalizers = [], ...metadata } = current.metadata;
        const owners = ownerReferences.filter(({ uid }) => uid !== group.metadata.uid);
        const kept = finalizers.filter((finalizer) => finalizer !== IN_GROUP);
        return {
          ...current,
          metadata: {
            ...metadata,
            labels: { ...metadata.labels, ...backupLabels(backup) },
            ...(owners.length === 0 ? {} : { ownerReferences: owners }),
            ...(kept.length === 0 ? {} : { finalizers: kept }),
          },
        };
      },
      { clock, random, signal },
    );
  }
}

interface ServedGroups {
  readonly classes: ResourceType<VolumeGroupSnapshotClass>;
  readonly groups: ResourceType<VolumeGroupSnapshot>;
  readonly contents: ResourceType<VolumeGroupSnapshotContent>;
}

function backupLabels({ metadata }: Backup): Record<string, string> {
  return { [LABELS.backupName]: validLabelValue(metadata.name ?? ""), [LABELS.backupUid]: metadata.uid ?? "" };
}

/** Takes the group away and leaves its snapshots. */
async function release(
  client: KubeClient,
  { groups, contents }: ServedGroups,
  group: VolumeGroupSnapshot,
  contentName: string,
  signal: AbortSignal,
): Promise<void> {
  await client.patch<VolumeGroupSnapshotContent>(contents, { name: contentName }, "merge", { spec: { deletionPolicy: "Retain" } }, { signal });
  await client.delete(contents, { name: contentName }, { signal });
  await client.delete(groups, keyOf(group), { signal });
}

/** Takes the group away with its snapshots, whatever its class says. */
async function removeGroup(client: KubeClient, { groups, contents }: ServedGroups, group: VolumeGroupSnapshot, signal: AbortSignal): Promise<void> {
  const contentName = (await client.find<VolumeGroupSnapshot>(groups, keyOf(group), signal))?.status?.boundVolumeGroupSnapshotContentName;
  if (contentName !== undefined) {
    try {
      await client.patch<VolumeGroupSnapshotContent>(contents, { name: contentName }, "merge", { spec: { deletionPolicy: "Delete" } }, { signal });
    } catch (error) {
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
  await client.delete(groups, keyOf(group), { signal });
}

/** Removes the groups that a backup had begun to cut when its process ended. Returns how many there were. */
export async function removeOrphanGroups(client: KubeClient, backup: Backup, signal: AbortSignal): Promise<number> {
  const labelSelector = `${LABELS.backupUid}=${backup.metadata.uid}`;
  for (const version of VERSIONS) {
    const served = {
      classes: { ...volumeGroupSnapshotClasses, version },
      groups: { ...volumeGroupSnapshots, version },
      contents: { ...volumeGroupSnapshotContents, version },
    };
    try {
      const all = await allOf(client.listAll<VolumeGroupSnapshot>(served.groups, { labelSelector, signal }));
      // One that is on its way out was let go with its snapshots kept, or removed with them: it is not decided again.
      const left = all.filter((group) => !isDeleting(group));
      for (const group of left) await removeGroup(client, served, group, signal);
      return left.length;
    } catch (error) {
      // A cluster that does not know groups has none to remove.
      if (!hasCode(error, "KUBE_NOT_FOUND")) throw error;
    }
  }
  return 0;
}
