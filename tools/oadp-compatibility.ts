/**
 * docs/oadp-compatibility.md: every field of OADP's kinds, how it is treated, and the test that shows it.
 *
 * What is checked: our definitions have exactly the fields that OADP publishes (test/compat-fields/oadp-published.ts), of the same types; each of them has an entry whose test is there,
 * is not left out of runs, and speaks of the field. Structures that OADP takes from others are compared with those: Velero's definitions, and Kubernetes' schemas.
 */
import { readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { loadCrds } from "../packages/api/src/crds.ts";
import type { FieldTable } from "../test/compat-fields/evidence.ts";
import { oadpFieldTables } from "../test/compat-fields/oadp.ts";
import { OADP_KINDS, OADP_LATER_ABSENT, OADP_STRUCTURES, type Structure } from "../test/compat-fields/oadp-published.ts";
import { evidenceFaults, fieldCounts, kindSection } from "./velero-compatibility.ts";

const root = resolve(import.meta.dirname, "..");

interface Schema {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly unknown[];
  readonly default?: unknown;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
  readonly additionalProperties?: Schema;
  readonly allOf?: readonly Schema[];
  readonly $ref?: string;
  readonly "x-kubernetes-int-or-string"?: boolean;
}

interface Published {
  readonly type: string;
  readonly required: boolean;
  readonly default: string | undefined;
}

/** `one of a b = a !` in its parts. */
function published(text: string): Published {
  const plain = text.replace(/ @1\.\d+$/, "");
  const required = plain.endsWith(" !");
  const [type = "", defaultValue] = plain.replace(/ !$/, "").split(" = ");
  return { type, required, default: defaultValue };
}

const read = new Map<string, ReadonlyMap<string, Schema>>();

/** The definitions of a group, by kind. */
function schemasOf(group: string): ReadonlyMap<string, Schema> {
  const known = read.get(group);
  if (known !== undefined) return known;
  const versions = (spec: Record<string, unknown>) => spec["versions"] as { schema: { openAPIV3Schema: Schema } }[];
  const schemas = new Map(loadCrds(group).map(({ spec }) => [spec.names.kind, versions(spec)[0]?.schema.openAPIV3Schema ?? {}] as const));
  read.set(group, schemas);
  return schemas;
}

let kubernetes: Readonly<Record<string, Schema>> | undefined;

/** A structure of someone else's; undefined when there is none of that name. */
function foreignSchema(name: string): Schema | undefined {
  const [group, kind = ""] = name.split("/");
  if (group === "velero.io") return schemasOf(group).get(kind)?.properties?.["spec"];
  kubernetes ??= JSON.parse(readFileSync(join(root, "packages/protocols/src/kubernetes/data/schemas.json"), "utf8")) as Record<string, Schema>;
  return kubernetes[group === "meta" ? `io.k8s.apimachinery.pkg.apis.meta.v1.${kind}` : `io.k8s.api.core.v1.${kind}`];
}

/** Of Kubernetes after the release that OADP 1.5 is built with, and of no use before its feature gate is on. */
const LATER_KUBERNETES: ReadonlySet<string> = new Set(["fileKeyRef"]);

/** The shape alone: types, names of fields, which must be given; not what is said of them, nor how they are merged. */
function shapeOf(schema: Schema): unknown {
  const target = schema.$ref ?? schema.allOf?.[0]?.$ref;
  if (target !== undefined) {
    const name = target.slice(target.lastIndexOf("/") + 1);
    if (name.endsWith(".Quantity")) return "quantity";
    if (name.endsWith(".Time")) return "string";
    return shapeOf(kubernetes?.[name] ?? {});
  }
  if (schema["x-kubernetes-int-or-string"] === true) return "quantity";
  if (schema.properties !== undefined)
    return Object.fromEntries(
      Object.entries(schema.properties)
        .filter(([name]) => !LATER_KUBERNETES.has(name))
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, inner]) => [name, shapeOf(inner)]),
    );
  if (schema.items !== undefined) return [shapeOf(schema.items)];
  return schema.additionalProperties === undefined ? schema.type : { "*": shapeOf(schema.additionalProperties) };
}

interface Found {
  readonly fields: string[];
  readonly faults: string[];
}

/** What is published of a kind beside what our definition has. */
export function comparison(kind: string, structures: Readonly<Record<string, Structure>> = OADP_STRUCTURES): Found {
  const found: Found = { fields: [], faults: [] };
  const schema = schemasOf("oadp.openshift.io").get(kind);
  const parts = OADP_KINDS[kind];
  if (schema === undefined || parts === undefined) return { fields: [], faults: [`${kind}: there is no such definition`] };
  for (const part of ["spec", "status"] as const) compareStructure(part, schema.properties?.[part] ?? {}, structures[parts[part]] ?? {}, structures, found);
  return { fields: found.fields, faults: found.faults.map((fault) => `${kind}.${fault}`) };
}

