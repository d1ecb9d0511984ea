import type { ConfigMap } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { dataMoverClaims, finalizerFor } from "./data-movers.ts";
import { affinityFor, concurrencyFor, moverResources, parseNodeAgentConfig } from "./node-agent-config.ts";

const configMap = (data: Record<string, string>): ConfigMap => ({ metadata: { name: "node-agent-config" }, data });

describe("the node-agent ConfigMap", () => {
  it("has one key of any name, whose value is JSON", () => {
    expect(parseNodeAgentConfig(configMap({ anything: '{"priorityClassName":"high"}' }))).toEqual({ priorityClassName: "high" });
  });

  it.each([
    ["no key", {}, "it has 0 keys, exactly one is wanted"],
    ["two keys", { a: "{}", b: "{}" }, "it has 2 keys, exactly one is wanted"],
    ["text that is not JSON", { a: "{" }, "its value is not JSON"],
    ["a list", { a: "[]" }, "its value is not an object"],
  ])("is refused with %s", (_title, data: Record<string, string>, message) => {
    expect(() => parseNodeAgentConfig(configMap(data))).toThrow(
      expect.objectContaining({ code: "VALIDATION_FAILED", message: expect.stringContaining(message) }),
    );
  });

  it("bounds a node by the smallest number of the rules that match it", () => {
    const config = {
      loadConcurrency: {
        globalConfig: 3,
        perNodeConfig: [
          { nodeSelector: { matchLabels: { disk: "ssd" } }, number: 8 },
          { nodeSelector: { matchExpressions: [{ key: "zone", operator: "In" as const, values: ["a"] }] }, number: 5 },
        ],
      },
    };
    expect([{ disk: "ssd" }, { disk: "ssd", zone: "a" }, { zone: "b" }, undefined].map((labels) => concurrencyFor(config, labels))).toEqual([8, 5, 3, 3]);
    expect([{}, { loadConcurrency: { globalConfig: 0 } }, { loadConcurrency: { globalConfig: -1 } }].map((other) => concurrencyFor(other, {}))).toEqual([
      1, 1, 1,
    ]);
  });

  it("gives a storage class the affinity that names it, else the one that names none", () => {
    const [ssd, any] = [{ nodeSelector: { matchLabels: { disk: "ssd" } }, storageClass: "fast" }, { nodeSelector: {} }];
    expect(affinityFor({ loadAffinity: [ssd, any] }, "fast")).toBe(ssd);
    expect(affinityFor({ loadAffinity: [ssd, any] }, "slow")).toBe(any);
    expect(affinityFor({ loadAffinity: [ssd] }, "slow")).toBeUndefined();
  });

  it("takes resources only when all of them are quantities", () => {
    expect(moverResources({ podResources: { cpuRequest: "1", memoryLimit: "512Mi", cpuLimit: "0", memoryRequest: "" } })).toEqual({
      requests: { cpu: "1" },
      limits: { memory: "512Mi" },
    });
    expect(moverResources({ podResources: { cpuRequest: "1", memoryLimit: "much" } })).toEqual({});
    expect(moverResources({})).toEqual({});
  });
});

describe("dataMoverClaims()", () => {
  it.each([
    [{ mode: "standalone" as const }, ["", "velero", "velero-fs", "velero-block", "drayage"], "fail"],
    [{ mode: "standalone" as const, others: ["acme"] }, ["", "velero", "velero-fs", "velero-block", "drayage"], "leave"],
    [{ mode: "guest" as const }, ["drayage"], "leave"],
    [{ mode: "guest" as const, claimBuiltin: true }, ["", "velero", "velero-fs", "velero-block", "drayage"], "leave"],
  ])("%o", (options, serves, unknown) => {
    expect(dataMoverClaims(options)).toEqual({ serves, unknown });
  });

  it("uses Velero's finalizer only where Drayage stands in for Velero", () => {
    expect(["", "velero", "velero-fs", "velero-block", "drayage"].map(finalizerFor)).toEqual([
      ...Array.from({ length: 4 }, () => "velero.io/data-upload-download-finalizer"),
      "drayage.io/data-movement",
    ]);
  });
});
