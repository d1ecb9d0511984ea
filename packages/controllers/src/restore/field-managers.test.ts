import type { GenericObject } from "@drayage/kube";
import { describe, expect, it } from "vitest";
import { creatorOf } from "./field-managers.ts";

const FIELDS = {
  "f:metadata": { "f:labels": { ".": {}, "f:app": {} } },
  "f:spec": {
    "f:selector": {},
    "f:ports": {
      ".": {},
      'k:{"port":80,"protocol":"TCP"}': { ".": {}, "f:port": {}, "f:protocol": {} },
      'k:{"port":81,"protocol":"TCP"}': { ".": {}, "f:port": {}, "f:protocol": {} },
    },
  },
};
const ENTRY = { manager: "helm", operation: "Update", apiVersion: "v1", time: "2026-11-01T00:00:00Z", fieldsType: "FieldsV1", fieldsV1: FIELDS };
const OF_STATUS = {
  ...ENTRY,
  manager: "kube-controller-manager",
  subresource: "status",
  fieldsV1: { "f:status": { "f:loadBalancer": {} } },
};
const PORTS = [
  { port: 81, protocol: "TCP" },
  { port: 80, protocol: "TCP" },
];

function item(managedFields: unknown[], metadata: Partial<GenericObject["metadata"]> = {}): GenericObject {
  return { ...wanted(), metadata: { ...wanted().metadata, managedFields, ...metadata } };
}

function wanted(spec: Record<string, unknown> = {}, metadata: Partial<GenericObject["metadata"]> = {}): GenericObject {
  const labels = { app: "a", "velero.io/backup-name": "b", "velero.io/restore-name": "r" };
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name: "web", namespace: "shop", labels, ...metadata },
    spec: { selector: { app: "a", tier: "front" }, ports: PORTS, ...spec },
  };
}

describe("an object is created in the name of its manager", () => {
  it("when that one alone had set all of it, whoever wrote the status", () => {
    expect(creatorOf(item([ENTRY]), wanted())).toBe("helm");
    expect(creatorOf(item([OF_STATUS, ENTRY]), wanted())).toBe("helm");
  });

  it("when another one had set only what is not restored", () => {
    const fieldsV1 = { "f:metadata": { "f:annotations": { ".": {}, "f:pv.kubernetes.io/bind-completed": {} } }, "f:spec": { "f:volumeName": {} } };
    const binder = { ...ENTRY, manager: "kube-controller-manager", fieldsV1 };
    expect(creatorOf(item([ENTRY, binder]), wanted())).toBe("helm");
    expect(creatorOf(item([binder, ENTRY, OF_STATUS]), wanted())).toBe("helm");
    // Whoever owned one of its fields would lose it.
    expect(creatorOf(item([ENTRY, binder]), wanted({ volumeName: "v" }))).toBeUndefined();
    const port = { ...ENTRY, manager: "kubectl-edit", fieldsV1: { "f:spec": { "f:ports": { 'k:{"port":80,"protocol":"TCP"}': { "f:port": {} } } } } };
    expect(creatorOf(item([ENTRY, port]), wanted())).toBeUndefined();
    expect(creatorOf(item([ENTRY, port]), wanted({ ports: [PORTS[0]] }))).toBe("helm");
    expect(creatorOf(item([ENTRY, { ...port, fieldsV1: "f" }]), wanted())).toBeUndefined();
  });

  it("when it lacks what the manager owned besides", () => {
    expect(creatorOf(item([ENTRY]), wanted({ ports: [PORTS[0]] }, { labels: { "velero.io/restore-name": "r" } }))).toBe("helm");
  });

  it("when its controller had made it, whatever others had put in", () => {
    const owner = { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web", uid: "u" };
    expect(creatorOf(item([ENTRY], { ownerReferences: [{ ...owner, controller: true }] }), wanted({ ipFamilies: ["IPv4"] }))).toBe("helm");
    expect(creatorOf(item([ENTRY], { ownerReferences: [owner] }), wanted({ ipFamilies: ["IPv4"] }))).toBeUndefined();
  });
});

describe("its managers are written on their own", () => {
  it.each<[string, unknown[]]>([
    ["nobody is known to have set anything", []],
    ["only the status has a manager", [OF_STATUS]],
    ["there are two managers", [ENTRY, { ...ENTRY, manager: "kubectl-edit" }]],
    ["the manager applies on the server's side", [{ ...ENTRY, operation: "Apply" }]],
    ["another one scaled it", [ENTRY, { ...OF_STATUS, subresource: "scale", fieldsV1: { "f:spec": { "f:selector": {} } } }]],
    ["the manager knew another version of the kind", [{ ...ENTRY, apiVersion: "v1beta1" }]],
    ["the manager has no name", [{ ...ENTRY, manager: undefined }]],
    ["the record is not readable", [{ ...ENTRY, fieldsV1: "f" }]],
  ])("when %s", (_, managedFields) => {
    expect(creatorOf(item(managedFields), wanted())).toBeUndefined();
  });

  it.each<[string, GenericObject]>([
    ["a field", wanted({ ipFamilyPolicy: "SingleStack" })],
    ["a label", wanted({}, { labels: { app: "a", other: "b" } })],
    ["an annotation", wanted({}, { annotations: { revision: "1" } })],
    ["an item of a list", wanted({ ports: [...PORTS, { port: 82, protocol: "TCP" }] })],
    ["a field of an item", wanted({ ports: [{ port: 80, protocol: "TCP", name: "http" }] })],
    ["a field that every object has", wanted({ constructor: "x" })],
  ])("when nobody is known to have set %s", (_, object) => {
    expect(creatorOf(item([ENTRY]), object)).toBeUndefined();
  });

  it("when an item of a set came from elsewhere", () => {
    const fieldsV1 = { ...FIELDS, "f:metadata": { "f:finalizers": { ".": {}, 'v:"example.com/a"': {} } } };
    const labels = {};
    expect(creatorOf(item([{ ...ENTRY, fieldsV1 }]), wanted({}, { labels, finalizers: ["example.com/a"] }))).toBe("helm");
    expect(creatorOf(item([{ ...ENTRY, fieldsV1 }]), wanted({}, { labels, finalizers: ["example.com/a", "example.com/b"] }))).toBeUndefined();
  });
});
