import { dataUploads, volumeSnapshotContents, volumeSnapshots } from "@drayage/api";
import { memoryLogger } from "@drayage/base/testing";
import { FakeKubeClient } from "@drayage/kube/testing";
import { describe, expect, it } from "vitest";
import { MOVEMENT_ANNOTATIONS } from "./movement.ts";
import { sweepOrphans } from "./sweep-orphans.ts";

const spec = { backupStorageLocation: "b", operationTimeout: "1m", snapshotType: "CSI", sourceNamespace: "n", sourcePVC: "p" };

describe("sweepOrphans()", () => {
  it("deletes only snapshots of our own making whose upload is gone", async () => {
    const client = new FakeKubeClient();
    const alive = client.seed(dataUploads, { metadata: { namespace: "velero", name: "alive", uid: "alive" }, spec });
    const seed = (namespace: string, name: string, owner: string | undefined): void => {
      const annotations = owner === undefined ? {} : { annotations: { [MOVEMENT_ANNOTATIONS.ownerUid]: owner } };
      client.seed(volumeSnapshots, { metadata: { namespace, name, ...annotations }, spec: { source: { volumeSnapshotContentName: name } } });
      client.seed(volumeSnapshotContents, {
        metadata: { name: `${namespace}-${name}`, ...annotations },
        spec: { deletionPolicy: "Delete", driver: "d", source: {}, volumeSnapshotRef: { namespace, name } },
      });
    };
    seed("velero", "alive", "alive");
    seed("velero", "orphan", "gone");
    seed("velero", "a-users-own", undefined);
    seed("other-installation", "orphan", "gone");
    const caches = { uploads: { list: () => [alive] } } as unknown as Parameters<typeof sweepOrphans>[0]["caches"];
    expect(await sweepOrphans({ client, logger: memoryLogger(), namespace: "velero", caches })).toBe(2);
    expect(client.all(volumeSnapshots).map(({ metadata }) => `${metadata.namespace}/${metadata.name}`)).toEqual([
      "other-installation/orphan",
      "velero/a-users-own",
      "velero/alive",
    ]);
    expect(client.all(volumeSnapshotContents).map(({ metadata }) => metadata.name)).toEqual([
      "other-installation-orphan",
      "velero-a-users-own",
      "velero-alive",
    ]);
  });
});
