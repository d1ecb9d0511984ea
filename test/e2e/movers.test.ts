/** Movers of others beside the built-in one: chosen, run, restored from, deleted with their backup, and met with everything that a mover can do wrong. */
import { join, resolve } from "node:path";
import { type DataMover, dataMovers, MOVER_ANNOTATIONS } from "@drayage/api";
import { persistentVolumeClaims } from "@drayage/kube";
import { describeMover } from "@drayage/mover-sdk";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import tar from "../../packages/mover-sdk/examples/tar-volume.ts";
import { Harness } from "./harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "./sample-application.ts";

const examples = resolve(import.meta.dirname, "../../packages/mover-sdk/examples");

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ nodes: 1 });
  const { name, ...spec } = describeMover(tar);
  await register(name, { ...spec, module: join(examples, "tar-volume.ts") } as unknown as DataMover["spec"]);
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

async function register(name: string, spec: DataMover["spec"]): Promise<void> {
  await harness.client.create(dataMovers, { apiVersion: "drayage.io/v1alpha1", kind: "DataMover", metadata: { name }, spec });
}

/** What movers keep in the bucket. */
async function movedKeys(): Promise<string[]> {
  const found: string[] = [];
  await harness.bucket(async (bucket) => {
    for await (const { key } of bucket.listAll("plugins/")) found.push(key);
  });
  return found;
}

const annotate = (namespace: string, name: string, annotations: Record<string, string>) =>
  harness.client.patch(persistentVolumeClaims, { namespace, name }, "merge", { metadata: { annotations } });

describe("two movers in one backup", () => {
  it("each move their volume, and bring it back in another cluster", async () => {
    await deployApplication(harness, "shop", { ours: {}, theirs: {} });
    for (const claim of ["ours", "theirs"]) await fillFolder(harness, "shop", claim);
    const facts = [await factsOf(harness, "shop", "ours"), await factsOf(harness, "shop", "theirs")];
    await annotate("shop", "theirs", { [MOVER_ANNOTATIONS.mover]: "tar", [MOVER_ANNOTATIONS.parameters]: '{"compression":"none"}' });
    expect((await harness.backUp("both", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });
    const [ours, theirs] = await harness.uploads("both", 2);
    expect(ours?.spec.datamover).toBeUndefined();
    expect(theirs).toMatchObject({
      metadata: { annotations: { [MOVER_ANNOTATIONS.chosen]: "tar", [MOVER_ANNOTATIONS.reason]: "its annotation names it" } },
      spec: { datamover: "tar", dataMoverConfig: { compression: "none", exclude: "[]" } },
      status: { phase: "Completed", snapshotID: theirs?.metadata.uid, dataMoverResult: { compression: "none" } },
    });
    expect(theirs?.status?.progress?.totalBytes).toBeGreaterThan(3 << 20);
    expect(await movedKeys()).toEqual([`plugins/drayage-movers/tar/${theirs?.metadata.uid}/volume.tar`]);
    await harness.expectNothingLeft();

    await harness.deleteNamespace("shop");
    expect((await harness.restore("both", { backupName: "both" })).status).toMatchObject({ phase: "Completed" });
    await untilRunning(harness, "shop");
    expect([await factsOf(harness, "shop", "ours"), await factsOf(harness, "shop", "theirs")]).toEqual(facts);
    await harness.expectNothingLeft();
  });
});
