/**
 * Writes packages/api/src/generated/ from packages/api/crds/: one file a kind with the TypeScript types of its spec and status, and its place in the API.
 * `--check` compares instead of writing. The shapes are printed by hand rather than by a library, because they name nested types after their kind and share ObjectMeta.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "yaml";

interface Schema {
  type?: string;
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  enum?: (string | number)[];
  nullable?: boolean;
  "x-kubernetes-preserve-unknown-fields"?: boolean;
  "x-kubernetes-int-or-string"?: boolean;
}

const root = join(import.meta.dirname, "..", "packages", "api");
const check = process.argv.includes("--check");

function typeOf(schema: Schema, indent: string): string {
  const nullable = schema.nullable === true ? " | null" : "";
  return `${bareTypeOf(schema, indent)}${nullable}`;
}

function bareTypeOf(schema: Schema, indent: string): string {
  if (schema["x-kubernetes-int-or-string"] === true) return "number | string";
  if (schema.enum !== undefined) return schema.enum.map((value) => JSON.stringify(value)).join(" | ");
  switch (schema.type) {
    case "string":
      return "string";
    case "integer":
    case "number":
      return "number";
    case "boolean":
      return "boolean";
    case "array": {
      const item = schema.items === undefined ? "unknown" : typeOf(schema.items, indent);
      return item.includes(" | ") || item.includes("\n") ? `Array<${item}>` : `${item}[]`;
    }
    case "object":
      if (schema.properties !== undefined && Object.keys(schema.properties).length > 0) return objectOf(schema, indent);
      if (typeof schema.additionalProperties === "object") return `Record<string, ${typeOf(schema.additionalProperties, indent)}>`;
      return "Record<string, unknown>";
    default:
      return "unknown";
  }
}

function objectOf(schema: Schema, indent: string): string {
  const inner = `${indent}  `;
  const lines = Object.entries(schema.properties ?? {}).map(([name, property]) => {
    const doc = property.description === undefined ? "" : `${inner}/** ${property.description.trim().replaceAll("\n", ` `)} */\n`;
    const key = /^[A-Za-z_$][\w$]*$/.test(name) ? name : JSON.stringify(name);
    return `${doc}${inner}${key}${schema.required?.includes(name) === true ? "" : "?"}: ${typeOf(property, inner)};`;
  });
  return `{\n${lines.join("\n")}\n${indent}}`;
}

let stale = 0;
function emit(path: string, text: string): void {
  if (check) {
    if (!existsSync(path) || readFileSync(path, "utf8") !== text) {
      process.stderr.write(`${path} is not what tools/generate-api.ts makes of the CRDs; run it\n`);
      stale++;
    }
    return;
  }
  writeFileSync(path, text);
}

mkdirSync(join(root, "src", "generated"), { recursive: true });
const files = readdirSync(join(root, "crds")).sort();
const exports: string[] = [];
for (const file of files) {
  const crd = parse(readFileSync(join(root, "crds", file), "utf8")) as {
    spec: {
      group: string;
      scope: string;
      names: { kind: string; plural: string };
      versions: { name: string; storage: boolean; schema: { openAPIV3Schema: Schema } }[];
    };
  };
  const { group, scope, names, versions } = crd.spec;
  const version = versions.find((candidate) => candidate.storage) ?? versions[0];
  if (version === undefined) throw new Error(`${file}: no version`);
  const { kind, plural } = names;
  const parts = Object.entries(version.schema.openAPIV3Schema.properties ?? {}).filter(([name]) => !["apiVersion", "kind", "metadata"].includes(name));
  const lines = [
    "// Written by tools/generate-api.ts from packages/api/crds; do not edit.",
    `import type { KindDescriptor, ObjectMeta } from "../meta.ts";`,
    "",
  ];
  const fields: string[] = [];
  for (const [name, schema] of parts) {
    const isShape = schema.type === "object" && schema.properties !== undefined;
    const typeName = `${kind}${name[0]?.toUpperCase()}${name.slice(1)}`;
    if (isShape) lines.push(`export interface ${typeName} ${objectOf(schema, "")}`, "");
    const optional = version.schema.openAPIV3Schema.required?.includes(name) === true || name === "spec" ? "" : "?";
    fields.push(`  ${name}${optional}: ${isShape ? typeName : typeOf(schema, "  ")};`);
  }
  lines.push(`export interface ${kind} {`, "  apiVersion?: string;", "  kind?: string;", "  metadata: ObjectMeta;", ...fields, "}", "");
  const constant = `${kind[0]?.toLowerCase()}${plural === kind.toLowerCase() ? kind.slice(1) : pluralOf(kind).slice(1)}`;
  lines.push(
    `export const ${constant}: KindDescriptor<${kind}> = { group: "${group}", version: "${version.name}", plural: "${plural}", kind: "${kind}", namespaced: ${scope === "Namespaced"} };`,
    "",
  );
  emit(join(root, "src", "generated", `${plural}.ts`), lines.join("\n"));
  exports.push(`export * from "./${plural}.ts";`);
}
emit(join(root, "src", "generated", "index.ts"), `// Written by tools/generate-api.ts from packages/api/crds; do not edit.\n${exports.join("\n")}\n`);
process.exitCode = stale > 0 ? 1 : 0;

function pluralOf(kind: string): string {
  if (kind.endsWith("y")) return `${kind.slice(0, -1)}ies`;
  return kind.endsWith("s") ? `${kind}es` : `${kind}s`;
}
