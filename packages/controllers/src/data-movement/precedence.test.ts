import { type DataUpload, LABELS, type PodVolumeBackup } from "@drayage/api";
import { VirtualClock } from "@drayage/base/testing";
import { expect, it } from "vitest";
import { leavesPlaceTo, letsOthersGo, startsAfter } from "./precedence.ts";

const upload: DataUpload = {
  metadata: { namespace: "velero", name: "up", uid: "u-1" },
  spec: { backupStorageLocation: "default", operationTimeout: "10m0s", snapshotType: "CSI", sourceNamespace: "notes", sourcePVC: "files" },
};

function backup(phase: "Accepted" | "Prepared" | "InProgress", { node = "node-1", ending = "" } = {}): PodVolumeBackup {
  return {
    metadata: {
      namespace: "velero",
      name: "read",
      ...(phase === "InProgress" ? {} : { labels: { [LABELS.exposeOnGoing]: "true" } }),
      ...(ending === "" ? {} : { annotations: { "drayage.io/ending": JSON.stringify({ phase: ending, at: "2026-01-01T00:00:00Z", by: node }) } }),
    },
    spec: {
      backupStorageLocation: "default",
      node,
      pod: { namespace: "notes", name: "web", uid: "p" },
      repoIdentifier: "",
      uploaderType: "kopia",
      volume: "v",
    },
    status: { phase },
  };
}

/** As the indexes of the caches have them. */
function world(...backups: PodVolumeBackup[]) {
  const byIndex = (index: string, value: string): PodVolumeBackup[] =>
    backups.filter(({ metadata, spec, status }) =>
      index === "exposing" ? metadata.labels?.[LABELS.exposeOnGoing] === value : status?.phase === "InProgress" && spec.node === value,
    );
  return { caches: { volumeBackups: { byIndex } }, clock: new VirtualClock(), nodeName: "node-1" };
}

it.each(["Accepted", "Prepared", "InProgress"] as const)("an upload's mover is not made beside a PodVolumeBackup that is %s, for a moment", async (phase) => {
  const deps = world(backup(phase));
  expect(startsAfter(deps, upload)).toContain('"read"');
  await deps.clock.advance(1_400);
  expect(startsAfter(deps, upload)).toBeDefined();
  await deps.clock.advance(200);
  expect(startsAfter(deps, upload)).toBeUndefined();
});

it("an upload's mover does not wait for a PodVolumeBackup of another node, nor for one that has ended", () => {
  expect(startsAfter(world(), upload)).toBeUndefined();
  expect(startsAfter(world(backup("Accepted", { node: "node-2" }), backup("InProgress", { node: "node-2" })), upload)).toBeUndefined();
  expect(startsAfter(world(backup("InProgress", { ending: "Completed" }), backup("Accepted", { ending: "Failed" })), upload)).toBeUndefined();
});

it("an upload leaves a free place to a PodVolumeBackup that comes up beside it, for half a minute; one that runs has its own", async () => {
  const deps = world(backup("Accepted"));
  expect(leavesPlaceTo(deps, upload)).toContain('"read"');
  await deps.clock.advance(29_000);
  expect(leavesPlaceTo(deps, upload)).toBeDefined();
  await deps.clock.advance(2_000);
  expect(leavesPlaceTo(deps, upload)).toBeUndefined();
  expect(leavesPlaceTo(world(backup("InProgress")), upload)).toBeUndefined();
});

it("who gave way is told when the other has come up, has ended or is gone", () => {
  expect(letsOthersGo(undefined, backup("Accepted"))).toBe(false);
  expect(letsOthersGo(backup("Accepted"), backup("Accepted"))).toBe(false);
  expect(letsOthersGo(backup("Accepted"), backup("InProgress"))).toBe(true);
  expect(letsOthersGo(backup("InProgress"), backup("InProgress", { ending: "Completed" }))).toBe(true);
  expect(letsOthersGo(backup("InProgress"), undefined)).toBe(true);
});
