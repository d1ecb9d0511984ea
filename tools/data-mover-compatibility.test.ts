import { expect, it } from "vitest";
import { dataMoverFieldTables, dataMoverKeys } from "../test/compat-fields/data-mover.ts";
import { dataMoverFaults } from "./data-mover-compatibility.ts";

it("every field, label and annotation of OADP's data mover has an entry, each with a test that is there and speaks of it", () => {
  expect(dataMoverFaults()).toEqual([]);
});

it("it is told when a field has no entry, or a test that does not speak of it", () => {
  const { "status.phase": phase, ...rest } = dataMoverFieldTables["VolumeSnapshotBackup"] ?? {};
  if (phase === undefined) throw new Error("there is no such field");
  expect(dataMoverFaults({ ...dataMoverFieldTables, VolumeSnapshotBackup: rest })).toEqual([
    "VolumeSnapshotBackup.status.phase: the definition has it, test/compat-fields says nothing of it",
  ]);
  const silent = { ...phase, evidence: { ...phase.evidence, shows: ["status", "unheard"].join(".") } };
  expect(dataMoverFaults({ ...dataMoverFieldTables, VolumeSnapshotBackup: { ...rest, "status.phase": silent } })).toEqual([
    expect.stringContaining('does not speak of "status.unheard"'),
  ]);
});

it("it is told when an annotation has no entry, and when nobody knows of one", () => {
  const { "drayage.io/progress": progress, ...rest } = dataMoverKeys["VolumeSnapshotRestore"] ?? {};
  if (progress === undefined) throw new Error("there is no such annotation");
  expect(dataMoverFaults(dataMoverFieldTables, { ...dataMoverKeys, VolumeSnapshotRestore: { ...rest, "drayage.io/else": progress } })).toEqual([
    'VolumeSnapshotRestore "drayage.io/progress": packages/api names it, test/compat-fields says nothing of it',
    'VolumeSnapshotRestore "drayage.io/else": packages/api names no such key',
  ]);
});
