import type { GenericObject } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import type { RestoreActionContext } from "./restore-action.ts";
import { snapshotRestoreActions } from "./snapshot-restore.ts";

const context = {} as RestoreActionContext;
const run = (plural: string, annotations: Record<string, string> = {}) => {
  const item: GenericObject = { metadata: { name: "fast", annotations } };
  return snapshotRestoreActions.find(({ groupResource }) => groupResource === `${plural}.snapshot.storage.k8s.io`)?.execute(item, context);
};

describe("what was kept of snapshots, on its way back", () => {
  it("a class brings the Secret with which its driver lists snapshots, if it names one", async () => {
    const named = {
      "csi.storage.k8s.io/snapshotter-list-secret-name": "keys",
      "csi.storage.k8s.io/snapshotter-list-secret-namespace": "storage",
    };
    expect(await run("volumesnapshotclasses", named)).toMatchObject({ additionalItems: [{ groupResource: "secrets", namespace: "storage", name: "keys" }] });
    expect((await run("volumesnapshotclasses"))?.additionalItems).toEqual([]);
    expect((await run("volumesnapshotclasses"))?.skip).toBeUndefined();
  });

  it.each(["volumesnapshots", "volumesnapshotcontents"])("%s come with the claims that are filled from them", async (plural) => {
    expect(await run(plural)).toMatchObject({ skip: true });
  });
});
