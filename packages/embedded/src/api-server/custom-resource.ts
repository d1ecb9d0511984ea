/** A version of a CustomResourceDefinition as a served resource. */
import type { OpenApiSchema } from "@drayage/protocols/kubernetes";
import { type ApiObject, at, isObject, type Json, type JsonObject, objectAt, objectsAt, textAt, textsAt } from "./json.ts";
import { compileRules, type RuleSet } from "./schema/cel-rules.ts";
import { hasDefaults, type StructuralSchema } from "./schema/structural.ts";
import type { ServedResource } from "./served-resource.ts";
import { customStrategy } from "./strategies/custom.ts";

export interface PrinterColumn {
  readonly name: string;
  readonly type: string;
  readonly jsonPath: string;
  readonly description?: string;
  readonly format?: string;
  readonly priority?: number;
}

export interface CustomVersion {
  /** Name of the CustomResourceDefinition. */
  readonly definition: string;
  readonly storageVersion: string;
  readonly schema: StructuralSchema | undefined;
  readonly defaulting: boolean;
  readonly rules: RuleSet;
  readonly hasStatus: boolean;
  readonly scale: { readonly specReplicasPath: string; readonly statusReplicasPath: string; readonly labelSelectorPath: string | undefined } | undefined;
  readonly columns: readonly PrinterColumn[];
  readonly selectableFields: readonly string[];
  readonly openApi: OpenApiSchema | undefined;
  readonly deprecationWarning: string | undefined;
}

const VERBS = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"] as const;

/** The resources an established definition serves, one a served version. */
export function resourcesOf(definition: ApiObject): ServedResource[] {
  const group = textAt(definition, "spec", "group");
  const names = objectAt(definition, "status", "acceptedNames") ?? {};
  const kind = textAt(names, "kind");
  const plural = textAt(names, "plural");
  const storageVersion = textAt(
    objectsAt(definition, "spec", "versions").find((it) => it["storage"] === true),
    "name",
  );
  return objectsAt(definition, "spec", "versions")
    .filter((it) => it["served"] === true)
    .map((version) => {
      const custom = customVersion(definition, version, storageVersion);
      return {
        group,
        version: textAt(version, "name"),
        plural,
        singular: textAt(names, "singular"),
        kind,
        listKind: textAt(names, "listKind") || `${kind}List`,
        namespaced: textAt(definition, "spec", "scope") === "Namespaced",
        verbs: VERBS,
        shortNames: textsAt(names, "shortNames"),
        categories: textsAt(names, "categories"),
        subresources: [
          ...(custom.hasStatus ? [{ name: "status", verbs: ["get", "patch", "update"] }] : []),
          ...(custom.scale === undefined
            ? []
            : [{ name: "scale", verbs: ["get", "patch", "update"], kind: { group: "autoscaling", version: "v1", kind: "Scale" } }]),
        ],
        storedAs: `${group}/${plural}`,
        strategy: customStrategy(custom),
        schemaName: undefined,
        custom,
      };
    });
}

function customVersion(definition: ApiObject, version: JsonObject, storageVersion: string): CustomVersion {
  const schema = at(version, "schema", "openAPIV3Schema") as StructuralSchema | undefined;
  const scale = objectAt(version, "subresources", "scale");
  return {
    definition: definition.metadata.name ?? "",
    storageVersion,
    schema: objectAt(definition, "spec")?.["preserveUnknownFields"] === true ? undefined : schema,
    defaulting: hasDefaults(schema),
    rules: compileRules(schema),
    hasStatus: isObject(at(version, "subresources", "status")),
    scale:
      scale === undefined
        ? undefined
        : {
            specReplicasPath: textAt(scale, "specReplicasPath"),
            statusReplicasPath: textAt(scale, "statusReplicasPath"),
            labelSelectorPath: textAt(scale, "labelSelectorPath") || undefined,
          },
    columns: objectsAt(version, "additionalPrinterColumns") as unknown as PrinterColumn[],
    selectableFields: objectsAt(version, "selectableFields").map((it) => textAt(it, "jsonPath").replace(/^\./, "")),
    openApi: publishedSchema(definition, version, schema),
    deprecationWarning:
      version["deprecated"] === true
        ? textAt(version, "deprecationWarning") ||
          `${textAt(definition, "spec", "group")}/${textAt(version, "name")} ${textAt(definition, "spec", "names", "kind")} is deprecated`
        : undefined,
  };
}

/** The schema as clients get it: with the type fields and the metadata every object has, and the kind it belongs to. */
function publishedSchema(definition: ApiObject, version: JsonObject, schema: StructuralSchema | undefined): OpenApiSchema {
  const kind = { group: textAt(definition, "spec", "group"), version: textAt(version, "name"), kind: textAt(definition, "spec", "names", "kind") };
  const own = isObject(schema) ? (schema as unknown as OpenApiSchema) : ({ type: "object", "x-kubernetes-preserve-unknown-fields": true } as OpenApiSchema);
  return {
    ...own,
    properties: {
      ...own.properties,
      apiVersion: { type: "string" },
      kind: { type: "string" },
      metadata: { allOf: [{ $ref: "#/components/schemas/io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta" }] },
    },
    "x-kubernetes-group-version-kind": [kind],
  };
}

/** A value at a simple path such as `.spec.replicas`. */
export function atSimplePath(object: ApiObject, path: string): Json | undefined {
  return at(object, ...path.replace(/^\./, "").split("."));
}
