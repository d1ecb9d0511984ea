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

  it.each([
    ["loadConcurrency", 5, "loadConcurrency is 5, an object is wanted"],
    ["loadConcurrency", { globalConfig: "3" }, 'loadConcurrency.globalConfig is "3", a whole number is wanted'],
    ["loadConcurrency", { prepareQueueLength: 1.5 }, "loadConcurrency.prepareQueueLength is 1.5, a whole number is wanted"],
    ["loadConcurrency", { perNodeConfig: [{ number: 1 }, 2] }, "loadConcurrency.perNodeConfig[1] is 2, an object is wanted"],
    [
      "loadConcurrency",
      { perNodeConfig: [{ nodeSelector: { matchLabels: { a: 1 } } }] },
      'loadConcurrency.perNodeConfig[0].nodeSelector.matchLabels["a"] is 1, a text is wanted',
    ],
    ["loadAffinity", { nodeSelector: {} }, 'loadAffinity is {"nodeSelector":{}}, a list is wanted'],
    ["loadAffinity", [null], "loadAffinity[0] is null, an object is wanted"],
    ["loadAffinity", [{ nodeSelector: "a=b" }], 'loadAffinity[0].nodeSelector is "a=b", an object is wanted'],
    ["backupPVC", [], "backupPVC is [], an object is wanted"],
    ["backupPVC", { fast: "slow" }, 'backupPVC["fast"] is "slow", an object is wanted'],
    ["backupPVC", { fast: { readOnly: "true" } }, 'backupPVC["fast"].readOnly is "true", true or false is wanted'],
    ["restorePVC", { ignoreDelayBinding: 1 }, "restorePVC.ignoreDelayBinding is 1, true or false is wanted"],
    ["restorePVC", { secretNames: "one" }, 'restorePVC.secretNames is "one", a list is wanted'],
    ["podResources", { cpuRequest: 1 }, "podResources.cpuRequest is 1, a text is wanted"],
    ["priorityClassName", ["high"], 'priorityClassName is ["high"], a text is wanted'],
    ["privilegedFsBackup", "false", 'privilegedFsBackup is "false", true or false is wanted'],
    ["podLabels", { a: true }, 'podLabels["a"] is true, a text is wanted'],
  ])("is refused where a field is not of its type: %s %j", (field, value: unknown, message) => {
    expect(() => parseNodeAgentConfig(configMap({ a: JSON.stringify({ [field]: value }) }))).toThrow(
      expect.objectContaining({ code: "VALIDATION_FAILED", message: `Cannot use node-agent ConfigMap "node-agent-config": ${message}` }),
    );
  });

  it("is read as Velero reads it: null is nothing, letters may be large or small, and a rule may leave its selector out", () => {
    const text = `{"cachePVC":null,"LoadConcurrency":{"globalconfig":null,"perNodeConfig":[{"number":4},{"nodeSelector":null}]},
      "restorePVC":{"secretNames":null},"loadAffinity":[{"storageClass":""},{"nodeSelector":{},"storageClass":"fast"}]}`;
    const config = parseNodeAgentConfig(configMap({ a: text }));
    expect(config).toEqual({
      loadConcurrency: { perNodeConfig: [{ number: 4 }, {}] },
      restorePVC: {},
      loadAffinity: [{ storageClass: "" }, { nodeSelector: {}, storageClass: "fast" }],
    });
    expect(concurrencyFor(config, {})).toBe(4);
    expect(["fast", "slow", "", undefined].map((name) => affinityFor(config, name))).toEqual([
      { nodeSelector: {}, storageClass: "fast" },
      ...Array.from({ length: 3 }, () => ({ storageClass: "" })),
    ]);
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
