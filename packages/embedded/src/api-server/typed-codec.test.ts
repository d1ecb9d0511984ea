import { describe, expect, it } from "vitest";
import type { JsonObject } from "./json.ts";
import { readTyped } from "./typed-codec.ts";

const pod = (spec: JsonObject): JsonObject => ({ apiVersion: "v1", kind: "Pod", metadata: { name: "p" }, spec });
const read = (object: JsonObject): JsonObject => readTyped(object, String(object["apiVersion"]), String(object["kind"])).object;

describe("an object of a built-in kind", () => {
  it("loses zero values and nulls as its Go form would, and gains what is always written", () => {
    const object = read(
      pod({ hostNetwork: false, nodeName: "", volumes: [], terminationGracePeriodSeconds: 0, tolerations: null, containers: [{ name: "a", resources: null }] }),
    );
    expect(object["spec"]).toEqual({ terminationGracePeriodSeconds: 0, containers: [{ name: "a", resources: {} }] });
    expect(object["status"]).toEqual({});
  });

  it("keeps fields that are inlined in their parents", () => {
    const volumes = [{ name: "v", emptyDir: { sizeLimit: "1024Mi" } }];
    const containers = [
      { name: "a", livenessProbe: { exec: { command: ["x"] } }, env: [{ name: "E", valueFrom: { secretKeyRef: { name: "s", key: "k" } } }], resources: {} },
    ];
    expect(read(pod({ containers, volumes }))["spec"]).toEqual({ containers, volumes: [{ name: "v", emptyDir: { sizeLimit: "1Gi" } }] });
  });

  it("writes times, quantities and binary data in their canonical forms", () => {
    const times = read({
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { creationTimestamp: "2026-01-01T12:00:00.5+02:00" },
      spec: { renewTime: "2026-01-01T00:00:00.12Z" },
    });
    expect(times).toMatchObject({ metadata: { creationTimestamp: "2026-01-01T10:00:00Z" }, spec: { renewTime: "2026-01-01T00:00:00.120000Z" } });
    expect(read({ apiVersion: "v1", kind: "Secret", data: { a: "AQ\n==" } })["data"]).toEqual({ a: "AQ==" });
  });

  it.each(["apiregistration.k8s.io/v1 APIService", "apiextensions.k8s.io/v1 CustomResourceDefinition", "apps/v1 Deployment"])(
    "of %s has a kind and a version",
    (id) => {
      const [apiVersion = "", kind = ""] = id.split(" ");
      expect(readTyped({ apiVersion, kind, metadata: { name: "a" } }, apiVersion, kind)).toMatchObject({ object: { apiVersion, kind }, unknownFields: [] });
    },
  );

  it("names the fields it does not know, in the order of the document", () => {
    const { unknownFields } = readTyped(pod({ zeta: 1, containers: [{ name: "a", beta: 1 }], alpha: 1 }), "v1", "Pod");
    expect(unknownFields).toEqual(["spec.zeta", "spec.containers[0].beta", "spec.alpha"]);
  });

  it.each<[JsonObject, RegExp]>([
    [pod({ containers: "x" }), /cannot unmarshal string into Go struct field PodSpec.spec.containers of type \[\]v1.Container/],
    [pod({ nodeSelector: [] }), /cannot unmarshal array into Go struct field PodSpec.spec.nodeSelector of type map\[string\]string/],
    [pod({ priority: 1.5 }), /cannot unmarshal number 1.5 into Go struct field PodSpec.spec.priority of type int32/],
    [pod({ priority: 2 ** 40 }), /cannot unmarshal number 1099511627776 into/],
    [pod({ hostNetwork: "yes" }), /cannot unmarshal string into Go struct field PodSpec.spec.hostNetwork of type bool/],
    [pod({ containers: [{ resources: { limits: { cpu: "lots" } } }] }), /quantities must match the regular expression/],
    [{ apiVersion: "v1", kind: "ConfigMap", metadata: { creationTimestamp: "yesterday" } }, /parsing time "yesterday"/],
    [{ apiVersion: "v1", kind: "Secret", data: { a: "a*b=" } }, /illegal base64 data at input byte 1/],
    [{ apiVersion: "v1", kind: "ConfigMap", metadata: [] }, /cannot unmarshal array/],
  ])("is refused with a wrong type: %j", (object, message) => {
    expect(() => read(object)).toThrow(message);
  });

  it("does not let a field named __proto__ through", () => {
    const object = read(JSON.parse('{"apiVersion":"v1","kind":"ConfigMap","data":{"__proto__":"x","a":"b"}}') as JsonObject);
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
    expect(object["data"]).toHaveProperty("a", "b");
  });
});
