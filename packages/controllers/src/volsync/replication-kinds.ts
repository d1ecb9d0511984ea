/** The two kinds side by side: what differs between them stands here. */
import {
  REPOSITORY_FORMAT_ANNOTATION,
  type ReplicationDestination,
  type ReplicationSource,
  type RepositoryFormat,
  replicationDestinations,
  replicationSources,
} from "@drayage/api";
import type { ResourceType } from "@drayage/kube";

export type Replication = ReplicationSource | ReplicationDestination;

export interface ReplicationKind<T extends Replication = Replication> {
  readonly type: ResourceType<T>;
  readonly direction: "src" | "dst";
}

export const SOURCE: ReplicationKind<ReplicationSource> = { type: replicationSources, direction: "src" };
export const DESTINATION: ReplicationKind<ReplicationDestination> = { type: replicationDestinations, direction: "dst" };

/** As VolSync names things that it makes; a name that gets too long ends in the owner's UID. */
export function childName(object: Replication, before: string, after = ""): string {
  const { name = "", uid = "" } = object.metadata;
  const whole = `${before}${name}${after}`;
  return whole.length <= 63 ? whole : `${whole.slice(0, 54).replace(/[^a-z0-9]+$/, "")}-${uid.slice(0, 8)}`;
}

export const sourceCopyName = (object: Replication): string => childName(object, "volsync-", "-src");
export const destinationName = (object: Replication): string => childName(object, "volsync-", "-dest");
export const cacheName = (kind: ReplicationKind, object: Replication): string => childName(object, `volsync-${kind.direction}-`, "-cache");

export function formatOf({ metadata }: Replication): RepositoryFormat | undefined {
  const named = metadata.annotations?.[REPOSITORY_FORMAT_ANNOTATION] ?? "restic";
  return named === "restic" || named === "kopia" ? named : undefined;
}

/** The claim that the mover works on, and for a destination fills. */
export function volumeClaimName(object: Replication): string {
  if (isSource(object)) return copiesDirectly(object) ? (object.spec.sourcePVC ?? "") : sourceCopyName(object);
  const { destinationPVC = "" } = object.spec.restic ?? {};
  return destinationPVC === "" ? destinationName(object) : destinationPVC;
}

export function isSource(object: Replication): object is ReplicationSource {
  return object.kind === "ReplicationSource";
}

/** `None` is the old name of `Direct`. VolSync's default for a source is Snapshot, for a destination too. */
export function copyMethodOf({ spec }: Replication): "Direct" | "Clone" | "Snapshot" {
  const method = spec.restic?.copyMethod ?? "Snapshot";
  return method === "None" ? "Direct" : method;
}

export function copiesDirectly(object: Replication): boolean {
  return copyMethodOf(object) === "Direct";
}
