/** Keeps account of the lives of all objects that are worked on: each reaches one end, and never leaves it. */
import {
  backups,
  dataDownloads,
  dataMoverBackups,
  dataMoverRestores,
  dataUploads,
  deleteBackupRequests,
  podVolumeBackups,
  podVolumeRestores,
  restores,
  volumeSnapshotBackups,
  volumeSnapshotRestores,
} from "@drayage/api";
import type { KubeObject, ResourceType } from "@drayage/kube";
import type { FakeKubeClient } from "@drayage/kube/testing";

type Lively = KubeObject & { readonly status?: { readonly phase?: string; readonly message?: string; readonly failureReason?: string } };

const OF_RUNS = ["Completed", "PartiallyFailed", "Failed", "FailedValidation"];
const OF_MOVEMENTS = ["Completed", "Failed", "Canceled"];
const OF_THEN = ["Completed", "PartiallyFailed", "Failed"];

/** The ends of each kind, and what may come after an end. */
const KINDS: readonly { readonly type: ResourceType<KubeObject>; readonly ends: readonly string[]; readonly after?: string }[] = [
  { type: backups as never, ends: OF_RUNS, after: "Deleting" },
  { type: restores as never, ends: OF_RUNS },
  { type: dataUploads as never, ends: OF_MOVEMENTS },
  { type: dataDownloads as never, ends: OF_MOVEMENTS },
  { type: podVolumeBackups as never, ends: OF_MOVEMENTS },
  { type: podVolumeRestores as never, ends: OF_MOVEMENTS },
  { type: dataMoverBackups as never, ends: OF_MOVEMENTS },
  { type: dataMoverRestores as never, ends: OF_MOVEMENTS },
  { type: volumeSnapshotBackups as never, ends: OF_THEN },
  { type: volumeSnapshotRestores as never, ends: OF_THEN },
  { type: deleteBackupRequests as never, ends: ["Processed"] },
];

export class LifeBook {
  readonly violations: string[] = [];
  readonly #client: FakeKubeClient;
  /** By UID. */
  readonly #ends = new Map<string, { readonly name: string; readonly phase: string }>();
  readonly #seen = new Set<string>();

  constructor(client: FakeKubeClient) {
    this.#client = client;
    for (const { type, ends, after: allowed } of KINDS) {
      client.react<Lively>(type as ResourceType<Lively>, (_before, after) => {
        if (after === undefined) return;
        const uid = after.metadata.uid ?? "";
        this.#seen.add(uid);
        const name = `${type.kind} ${after.metadata.name}`;
        const phase = after.status?.phase ?? "New";
        const end = this.#ends.get(uid);
        if (end !== undefined && phase !== end.phase && phase !== allowed) this.violations.push(`${name} was ${end.phase} and became ${phase}`);
        if (end === undefined && ends.includes(phase)) this.#ends.set(uid, { name, phase });
      });
    }
  }

  /** How many objects there were. */
  get subjects(): number {
    return this.#seen.size;
  }

  /** What has not come to its end yet, or has not been let go of. */
  unended(): string[] {
    return KINDS.flatMap(({ type, ends, after }) =>
      this.#client
        .all<Lively>(type as ResourceType<Lively>)
        .filter(({ metadata, status }) => !(ends.includes(status?.phase ?? "") && (metadata.deletionTimestamp === undefined || after !== undefined)))
        // A deletion that was refused leaves its backup marked; that is for whoever reads why.
        .filter(({ status }) => status?.phase !== "Deleting")
        .map(({ metadata, status }) => `${type.kind} ${metadata.name} is ${status?.phase ?? "New"} (${status?.message ?? status?.failureReason ?? ""})`),
    );
  }

  endOf(uid: string): string {
    const end = this.#ends.get(uid);
    return end === undefined ? (this.#seen.has(uid) ? "something that was deleted" : "nothing") : `${end.name}, which is ${end.phase}`;
  }

  ends(): Readonly<Record<string, string>> {
    return Object.fromEntries([...this.#ends.values()].map(({ name, phase }) => [name, phase]));
  }
}
