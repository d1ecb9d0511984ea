import type { Pod } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { expand, fieldValue, type PodFacts, resolveEnvironment } from "./environment.ts";
import { findImage, pullPolicyOf } from "./images.ts";

const facts: PodFacts = { podIP: "127.64.0.1", hostIP: "127.0.0.1", nodeName: "n", allocatable: { memory: "1Gi" } };
const sources = {
  secret: async (name: string) => (name === "s" ? { metadata: { name }, data: { KEY: "dmFsdWU=" } } : undefined),
  configMap: async (name: string) => (name === "cm" ? { metadata: { name }, data: { A: "1", B: "2" } } : undefined),
};
const pod: Pod = {
  metadata: { name: "p", namespace: "ns", uid: "u", labels: { app: "x", tier: 'q"uoted' } },
  spec: { containers: [{ name: "c", resources: { limits: { memory: "128Mi", cpu: "1500m" } } }] },
};
const resolve = (container: object) =>
  resolveEnvironment(pod, { name: "c", resources: { limits: { memory: "128Mi", cpu: "1500m" } }, ...container }, facts, sources);

describe("resolveEnvironment", () => {
  it("takes whole objects first and single values over them", async () => {
    const found = await resolve({
      envFrom: [{ prefix: "P_", configMapRef: { name: "cm" } }, { secretRef: { name: "s" } }],
      env: [{ name: "P_A", value: "own" }],
    });
    expect(found).toEqual({ P_A: "own", P_B: "2", KEY: "value" });
  });

  it("resolves references of each kind", async () => {
    const found = await resolve({
      env: [
        { name: "NODE", valueFrom: { fieldRef: { fieldPath: "spec.nodeName" } } },
        { name: "SECRET", valueFrom: { secretKeyRef: { name: "s", key: "KEY" } } },
        { name: "CONFIG", valueFrom: { configMapKeyRef: { name: "cm", key: "B" } } },
        { name: "CPU", valueFrom: { resourceFieldRef: { resource: "limits.cpu" } } },
        { name: "MEMORY", valueFrom: { resourceFieldRef: { resource: "limits.memory", divisor: "1Mi" } } },
        { name: "ALL", value: "$(NODE)/$(SECRET)/$$(NODE)/$(UNKNOWN)" },
      ],
    });
    expect(found).toEqual({ NODE: "n", SECRET: "value", CONFIG: "2", CPU: "2", MEMORY: "128", ALL: "n/value/$(NODE)/$(UNKNOWN)" });
  });

  it("names what is missing, unless it is optional", async () => {
    await expect(resolve({ env: [{ name: "X", valueFrom: { secretKeyRef: { name: "none", key: "k" } } }] })).rejects.toThrow('secret "none" not found');
    await expect(resolve({ env: [{ name: "X", valueFrom: { configMapKeyRef: { name: "cm", key: "Z" } } }] })).rejects.toThrow(
      "couldn't find key Z in ConfigMap ns/cm",
    );
    await expect(resolve({ envFrom: [{ configMapRef: { name: "none" } }] })).rejects.toThrow('configmap "none" not found');
    expect(await resolve({ env: [{ name: "X", valueFrom: { secretKeyRef: { name: "none", key: "k", optional: true } } }] })).toEqual({});
  });

  it("writes maps as the downward API does", () => {
    expect(fieldValue(pod, "metadata.labels", facts)).toBe('app="x"\ntier="q\\"uoted"');
    expect(fieldValue(pod, "metadata.labels['app']", facts)).toBe("x");
    expect(fieldValue(pod, "status.somethingElse", facts)).toBeUndefined();
  });

  it("leaves text alone that only looks like a reference", () => {
    expect(expand("$ $$ $(a b) $( $(constructor)", { a: "1" })).toBe("$ $ $(a b) $( $(constructor)");
  });
});

describe("findImage", () => {
  const map = [
    { pattern: "drayage/dray:*", entrypoint: ["/velero"] },
    { pattern: "docker.io/library/busybox:latest", entrypoint: ["sh"] },
  ];

  it("matches an image as written and in full", () => {
    expect(findImage("drayage/dray:0.1.0", map).entrypoint).toEqual(["/velero"]);
    expect(findImage("busybox", map).entrypoint).toEqual(["sh"]);
    expect(findImage("localhost:5000/busybox", map).entrypoint).toBeUndefined();
  });

  it("has images that are missing", () => {
    expect(findImage("registry.example/team/missing:1", map).missing).toBe(true);
    expect(findImage("registry.example/dismissing:1", map).missing).toBeUndefined();
  });

  it("asks for a moving tag each time", () => {
    expect([pullPolicyOf("busybox", undefined), pullPolicyOf("busybox:1.36", undefined), pullPolicyOf("busybox", "Never")]).toEqual([
      "Always",
      "IfNotPresent",
      "Never",
    ]);
  });
});
