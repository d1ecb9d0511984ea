import { describe, expect, it } from "vitest";
import { builtInResources, builtInSchemas } from "./built-in-resources.ts";
import { decodeKubernetesProtobuf, fieldsOf, isKubernetesProtobuf, messageFor } from "./protobuf.ts";

/** What kubectl 1.34.4 sends for `kubectl create deployment web --image=nginx --replicas=0 --port=80`. */
const DEPLOYMENT = Buffer.from(
  "azhzAAoVCgdhcHBzL3YxEgpEZXBsb3ltZW50ErgBCh8KA3dlYhIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEoYBCAASDAoKCgNhcHASA3dlYhpsChwKABIAGgAiACoAMgA4AEIAWgoKA2FwcBIDd2ViEkwSLgoFbmdpbngSBW5naW54KgAyCgoAEAAYUCIAKgBCAGoAcgCAAQCIAQCQAQCiAQAaADIAQgBKAFIAWABgAGgAggEAigEAmgEAwgEAIgIKACgAOAAaDAgAEAAYACAAKAA4ABoAIgA=",
  "base64",
);

/** A field of wire type 2. */
const field = (number: number, content: Buffer | string): Buffer => {
  const bytes = Buffer.from(content);
  return Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
};
const number = (fieldNumber: number, value: number): Buffer => Buffer.from([fieldNumber << 3, value]);
const body = (apiVersion: string, kind: string, raw: Buffer): Buffer =>
  Buffer.concat([Buffer.from("k8s\0"), field(1, Buffer.concat([field(1, apiVersion), field(2, kind)])), field(2, raw)]);

