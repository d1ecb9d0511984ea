import { builtInSchemas } from "@drayage/protocols/kubernetes";
import { describe, expect, it } from "vitest";
import type { JsonObject } from "../json.ts";
import { difference, fieldValues, pathText, removeAt, setToTree, treeToSet } from "./field-set.ts";

const schema = builtInSchemas()["io.k8s.api.core.v1.Pod"];
const pod: JsonObject = {
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: "p", uid: "u", labels: { app: "web" }, finalizers: ["x/y"] },
  spec: { containers: [{ name: "main", ports: [{ containerPort: 80 }], command: ["a", "b"] }], nodeSelector: { zone: "a" } },
};
const applied = {
  "f:metadata": { "f:labels": { "f:app": {} }, "f:finalizers": { 'v:"x/y"': {} } },
  "f:spec": {
    "f:containers": {
      'k:{"name":"main"}': {
        ".": {},
        "f:name": {},
        "f:command": {},
        "f:ports": { 'k:{"containerPort":80,"protocol":"TCP"}': { ".": {}, "f:containerPort": {} } },
      },
    },
    "f:nodeSelector": {},
  },
};

describe("field sets", () => {
  it("name items by their keys, with the schema's defaults, members of sets by their values, and atomic values as one", () => {
    expect(setToTree(new Set(fieldValues(pod, schema, false).keys()))).toEqual(applied);
  });

  it("survive the way through their stored form", () => {
    const set = new Set(fieldValues(pod, schema, true).keys());
    expect(treeToSet(setToTree(set))).toEqual(set);
  });

  it("tell what changed and what went", () => {
    const after = structuredClone(pod) as JsonObject & { metadata: JsonObject; spec: JsonObject };
    after.metadata["labels"] = { app: "api", tier: "x" };
    delete after.spec["nodeSelector"];
    const { changed, removed } = difference(fieldValues(pod, schema, true), fieldValues(after, schema, true), () => true);
    expect([...changed].map(pathText).sort()).toEqual([".metadata.labels.app", ".metadata.labels.tier"]);
    expect([...removed].map(pathText)).toEqual([".spec.nodeSelector"]);
  });

  it("are shown as paths, and fields at them are removed", () => {
    const copy = structuredClone(pod);
    const paths = [...fieldValues(pod, schema, false).keys()];
    const port = paths.find((path) => pathText(path) === '.spec.containers[name="main"].ports[containerPort=80,protocol="TCP"]') ?? "";
    removeAt(copy, port, schema);
    removeAt(copy, paths.find((path) => pathText(path) === '.metadata.finalizers[="x/y"]') ?? "", schema);
    removeAt(copy, port, schema);
    expect(copy).toMatchObject({ metadata: { finalizers: [] }, spec: { containers: [{ name: "main", ports: [] }] } });
  });
});
