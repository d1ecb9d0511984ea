import { DrayError } from "@drayage/base";
import { memoryLogger, VirtualClock } from "@drayage/base/testing";
import { priorityClasses, storageClasses } from "@drayage/kube";
import { FakeKubeClient } from "@drayage/kube/testing";
import { beforeEach, describe, expect, it } from "vitest";
import type { NodeAgentConfig } from "./node-agent-config.ts";
import { usableConfig } from "./usable-config.ts";

let client: FakeKubeClient;
let logger: ReturnType<typeof memoryLogger>;
beforeEach(() => {
  client = new FakeKubeClient({ clock: new VirtualClock() });
  logger = memoryLogger();
  client.seed(priorityClasses, { metadata: { name: "high" } });
  client.seed(storageClasses, { metadata: { name: "fast" }, provisioner: "csi.example.com", reclaimPolicy: "Delete" });
  client.seed(storageClasses, { metadata: { name: "kept" }, provisioner: "csi.example.com", reclaimPolicy: "Retain" });
});

const warnings = (): unknown[] => logger.records.filter(({ level }) => level === "warn").map(({ fields }) => [fields["field"], fields["reason"]]);
const rest = { loadConcurrency: { globalConfig: 2, prepareQueueLength: 3 }, privilegedFsBackup: true };

describe("what of a node-agent ConfigMap can be used", () => {
  it("is all of it where the cluster has what it names", async () => {
    const config: NodeAgentConfig = {
      ...rest,
      priorityClassName: "high",
      cachePVC: { storageClass: "fast", residentThresholdInMB: 512 },
      podResources: { cpuRequest: "500m", memoryLimit: "" },
    };
    expect(await usableConfig(config, { client, logger })).toEqual(config);
    expect(warnings()).toEqual([]);
  });

  it.each<[string, NodeAgentConfig, string, string]>([
    ["a priority class", { priorityClassName: "gone" }, "priorityClassName", 'priority class "gone" does not exist; movers get the cluster\'s default'],
    ["a cache without a class", { cachePVC: { residentThresholdInMB: 1 } }, "cachePVC", "storageClass is missing"],
    ["a cache of a class that is not there", { cachePVC: { storageClass: "gone" } }, "cachePVC", 'storage class "gone" does not exist'],
    [
      "a cache of a class that keeps volumes",
      { cachePVC: { storageClass: "kept" } },
      "cachePVC",
      'storage class "kept" retains its volumes: Delete is wanted, or each restore would leave one behind',
    ],
    [
      "a threshold of less than nothing",
      { cachePVC: { storageClass: "fast", residentThresholdInMB: -1 } },
      "cachePVC",
      "residentThresholdInMB -1 is not a number of MiB",
    ],
    ["resources", { podResources: { cpuRequest: "1", memoryLimit: "much" } }, "podResources", 'memoryLimit "much" is not a quantity such as "500m" or "1Gi"'],
  ])("is the rest of it, with a warning, where it cannot be: %s", async (_title, part, field, reason) => {
    expect(await usableConfig({ ...rest, ...part }, { client, logger })).toEqual(rest);
    expect(warnings()).toEqual([[field, reason]]);
  });

  it("is warned of where nothing knows a field, which may be one of a later Velero or an error", async () => {
    const config = { ...rest, loadConcurency: {}, csiSnapshotMetadataServiceConfigs: {} };
    expect(await usableConfig(config, { client, logger })).toEqual(config);
    expect(warnings()).toEqual(["loadConcurency", "csiSnapshotMetadataServiceConfigs"].map((field) => [field, "nothing here knows it"]));
  });

  it("is what is written where it may not be looked up, and waits for an API server that is away", async () => {
    const config = { priorityClassName: "unseen" };
    client.failNext({ resource: "priorityclasses.scheduling.k8s.io" }, "KUBE_FORBIDDEN", 1);
    expect(await usableConfig(config, { client, logger })).toEqual(config);
    expect(logger.records.map(({ message }) => message)).toEqual(["Cannot check what the node-agent ConfigMap says"]);
    client.intercept = () => {
      throw new DrayError("KUBE_UNAVAILABLE", "Cannot read: injected");
    };
    await expect(usableConfig(config, { client, logger })).rejects.toMatchObject({ code: "KUBE_UNAVAILABLE" });
  });
});
