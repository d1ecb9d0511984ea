/** The scenarios that the cells of docs/generations.md stand on. A cell without one is not proven, and the page says so. */
import { CELLS, type Cell, type Outside, type Scenario } from "./matrix.ts";

const CELLS_OF_VMS: readonly Cell[] = ["VMs/filesystem/full", "VMs/filesystem/incremental", "VMs/block/full", "VMs/block/incremental"];
const CELLS_OF_BLOCK: readonly Cell[] = ["containers/block/full", "containers/block/incremental", "VMs/block/full", "VMs/block/incremental"];

const NODE_AGENT_TITLE = "comes back where Drayage runs alone: files and devices of pods and machines, and the files of a pod that was read while it ran";

/** Of a test that compares what a first backup held, and what a second one of what changed alone. */
const bothExtents = (full: string, incremental: string): Scenario["shows"] =>
  Object.fromEntries(CELLS.map((cell) => [cell, cell.endsWith("full") ? full : incremental]));

export const SCENARIOS: readonly Scenario[] = [
  {
    way: "volsync-1.1",
    cells: ["containers/filesystem/full", "VMs/filesystem/full"],
    file: "test/e2e/oadp-backups.test.ts",
    title: "restores into another namespace, from the older layout and format, by what the status said",
    shows: { "containers/filesystem/full": '.expected["oadp-11"]?.["orders"]', "VMs/filesystem/full": '.expected["oadp-11"]?.["root"]' },
  },
  {
    way: "volsync-1.2",
    cells: ["containers/filesystem/full", "VMs/filesystem/full"],
    file: "test/e2e/oadp-backups.test.ts",
    title: "restores: its application starts over volumes that hold what they held, also the one that was empty",
    shows: { "containers/filesystem/full": '.expected["oadp-12"]?.["orders"]', "VMs/filesystem/full": '.expected["oadp-12"]?.["root"]' },
  },
  {
    way: "imported",
    cells: ["containers/filesystem/full", "VMs/filesystem/full"],
    file: "test/e2e/import-volsync.test.ts",
    title: "restores with today's data mover what restic had stored, without restic and its password",
    shows: { "containers/filesystem/full": '.expected["oadp-12"]?.["orders"]', "VMs/filesystem/full": '.expected["oadp-12"]?.["root"]' },
  },
  {
    way: "fsb-restic",
    cells: ["containers/filesystem/full", "containers/filesystem/incremental"],
    file: "test/e2e/oadp-backups.test.ts",
    title: "come back from the one repository of their namespace, the first and the one that stored what changed alone",
    shows: { "containers/filesystem/full": 'files.expected["files-1"]', "containers/filesystem/incremental": 'files.expected["files-2"]' },
  },
  {
    way: "csi-velero",
    cells: ["containers/filesystem/full", "containers/block/full", "VMs/filesystem/full", "VMs/block/full"],
    file: "test/compat/velero-node-agent.test.ts",
    title: "come back where Drayage has taken its place: files and devices of pods and machines",
    shows: Object.fromEntries(CELLS.filter((cell) => cell.endsWith("full")).map((cell) => [cell, "factsOfAll(there, POD_AND_MACHINE)).toEqual(wanted)"])),
  },
  {
    way: "mover-velero",
    cells: CELLS,
    file: "test/compat/velero-node-agent.test.ts",
    title: NODE_AGENT_TITLE,
    shows: bothExtents('facts(here, "-before")).toEqual(first)', "facts(here)).toEqual(second)"),
  },
  {
    way: "fsb-velero",
    cells: ["containers/filesystem/full", "containers/filesystem/incremental"],
    file: "test/compat/velero-node-agent.test.ts",
    title: NODE_AGENT_TITLE,
    shows: {
      "containers/filesystem/full": 'facts(here, "-before")).toEqual(first)',
      "containers/filesystem/incremental": "facts(here)).toEqual(second)",
    },
  },
  {
    way: "mover-claimed",
    cells: CELLS,
    file: "test/compat/velero-interchange.test.ts",
    title: "backups of Velero, a full one and one of what changed, are listed and restored by us, with their data",
    shows: bothExtents('POD_AND_MACHINE, "-before")).toEqual(first)', "POD_AND_MACHINE)).toEqual(second)"),
  },
  {
    way: "mover-guest",
    cells: CELLS,
    file: "test/compat/velero-guest.test.ts",
    title: "backs up through our mover, what changed alone the next time, restores through it, and has by what it will delete",
    shows: bothExtents('POD_AND_MACHINE, "-before")).toEqual(before)', "POD_AND_MACHINE)).toEqual(after)"),
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
    cells: ["containers/filesystem/full", "containers/filesystem/incremental", "VMs/filesystem/full", "VMs/filesystem/incremental"],
    file: "test/e2e/ceph.test.ts",
    title: "of CephFS shows snapshots in place, that of RBD clones them; both come back as they were",
    shows: {
      "containers/filesystem/full": 'all("-before")).toEqual(first)',
      "containers/filesystem/incremental": "all()).toEqual(second)",
      "VMs/filesystem/full": 'all("-before")).toEqual(first)',
      "VMs/filesystem/incremental": "all()).toEqual(second)",
    },
  },
  {
    way: "mover-rbd",
    cells: CELLS,
    file: "test/e2e/ceph.test.ts",
    title: "of CephFS shows snapshots in place, that of RBD clones them; both come back as they were",
    shows: bothExtents('all("-before")).toEqual(first)', "all()).toEqual(second)"),
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
  {
    way: "fsb-today",
    cells: ["VMs/filesystem/full", "VMs/filesystem/incremental"],
    why: "such a volume is filled before its pod starts, and a machine makes its launcher pod anew instead of having it restored",
  },
  ...(["csi-velero", "csi-today"] as const).map(
    (way): Outside => ({
      way,
      cells: ["containers/filesystem/incremental", "containers/block/incremental", "VMs/filesystem/incremental", "VMs/block/incremental"],
      why: NO_PARENT,
    }),
  ),
  { way: "mover-cephfs", cells: CELLS_OF_BLOCK, why: "CephFS has no block volumes" },
];
