/** Volumes on a real node: backed up, lost with their whole cluster, and brought back in another. */
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { Harness } from "../e2e/harness.ts";
import { deployApplication, factsOf, fillFolder, untilRunning } from "../e2e/sample-application.ts";
import { installByCommand } from "./real-cluster.ts";

let harness: Harness;
beforeAll(async () => {
  harness = await Harness.start({ installBy: installByCommand });
});
afterEach(() => harness?.heal());
afterAll(() => harness?.destroy());

it("a volume comes back in its namespace as it was", async () => {
  await deployApplication(harness, "shop", { files: {} });
  await fillFolder(harness, "shop", "files");
  const facts = await factsOf(harness, "shop", "files");
  expect((await harness.backUp("first", { includedNamespaces: ["shop"] })).status).toMatchObject({ phase: "Completed" });
  await harness.deleteNamespace("shop");
  expect((await harness.restore("back", { backupName: "first" })).status).toMatchObject({ phase: "Completed" });
  await untilRunning(harness, "shop");
  expect(await factsOf(harness, "shop", "files")).toBe(facts);
  await harness.expectNothingLeft();
  expect(await harness.verifyRepository("shop")).toBe(1);
});
