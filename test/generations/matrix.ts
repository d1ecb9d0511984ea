/** What the support matrix has cells for. `tools/generations.ts` writes docs/generations.md from it and from the scenarios, and checks that each of them is there, is run, and speaks of its cell. */

export const WORKLOADS = ["containers", "VMs"] as const;
export const MODES = ["filesystem", "block"] as const;
export const EXTENTS = ["full", "incremental"] as const;

export type Workload = (typeof WORKLOADS)[number];
export type Mode = (typeof MODES)[number];
export type Extent = (typeof EXTENTS)[number];
/** `containers/filesystem/full`. */
export type Cell = `${Workload}/${Mode}/${Extent}`;

export const CELLS: readonly Cell[] = WORKLOADS.flatMap((workload) => MODES.flatMap((mode) => EXTENTS.map((extent): Cell => `${workload}/${mode}/${extent}`)));

/** Ways that a volume's data get into a backup, by the generation that made it. */
export const WAYS = {
  "volsync-1.1": "OADP 1.1: data mover (VolSync, restic)",
  "volsync-1.2": "OADP 1.2: data mover (VolSync, restic)",
  imported: "OADP 1.1 and 1.2: data mover, turned into today's by `dray import volsync`",
  "fsb-restic": "OADP 1.1 to 1.5: file-system backup, restic",
  "fsb-velero": "OADP 1.3 to 1.5: file-system backup, kopia",
  "csi-velero": "OADP 1.1 to 1.5: CSI snapshots",
  "mover-velero": "OADP 1.3 to 1.5: CSI data mover, moved by Velero's node-agents",
  "mover-claimed": "Velero 1.18 decides, Drayage's node-agents move (`--claim-builtin`)",
  "mover-guest": "Velero 1.18 decides, Drayage moves as data mover `drayage`",
  "fsb-today": "today: file-system backup",
  "csi-today": "today: CSI snapshots",
  "mover-today": "today: CSI data mover",
  "mover-cephfs": "today: CSI data mover, CephFS (shown in place)",
  "mover-rbd": "today: CSI data mover, Ceph RBD",
} as const;
export type Way = keyof typeof WAYS;

/** A test that takes a volume of a cell through backup and restore and compares every byte. */
export interface Scenario {
  readonly way: Way;
  readonly cells: readonly Cell[];
  /** A path in the repository. */
  readonly file: string;
  /** Of the test, as it is registered. */
  readonly title: string;
  /** What must stand in the test for each cell that needs more than running it: the comparison that makes it so. */
  readonly shows: Partial<Record<Cell, string>>;
}

/** A cell that there is nothing to prove for: the way does not take such a volume. */
export interface Outside {
  readonly way: Way;
  readonly cells: readonly Cell[];
  readonly why: string;
}
