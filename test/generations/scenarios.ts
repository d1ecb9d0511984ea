/** The scenarios that the cells of docs/generations.md stand on. A cell without one is not proven, and the page says so. */
import type { Cell, Outside, Scenario } from "./matrix.ts";

const CELLS_OF_VMS: readonly Cell[] = ["VMs/filesystem/full", "VMs/filesystem/incremental", "VMs/block/full", "VMs/block/incremental"];
const CELLS_OF_BLOCK: readonly Cell[] = ["containers/block/full", "containers/block/incremental", "VMs/block/full", "VMs/block/incremental"];

export const SCENARIOS: readonly Scenario[] = [
  {
    way: "volsync-1.1",
    cells: ["containers/filesystem/full"],
    file: "test/e2e/oadp-backups.test.ts",
    title: "restores into another namespace, from the older layout and format, by what the status said",
    shows: { "containers/filesystem/full": '.expected["oadp-11"]' },
  },
  {
    way: "volsync-1.2",
    cells: ["containers/filesystem/full"],
    file: "test/e2e/oadp-backups.test.ts",
    title: "restores: its application starts over volumes that hold what they held, also the one that was empty",
    shows: { "containers/filesystem/full": '.expected["oadp-12"]' },
  },
  {
    way: "imported",
    cells: ["containers/filesystem/full"],
    file: "test/e2e/import-volsync.test.ts",
    title: "restores with today's data mover what restic had stored, without restic and its password",
    shows: { "containers/filesystem/full": "expected" },
  },
  {
    way: "mover-claimed",
    cells: ["containers/filesystem/full", "containers/block/full"],
    file: "test/compat/velero-interchange.test.ts",
    title: "a backup of Velero is listed and restored by us, with its data",
    shows: { "containers/filesystem/full": '"files")).toBe(facts)', "containers/block/full": '"disk", "Block")).toBe(diskFacts)' },
  },
  {
    way: "mover-guest",
    cells: ["containers/filesystem/full", "containers/block/full"],
    file: "test/compat/velero-guest.test.ts",
    title: "backs up through our mover, restores through it, and finds what it will delete by",
    shows: { "containers/filesystem/full": '"files")).toBe(facts)', "containers/block/full": '"disk", "Block")).toBe(diskFacts)' },
  },
  {
    way: "fsb-today",
    cells: ["containers/filesystem/full", "containers/filesystem/incremental"],
    file: "test/e2e/pod-volumes.test.ts",
    title: "volumes of a pod are read while it runs, and the pod starts again only when they are filled",
    shows: { "containers/filesystem/full": "toBe(withoutMark(facts))", "containers/filesystem/incremental": "toBe(withoutMark(changed))" },
  },
  {
    way: "csi-today",
    cells: ["containers/filesystem/full", "containers/block/full"],
    file: "test/e2e/kept-snapshots.test.ts",
    title: "come back from their storage, also when the namespace that they were cut in is gone, and go with their backup",
    shows: { "containers/filesystem/full": '"data")).toBe(facts)', "containers/block/full": '"disk", "Block")).toBe(diskFacts)' },
  },
  {
    way: "csi-today",
    cells: ["VMs/filesystem/full", "VMs/block/full"],
    file: "test/e2e/virtual-machines.test.ts",
    title: "disks of a machine that does not run are kept as snapshots, and come back from their storage",
    shows: { "VMs/filesystem/full": "toEqual(wanted)", "VMs/block/full": "toEqual(wanted)" },
  },
  {
    way: "mover-today",
    cells: ["containers/filesystem/full", "containers/filesystem/incremental", "containers/block/full", "containers/block/incremental"],
    file: "test/e2e/data-movement.test.ts",
    title: "brings files and devices back as they were, and moves only what changed the next time",
    shows: {
      "containers/filesystem/full": 'harness.backUp("first"',
      "containers/filesystem/incremental": "toBe(facts[0])",
      "containers/block/full": 'harness.backUp("first"',
      "containers/block/incremental": "toBe(facts[1])",
    },
  },
  {
    way: "mover-today",
    cells: CELLS_OF_VMS,
    file: "test/e2e/virtual-machines.test.ts",
    title: "disks of a machine that runs are moved, what changed alone the next time, and a machine starts over them",
    shows: {
      "VMs/filesystem/full": 'harness.backUp("first"',
      "VMs/filesystem/incremental": 'expectBack("moved", "second", wanted)',
      "VMs/block/full": 'harness.backUp("first"',
      "VMs/block/incremental": 'expectBack("moved", "second", wanted)',
    },
  },
  {
    way: "mover-cephfs",
    cells: ["containers/filesystem/full"],
    file: "test/e2e/ceph.test.ts",
    title: "of CephFS shows snapshots in place, that of RBD clones them; both come back as they were",
    shows: { "containers/filesystem/full": 'files: { storageClass: "cephfs" }' },
  },
  {
    way: "mover-rbd",
    cells: ["containers/filesystem/full", "containers/block/full"],
    file: "test/e2e/ceph.test.ts",
    title: "of CephFS shows snapshots in place, that of RBD clones them; both come back as they were",
    shows: { "containers/filesystem/full": 'store: { storageClass: "rbd"', "containers/block/full": 'disk: { storageClass: "rbd", mode: "Block"' },
  },
];

const NO_PARENT = "every snapshot is whole by itself";
const FILES_ONLY = "reads files, not devices";

export const OUTSIDE: readonly Outside[] = [
  { way: "volsync-1.1", cells: CELLS_OF_BLOCK, why: "that data mover did not take block volumes" },
  { way: "volsync-1.2", cells: CELLS_OF_BLOCK, why: "that data mover did not take block volumes" },
  { way: "imported", cells: CELLS_OF_BLOCK, why: "that data mover did not take block volumes" },
  ...(["volsync-1.1", "volsync-1.2", "imported"] as const).map(
    (way): Outside => ({
      way,
      cells: ["containers/filesystem/incremental", "VMs/filesystem/incremental"],
      why: "each volume of each backup had a repository of its own",
    }),
  ),
  ...(["fsb-restic", "fsb-velero"] as const).flatMap((way): Outside[] => [
    { way, cells: CELLS_OF_BLOCK, why: FILES_ONLY },
    { way, cells: ["VMs/filesystem/full", "VMs/filesystem/incremental"], why: "OADP does not support it" },
  ]),
  { way: "fsb-today", cells: CELLS_OF_BLOCK, why: FILES_ONLY },
  ...(["csi-velero", "csi-today"] as const).map(
    (way): Outside => ({
      way,
      cells: ["containers/filesystem/incremental", "containers/block/incremental", "VMs/filesystem/incremental", "VMs/block/incremental"],
      why: NO_PARENT,
    }),
  ),
  { way: "mover-cephfs", cells: CELLS_OF_BLOCK, why: "CephFS has no block volumes" },
];