function compareStructure(path: string, schema: Schema, structure: Structure, structures: Readonly<Record<string, Structure>>, found: Found): void {
  for (const name of Object.keys(schema.properties ?? {}))
    if (structure[name] === undefined) found.faults.push(`${path}.${name}: our definition has it, OADP's has not`);
  for (const [name, text] of Object.entries(structure)) {
    const at = `${path}.${name}`;
    const ours = schema.properties?.[name];
    const { type, required, default: defaultValue } = published(text);
    if (ours === undefined) {
      found.faults.push(`${at}: OADP's definition has it, ours has not`);
      continue;
    }
    if (required !== (schema.required?.includes(name) ?? false)) found.faults.push(`${at}: ${required ? "must" : "need not"} be given in OADP's definition`);
    if (defaultValue !== undefined && String(ours.default) !== defaultValue)
      found.faults.push(`${at}: its default is ${String(ours.default)}, OADP's is ${defaultValue}`);
    compareType(at, ours, type, structures, found);
  }
}

function compareType(path: string, ours: Schema, type: string, structures: Readonly<Record<string, Structure>>, found: Found): void {
  const structure = structures[type];
  if (structure !== undefined) {
    compareStructure(path, ours, structure, structures, found);
    return;
  }
  const [, collection, element = ""] = /^(list|map) of (.*)$/.exec(type) ?? [];
  const inner = collection === "list" ? ours.items : ours.additionalProperties;
  // Structures of our own are gone into, so that each of their fields is one; the rest is a field as a whole.
  if (collection !== undefined && inner !== undefined && structures[element] !== undefined) {
    compareType(collection === "list" ? `${path}[]` : `${path}{}`, inner, element, structures, found);
    return;
  }
  found.fields.push(path);
  const faults = collection === undefined ? leafFaults(ours, type) : inner === undefined ? [`a ${collection} is published`] : leafFaults(inner, element);
  found.faults.push(...faults.map((fault) => `${path}: ${fault}`));
}

function leafFaults(ours: Schema, type: string): string[] {
  if (type.includes("/")) {
    const theirs = foreignSchema(type);
    if (theirs === undefined) return [`${type} is not known here`];
    return isDeepStrictEqual(shapeOf(ours), shapeOf(theirs)) ? [] : [`its shape is not that of ${type}`];
  }
  const values = /^one of (.*)$/.exec(type)?.[1]?.split(" ");
  if (values !== undefined) {
    // OADP publishes one that is checked as a whole list, where it means its elements.
    const choices = ours.enum ?? ours.items?.enum;
    return isDeepStrictEqual([...(choices ?? [])].sort(), values.sort()) ? [] : [`its choices are ${String(choices)}, OADP's are ${values.join()}`];
  }
  const wanted: Readonly<Record<string, readonly [string, string | undefined]>> = { bytes: ["string", "byte"], date: ["string", "date-time"] };
  const [plain, format] = wanted[type] ?? [type, undefined];
  if (ours.type !== plain) return [`it is of type ${ours.type}, OADP's is ${plain}`];
  if (ours.enum !== undefined) return [`it is limited to ${String(ours.enum)}, OADP's is not`];
  return format === undefined || ours.format === format ? [] : [`its format is ${ours.format}, OADP's is ${format}`];
}

/** What is wrong with definitions and tables; empty when the page can be believed. */
export function oadpFaults(tables: Readonly<Record<string, FieldTable>> = oadpFieldTables): string[] {
  return Object.keys(OADP_KINDS).flatMap((kind) => {
    const { fields, faults } = comparison(kind);
    const table = tables[kind] ?? {};
    return [
      ...faults,
      ...fields.flatMap((field) => {
        const entry = table[field];
        return entry === undefined ? [`${kind}.${field}: OADP has it, test/compat-fields says nothing of it`] : evidenceFaults(`${kind}.${field}`, entry);
      }),
      ...Object.keys(table).flatMap((field) => (fields.includes(field) ? [] : [`${kind}.${field}: OADP has no such field`])),
    ];
  });
}

export function oadpCompatibilityPage(): string {
  return [
    "# Compatibility with OADP, field by field",
    "",
    "Written by `tools/docs.ts` from `test/compat-fields/oadp.ts`, which is checked against what OADP publishes (`test/compat-fields/oadp-published.ts`), against our definitions, and against the tests that it names:",
    "a field that differs, is missing on either side, or has no test fails the gate. A structure of Velero or Kubernetes counts as one field.",
    "",
    ...fieldCounts(oadpFieldTables, "OADP"),
    "",
    `Of releases after 1.5 there is everything but ${OADP_LATER_ABSENT.map((name) => `\`${name}\``).join(", ")}.`,
    "",
    ...Object.entries(oadpFieldTables).flatMap(([kind, table]) => kindSection(kind, table)),
  ].join("\n");
}
