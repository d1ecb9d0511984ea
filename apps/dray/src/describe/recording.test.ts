/** What our command line prints of the objects and files that a real Velero 1.18.3 wrote, beside what its own command line printed of them (test/fixtures/velero-1.18.3). */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import type { Backup, BackupStorageLocation, Restore } from "@drayage/api";
import { describe, expect, it } from "vitest";
import { backupKind } from "../commands/backup-get.ts";
import { locationKind } from "../commands/backup-location-get.ts";
import { restoreKind } from "../commands/restore-get.ts";
import { printObjects } from "../output/object-output.ts";
import { type BackupDetails, describeBackup } from "./backup.ts";
import { describeRestore, type RestoreDetails } from "./restore.ts";

const recorded = new URL("../../../../test/fixtures/velero-1.18.3/", import.meta.url);
const read = (path: string): Buffer => readFileSync(new URL(path, recorded));
const unpacked = <T>(path: string): T => JSON.parse(gunzipSync(read(`bucket/${path}`)).toString("utf8")) as T;

/** What the command printed, without its own line and the exit code. */
const printed = (name: string): string => {
  const lines = read(`cli/${name}.txt`).toString("utf8").split("\n");
  return lines.slice(1, lines.lastIndexOf("exit 0")).join("\n");
};

/** The lines of a text with what is in them: how many spaces align them, and where empty lines part them, is left to each program. */
const layoutOf = (text: string): string[] =>
  text
    .split("\n")
    .filter((line) => line.trim() !== "")
    .map((line) => `${/^ */.exec(line)?.[0] ?? ""}${line.trim().replaceAll(/ {2,}/g, " ")}`);

const second = JSON.parse(read("bucket/backups/second/velero-backup.json").toString("utf8")) as Backup;
const lastStage = (JSON.parse(read("objects/back-stages.json").toString("utf8")) as Pick<Restore, "spec" | "status">[]).at(-1);
const back: Restore = {
  metadata: { name: "back", namespace: "velero", creationTimestamp: "2026-11-21T04:11:58Z" },
  spec: lastStage?.spec ?? {},
  ...(lastStage?.status === undefined ? {} : { status: lastStage.status }),
};

describe("describeBackup", () => {
  const details: BackupDetails = {
    results: unpacked("backups/second/second-results.gz"),
    operations: unpacked("backups/second/second-itemoperations.json.gz"),
    resourceList: unpacked("backups/second/second-resource-list.json.gz"),
    volumes: unpacked("backups/second/second-volumeinfo.json.gz"),
  };

  it("prints what Velero prints, but for two habits of our own", () => {
    const wanted = layoutOf(printed("04-backup-describe")).flatMap((line, index, lines) => {
      // Sizes are also told in units that people read.
      const size = /^( +(?:Moved|Incremental) data Size \(bytes\): )(\d+)$/.exec(line);
      if (size !== null) return [`${line} (${{ 1500101: "1.4 MiB", 4194304: "4.0 MiB", 13: "13 B" }[Number(size[2])]})`];
      // What an operation updates stands beside its label.
      if (line.endsWith("Items to Update:")) return [`${line} ${lines[index + 1]?.trim()}`];
      return lines[index - 1]?.endsWith("Items to Update:") === true ? [] : [line];
    });
    expect(layoutOf(describeBackup(second, details))).toEqual(wanted);
  });

  it("says where details are when they were not asked for", () => {
    const text = describeBackup(second, {});
    expect(text).toContain("Backup Item Operations:  2 of 2 completed successfully, 0 failed (specify --details for more information)\n");
    expect(text).not.toContain("Resource List:");
    expect(text).not.toContain("Backup Volumes:");
  });

  it("shows each volume on its way while the backup runs", () => {
    const upload = {
      metadata: { name: "second-7g46f" },
      spec: { sourceNamespace: "notes", sourcePVC: "files", backupStorageLocation: "default", operationTimeout: "10m", snapshotType: "CSI" },
      status: { phase: "InProgress", progress: { bytesDone: 524_288, totalBytes: 1_048_576 } },
    } as const;
    const text = describeBackup({ ...second, status: { phase: "WaitingForPluginOperations" } }, { uploads: [upload] });
    expect(text).toContain("Backup Item Operations:\n  notes/files: InProgress, 512 KiB of 1.0 MiB (50 %)\n");
  });

  it("points to the log of a backup that went wrong, and shows errors and warnings only where there are any", () => {
    const status = { phase: "PartiallyFailed", errors: 1, failureReason: "the store went away" } as const;
    const results = { errors: { velero: ["one"], namespaces: { notes: ["two", "three"] } }, warnings: {} };
    const text = describeBackup({ ...second, status }, { results });
    expect(text).toContain("Phase:  PartiallyFailed (run `dray backup logs second` for more information)\n\nFailure Reason:  the store went away\n");
    expect(text).toContain("Errors:\n  Velero:      one\n  Cluster:     <none>\n  Namespaces:\n    notes:  two\n            three\n");
    expect(text).not.toContain("Warnings:");
  });

  it("lists what is wrong with the spec, selectors, hooks and settings of the uploader", () => {
    const { metadata } = second;
    const text = describeBackup(
      {
        metadata,
        spec: {
          includedResources: ["pods", "persistentvolumeclaims"],
          labelSelector: { matchLabels: { app: "web" }, matchExpressions: [{ key: "tier", operator: "In", values: ["a", "b"] }] },
          orLabelSelectors: [{ matchLabels: { a: "1" } }, { matchExpressions: [{ key: "b", operator: "DoesNotExist" }] }],
          uploaderConfig: { parallelFilesUpload: 4 },
          hooks: { resources: [{ name: "freeze", pre: [{ exec: { command: ["sync"], onError: "Continue", timeout: "5s" } }] }] },
        },
        status: { phase: "FailedValidation", validationErrors: ["spec.ttl is wrong", "no location"] },
      },
      {},
    );
    expect(text).toContain("Validation errors:\n  spec.ttl is wrong\n  no location\n");
    expect(text).toContain("Uploader config:\n  Parallel files upload:  4\n");
    expect(text).toContain("Resources:\n  Included:        pods, persistentvolumeclaims\n  Excluded:        <none>\n  Cluster-scoped:  auto\n");
    expect(text).toContain("Label selector:  app=web,tier in (a,b)\n");
    expect(text).toContain("Or label selector:  a=1 or !b\n");
    expect(text).toContain(
      "Hooks:\n  Resources:\n    freeze:\n      Pre exec:   sync\n      Container:  <first>\n      On Error:   Continue\n      Timeout:    5s\n",
    );
  });
});

