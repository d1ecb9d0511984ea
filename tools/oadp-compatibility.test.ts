import { describe, expect, it } from "vitest";
import { oadpFieldTables } from "../test/compat-fields/oadp.ts";
import { OADP_STRUCTURES } from "../test/compat-fields/oadp-published.ts";
import { comparison, oadpFaults } from "./oadp-compatibility.ts";

describe("the fields of OADP", () => {
  it("are those of our definitions, each with a test that is there", () => {
    expect(oadpFaults()).toEqual([]);
    expect(comparison("DataProtectionApplication").fields.length).toBeGreaterThan(150);
  });

  it.each<[what: string, structure: string, change: Record<string, string>, fault: string]>([
    ["one is missing here", "Velero", { invented: "string" }, "spec.configuration.velero.invented: OADP's definition has it, ours has not"],
    ["a type differs", "Velero", { itemBlockWorkerCount: "string" }, "spec.configuration.velero.itemBlockWorkerCount: it is of type integer, OADP's is string"],
    [
      "a choice differs",
      "NodeAgent",
      { uploaderType: "one of kopia !" },
      "spec.configuration.nodeAgent.uploaderType: its choices are restic,kopia, OADP's are kopia",
    ],
    ["one need not be given", "CustomPlugin", { image: "string" }, "spec.configuration.velero.customPlugins[].image: need not be given in OADP's definition"],
    ["a default differs", "Velero", { disableFsBackup: "boolean = true" }, "spec.configuration.velero.disableFsBackup: its default is false, OADP's is true"],
    [
      "a structure of Velero's differs",
      "SnapshotLocation",
      { velero: "velero.io/Backup !" },
      "spec.snapshotLocations[].velero: its shape is not that of velero.io/Backup",
    ],
    [
      "a structure of Kubernetes differs",
      "PodConfig",
      { env: "list of core/Toleration" },
      "spec.configuration.velero.podConfig.env: its shape is not that of core/Toleration",
    ],
  ])("are compared: it is told when %s", (_what, structure, change, fault) => {
    const structures = { ...OADP_STRUCTURES, [structure]: { ...OADP_STRUCTURES[structure], ...change } };
    expect(comparison("DataProtectionApplication", structures).faults).toContain(`DataProtectionApplication.${fault}`);
  });

  it("are compared: it is told when ours has one more", () => {
    const { logFormat: _left, ...rest } = OADP_STRUCTURES["ApplicationSpec"] ?? {};
    expect(comparison("DataProtectionApplication", { ...OADP_STRUCTURES, ApplicationSpec: rest }).faults).toEqual([
      "DataProtectionApplication.spec.logFormat: our definition has it, OADP's has not",
    ]);
  });

  it("have an entry each: it is told when one is missing, and when one is of no field", () => {
    const { "spec.podAnnotations": _left, ...rest } = oadpFieldTables["DataProtectionApplication"] ?? {};
    const invented = { "spec.invented": Object.values(rest)[0] as NonNullable<(typeof rest)[string]> };
    expect(oadpFaults({ ...oadpFieldTables, DataProtectionApplication: { ...rest, ...invented } })).toEqual([
      "DataProtectionApplication.spec.podAnnotations: OADP has it, test/compat-fields says nothing of it",
      "DataProtectionApplication.spec.invented: OADP has no such field",
    ]);
  });
});
