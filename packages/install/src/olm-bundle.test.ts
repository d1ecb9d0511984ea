/** What a catalog of the Operator Lifecycle Manager looks at before it takes a bundle (operator-framework/api, pkg/validation): the rules of registry+v1, on the files as they are kept. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parse } from "yaml";
import { OLM_PACKAGE, olmBundle } from "./olm-bundle.ts";
import { OPERATOR_OWN_RULES } from "./operator.ts";

interface Owned {
  readonly name: string;
  readonly version: string;
  readonly kind: string;
  readonly displayName: string;
  readonly description: string;
}

interface Account {
  readonly serviceAccountName: string;
  readonly rules: readonly { readonly apiGroups: string[]; readonly resources: string[]; readonly verbs: string[] }[];
}

interface ServiceVersion {
  readonly metadata: { readonly name: string; readonly namespace?: string; readonly annotations: Readonly<Record<string, string>> };
  readonly spec: {
    readonly version: string;
    readonly displayName: string;
    readonly description: string;
    readonly minKubeVersion: string;
    readonly maturity: string;
    readonly icon: readonly { readonly base64data: string; readonly mediatype: string }[];
    readonly keywords: readonly string[];
    readonly links: readonly { readonly name: string; readonly url: string }[];
    readonly provider: { readonly name: string };
    readonly maintainers: readonly { readonly name: string; readonly email: string }[];
    readonly installModes: readonly { readonly type: string; readonly supported: boolean }[];
    readonly customresourcedefinitions: { readonly owned: readonly Owned[] };
    readonly relatedImages: readonly { readonly name: string; readonly image: string }[];
    readonly install: {
      readonly strategy: string;
      readonly spec: {
        readonly permissions: readonly Account[];
        readonly clusterPermissions: readonly Account[];
        readonly deployments: readonly {
          readonly name: string;
          readonly spec: {
            readonly template: { readonly spec: { readonly serviceAccountName: string; readonly containers: readonly { readonly image: string }[] } };
          };
        }[];
      };
    };
  };
}

interface Definition {
  readonly apiVersion: string;
  readonly metadata: { readonly name: string };
  readonly spec: {
    readonly group: string;
    readonly names: { readonly plural: string; readonly kind: string };
    readonly versions: readonly {
      readonly name: string;
      readonly storage: boolean;
      readonly schema: { readonly openAPIV3Schema: { readonly type: string } };
    }[];
  };
}

const folder = join(import.meta.dirname, "..", "olm");
const manifests = readdirSync(join(folder, "manifests"));
const manifest = (name: string): unknown => parse(readFileSync(join(folder, "manifests", name), "utf8"));
const csvName = `${OLM_PACKAGE}.clusterserviceversion.yaml`;
const csv = manifest(csvName) as ServiceVersion;
const definitions = manifests.filter((name) => name !== csvName).map((name) => manifest(name) as Definition);
const { owned } = csv.spec.customresourcedefinitions;

describe("the bundle for the Operator Lifecycle Manager", () => {
  it("has the annotations by which a catalog finds its parts, and no part that they do not name", () => {
    const { annotations } = parse(readFileSync(join(folder, "metadata", "annotations.yaml"), "utf8")) as { annotations: Record<string, string> };
    const value = (name: string): string => annotations[`operators.operatorframework.io.bundle.${name}`] ?? "";
    expect(value("mediatype.v1")).toBe("registry+v1");
    for (const part of ["manifests.v1", "metadata.v1"]) expect(existsSync(join(folder, value(part)))).toBe(true);
    expect(value("channels.v1").split(",")).toContain(value("channel.default.v1"));
    expect(value("package.v1")).toMatch(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
    expect(readdirSync(folder).sort()).toEqual(["manifests", "metadata"]);
    expect(manifests.filter((name) => name.endsWith(".clusterserviceversion.yaml"))).toEqual([csvName]);
  });

  it("names its version as catalogs order it, and takes the place of every version before", () => {
    expect(csv.spec.version).toMatch(/^\d+\.\d+\.\d+(-[0-9A-Za-z.-]+)?$/);
    expect(csv.metadata.name).toBe(`${OLM_PACKAGE}.v${csv.spec.version}`);
    expect(csv.metadata.annotations["olm.skipRange"]).toBe(`<${csv.spec.version}`);
    // OLM chooses the namespace.
    expect(csv.metadata).not.toHaveProperty("namespace");
  });

  it("owns each definition that it brings, in each version, once, and says what it is for", () => {
    const brought = definitions.flatMap(({ spec }) => spec.versions.map(({ name }) => `${spec.names.plural}.${spec.group}/${name}/${spec.names.kind}`));
    expect(owned.map(({ name, version, kind }) => `${name}/${version}/${kind}`).sort()).toEqual(brought.sort());
    for (const { displayName, description } of owned) expect([displayName, description]).not.toContain("");
    for (const { apiVersion, metadata, spec } of definitions) {
      expect(apiVersion).toBe("apiextensions.k8s.io/v1");
      expect(metadata.name).toBe(`${spec.names.plural}.${spec.group}`);
      expect(spec.versions.filter(({ storage }) => storage)).toHaveLength(1);
      for (const { schema } of spec.versions) expect(schema.openAPIV3Schema.type).toBe("object");
    }
  });

  it("has examples of kinds that it owns", () => {
    const examples = JSON.parse(csv.metadata.annotations["alm-examples"] ?? "") as { apiVersion: string; kind: string; metadata: { name: string } }[];
    const kinds = new Set(definitions.flatMap(({ spec }) => spec.versions.map(({ name }) => `${spec.group}/${name}/${spec.names.kind}`)));
    expect(examples.map(({ apiVersion, kind }) => `${apiVersion}/${kind}`)).toContain("oadp.openshift.io/v1alpha1/DataProtectionApplication");
    for (const { apiVersion, kind, metadata } of examples) {
      expect(kinds).toContain(`${apiVersion}/${kind}`);
      expect(metadata.name).not.toBe("");
    }
  });

  it("says everything that a console shows", () => {
    const { spec, metadata } = csv;
    for (const text of [spec.displayName, spec.description, spec.provider.name, spec.maturity, ...spec.keywords]) expect(text).not.toBe("");
    expect(spec.minKubeVersion).toMatch(/^\d+\.\d+\.\d+$/);
    expect(["Basic Install", "Seamless Upgrades", "Full Lifecycle", "Deep Insights", "Auto Pilot"]).toContain(metadata.annotations["capabilities"]);
    const [icon] = spec.icon;
    expect(icon?.mediatype).toBe("image/svg+xml");
    expect(Buffer.from(icon?.base64data ?? "", "base64").toString("utf8")).toMatch(/^<svg xmlns="http:\/\/www\.w3\.org\/2000\/svg".*<\/svg>$/s);
    expect(spec.installModes.map(({ type }) => type).sort()).toEqual(["AllNamespaces", "MultiNamespace", "OwnNamespace", "SingleNamespace"]);
    expect(spec.installModes.filter(({ supported }) => supported).map(({ type }) => type)).toEqual(["OwnNamespace"]);
  });

  it("runs the operator as the account that it gives its permissions to, and lists the image that it runs", () => {
    const { deployments, permissions } = csv.spec.install.spec;
    expect(csv.spec.install.strategy).toBe("deployment");
    for (const { spec } of deployments) {
      const account = permissions.find(({ serviceAccountName }) => serviceAccountName === spec.template.spec.serviceAccountName);
      expect(account?.rules).toEqual(OPERATOR_OWN_RULES);
      const images = spec.template.spec.containers.map(({ image }) => image);
      expect(csv.spec.relatedImages.map(({ image }) => image)).toEqual(images);
      expect(csv.metadata.annotations["containerImage"]).toBe(images[0]);
    }
  });

  it("is what is made for an image of one's own, but for its name", () => {
    const made = olmBundle({ version: csv.spec.version, image: "example.com/dray:1" });
    expect([...made.keys()].filter((path) => path.startsWith("manifests/")).sort()).toEqual(manifests.map((name) => `manifests/${name}`).sort());
    const text = JSON.stringify(made.get(`manifests/${csvName}`));
    expect(text.split("example.com/dray:1").length - 1).toBe(3);
  });
});