describe("describeRestore", () => {
  const details: RestoreDetails = {
    results: unpacked("restores/back/restore-back-results.gz"),
    operations: unpacked("restores/back/restore-back-itemoperations.json.gz"),
    resourceList: unpacked("restores/back/restore-back-resource-list.json.gz"),
    volumes: unpacked("restores/back/back-volumeinfo.json.gz"),
  };

  it("prints what Velero prints, but for a heading with nothing below it", () => {
    const wanted = layoutOf(printed("12-restore-describe")).filter((line) => line !== "Uploader config:");
    expect(layoutOf(describeRestore(back, details))).toEqual(wanted);
  });

  it("shows settings that differ from what is usual", () => {
    const text = describeRestore(
      {
        ...back,
        spec: {
          backupName: "b",
          existingResourcePolicy: "update",
          preserveNodePorts: true,
          restorePVs: false,
          uploaderConfig: { writeSparseFiles: true, parallelFilesDownload: 3 },
        },
      },
      {},
    );
    expect(text).toContain("Existing Resource Policy:  update\n");
    expect(text).toContain("Preserve Service NodePorts:  true\n");
    expect(text).toContain("Restore PVs:  false\n");
    expect(text).toContain("Uploader config:\n  Write Sparse Files:  true\n  Parallel Restore:    3\n");
  });
});

describe("the tables of get", () => {
  it("show backups as velero backup get does", () => {
    const first: Backup = {
      ...second,
      metadata: { ...second.metadata, name: "first" },
      status: { ...second.status, startTimestamp: "2026-11-21T04:10:06Z", expiration: "2026-12-21T04:10:06Z" },
    };
    const nowMs = Date.parse("2026-11-21T04:11:13Z");
    expect(printObjects(backupKind(nowMs), [first, second], undefined, false)).toBe(`${printed("03-backup-get")}\n`);
  });

  it("show restores as velero restore get does", () => {
    expect(printObjects(restoreKind, [back], undefined, true)).toBe(`${printed("18-restore-get")}\n`);
  });

  it("show backup locations as velero backup-location get does", () => {
    const location: BackupStorageLocation = {
      metadata: { name: "default", namespace: "velero" },
      spec: { provider: "aws", default: true, objectStorage: { bucket: "velero" } },
      status: { phase: "Available", lastValidationTime: "2026-11-21T04:10:41Z" },
    };
    expect(printObjects(locationKind, [location], undefined, false)).toBe(`${printed("08-backup-location-get")}\n`);
  });
});