describe("a protobuf body of Kubernetes", () => {
  it("that kubectl sent is the object it meant: zeros that mean something stay, others go", () => {
    expect(decodeKubernetesProtobuf(DEPLOYMENT)).toEqual({
      kind: "Deployment",
      apiVersion: "apps/v1",
      metadata: { name: "web", labels: { app: "web" } },
      spec: {
        replicas: 0,
        selector: { matchLabels: { app: "web" } },
        template: {
          metadata: { labels: { app: "web" } },
          spec: { containers: [{ name: "nginx", image: "nginx", ports: [{ containerPort: 80 }], resources: {} }] },
        },
        strategy: {},
      },
      status: {},
    });
  });

  it("has quantities, times, numbers-or-texts, raw JSON and inlined fields in their JSON forms", () => {
    const claim = field(2, field(2, field(2, Buffer.concat([field(1, "storage"), field(2, field(1, "1Gi"))]))));
    expect(decodeKubernetesProtobuf(body("v1", "PersistentVolumeClaim", claim))).toMatchObject({ spec: { resources: { requests: { storage: "1Gi" } } } });
    const lease = field(2, field(3, Buffer.concat([number(1, 60), Buffer.from([0x10, 0xc0, 0x84, 0x3d])])));
    expect(decodeKubernetesProtobuf(body("coordination.k8s.io/v1", "Lease", lease))).toMatchObject({ spec: { acquireTime: "1970-01-01T00:01:00.001000Z" } });
    const budget = field(2, Buffer.concat([field(1, Buffer.concat([number(1, 1), field(3, "50%")])), field(3, Buffer.concat([number(1, 0), number(2, 3)]))]));
    expect(decodeKubernetesProtobuf(body("policy/v1", "PodDisruptionBudget", budget))).toMatchObject({ spec: { minAvailable: "50%", maxUnavailable: 3 } });
    const volume = field(2, field(1, Buffer.concat([field(1, "v"), field(2, field(2, field(1, "Memory")))])));
    expect(decodeKubernetesProtobuf(body("v1", "Pod", volume))).toMatchObject({ spec: { volumes: [{ name: "v", emptyDir: { medium: "Memory" } }] } });
    expect(decodeKubernetesProtobuf(body("apps/v1", "ControllerRevision", Buffer.concat([field(2, field(1, '{"a":1}')), number(3, 0)])))).toMatchObject({
      data: { a: 1 },
      revision: 0,
    });
  });

  it("of options is read under any group", () => {
    expect(decodeKubernetesProtobuf(body("v1", "DeleteOptions", field(4, "Foreground")))).toMatchObject({ propagationPolicy: "Foreground" });
    expect(messageFor("apps/v1", "DeleteOptions")).toBe("k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions");
  });

  it("of an unknown kind, or without the prefix, is refused", () => {
    expect(() => decodeKubernetesProtobuf(body("example.com/v1", "Ship", Buffer.alloc(0)))).toThrow(/kind "Ship" of "example.com\/v1" has no protobuf form/);
    expect(() => decodeKubernetesProtobuf(Buffer.from("{}"))).toThrow(/the prefix k8s\\0 is missing/);
    expect(isKubernetesProtobuf(Buffer.from("k8s"))).toBe(false);
  });

  it("that is cut off or damaged anywhere gives an object or a clear refusal", () => {
    const outcome = (bytes: Buffer): string => {
      try {
        return typeof decodeKubernetesProtobuf(bytes);
      } catch (error) {
        return (error as { code?: string }).code ?? String(error);
      }
    };
    const seen = new Set<string>();
    for (let length = 0; length < DEPLOYMENT.length; length++) seen.add(outcome(DEPLOYMENT.subarray(0, length)));
    for (let at = 0; at < DEPLOYMENT.length; at++) {
      for (const flip of [0x01, 0x08, 0x80, 0xff]) {
        const copy = Buffer.from(DEPLOYMENT);
        copy[at] = (copy[at] ?? 0) ^ flip;
        seen.add(outcome(copy));
      }
    }
    expect([...seen].filter((it) => !["object", "KUBE_BAD_REQUEST", "NOT_SUPPORTED"].includes(it))).toEqual([]);
  });

  it("nested without end is refused before the stack is full", () => {
    let schema: Buffer = Buffer.alloc(0);
    // Lengths of more than a byte are written as varints.
    const wrap = (number_: number, content: Buffer): Buffer => {
      const length: number[] = [];
      for (let rest = content.length; ; rest >>>= 7) {
        length.push(rest > 0x7f ? (rest & 0x7f) | 0x80 : rest);
        if (rest <= 0x7f) break;
      }
      return Buffer.concat([
        Buffer.from([(((number_ << 3) | 2) & 0x7f) | (number_ > 15 ? 0x80 : 0), ...(number_ > 15 ? [number_ >> 4] : []), ...length]),
        content,
      ]);
    };
    for (let depth = 0; depth < 500; depth++) schema = wrap(28, schema);
    const definition = wrap(2, wrap(7, wrap(4, wrap(1, schema))));
    expect(() =>
      decodeKubernetesProtobuf(
        Buffer.concat([
          Buffer.from("k8s\0"),
          wrap(1, Buffer.concat([wrap(1, Buffer.from("apiextensions.k8s.io/v1")), wrap(2, Buffer.from("CustomResourceDefinition"))])),
          wrap(2, definition),
        ]),
      ),
    ).toThrow(/nested deeper than 100/);
  });
});

describe("the tables of built-in kinds", () => {
  it("know a schema and a protobuf form for every resource", () => {
    for (const resource of builtInResources()) {
      const apiVersion = resource.group === "" ? resource.version : `${resource.group}/${resource.version}`;
      expect(builtInSchemas()[resource.schema ?? ""], `${apiVersion} ${resource.kind}`).toBeDefined();
      expect(messageFor(apiVersion, resource.kind), `${apiVersion} ${resource.kind}`).toBeDefined();
    }
  });

  it("refer to nothing that is not in them", () => {
    const missing = new Set<string>();
    JSON.stringify(builtInSchemas(), (key, value: unknown) => {
      if (key === "$ref" && typeof value === "string" && builtInSchemas()[value.replace("#/components/schemas/", "")] === undefined) missing.add(value);
      return value;
    });
    for (const name of ["k8s.io.api.core.v1.Pod", "k8s.io.api.apps.v1.Deployment"]) {
      for (const [, , type] of fieldsOf(name)?.values() ?? []) if (type.includes(".") && fieldsOf(type) === undefined) missing.add(type);
    }
    expect([...missing]).toEqual([]);
  });

  it("hold no text of others", () => {
    expect(JSON.stringify(builtInSchemas())).not.toContain('"description":"');
  });
});
