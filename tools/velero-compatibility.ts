/**
 * docs/velero-compatibility.md: every field of every kind of Velero's as it is defined in packages/api/crds, how it is treated, and the test that shows it.
 *
 * What is checked: the tables of test/compat-fields name exactly the fields that the definitions have; each field's test is there, is not left out of runs, and speaks of the field.
 * That the tests hold is theirs to show: the gate and CI run every one of them.
 */
import { existsSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { isDeepStrictEqual } from "node:util";
import { loadCrds } from "../packages/api/src/crds.ts";
import type { FieldEntry, FieldStatus, FieldTable } from "../test/compat-fields/evidence.ts";
import { fieldTables } from "../test/compat-fields/index.ts";
import { type TestCase, testCases } from "./test-cases.ts";

const root = resolve(import.meta.dirname, "..");

interface Schema {
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly items?: Schema;
}

/** Structures of Kubernetes' own, which stand for one field each: selectors of labels, references to objects. */
const WHOLE: readonly (readonly string[])[] = [
  ["matchExpressions", "matchLabels"],
  ["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"],
];

/** The fields of a kind of a group as `spec.hooks.resources[].name`; of a schedule's template only that it is a backup's spec. */
export function definedFields(group = "velero.io"): ReadonlyMap<string, readonly string[]> {
  const schemas = new Map(loadCrds(group).map(({ spec }) => [spec.names.kind, schemaOf(spec)] as const));
  const backupSpec = schemas.get("Backup")?.properties?.["spec"];
  return new Map(
    [...schemas].map(([kind, schema]) => {
      const fields: string[] = [];
      for (const part of ["spec", "status"]) {
        const partSchema = schema.properties?.[part];
        if (partSchema !== undefined) addFields(part, partSchema, backupSpec, fields);
      }
      return [kind, fields] as const;
    }),
  );
}

function schemaOf(spec: Record<string, unknown>): Schema {
  const [version] = spec["versions"] as { schema: { openAPIV3Schema: Schema } }[];
  return version?.schema.openAPIV3Schema ?? {};
}

function addFields(path: string, schema: Schema, backupSpec: Schema | undefined, fields: string[]): void {
  const inner = schema.properties ?? schema.items?.properties;
  const isTemplate = path === "spec.template" && isDeepStrictEqual(withoutTexts(schema), withoutTexts(backupSpec));
  if (inner === undefined || isTemplate || WHOLE.some((names) => isDeepStrictEqual(Object.keys(inner).sort(), names))) {
    fields.push(path);
    return;
  }
  const prefix = schema.properties === undefined ? `${path}[]` : path;
  for (const [name, field] of Object.entries(inner)) addFields(`${prefix}.${name}`, field, backupSpec, fields);
}

/** Descriptions may be worded otherwise. */
function withoutTexts(schema: unknown): unknown {
  return JSON.parse(JSON.stringify(schema, (key, value: unknown) => (key === "description" && typeof value === "string" ? undefined : value)) ?? "null");
}

const read = new Map<string, readonly TestCase[]>();

function casesOf(file: string): readonly TestCase[] | undefined {
  const path = join(root, file);
  if (!read.has(file) && existsSync(path)) read.set(file, testCases(readFileSync(path, "utf8")));
  return read.get(file);
}

/** What is wrong with the tables; empty when the page can be believed. */
export function fieldFaults(tables: Readonly<Record<string, FieldTable>> = fieldTables, group = "velero.io"): string[] {
  const faults: string[] = [];
  for (const [kind, fields] of definedFields(group)) {
    const table = tables[kind] ?? {};
    for (const field of fields) {
      const entry = table[field];
      if (entry === undefined) faults.push(`${kind}.${field}: the definition has it, test/compat-fields says nothing of it`);
      else faults.push(...evidenceFaults(`${kind}.${field}`, entry));
    }
    for (const field of Object.keys(table)) if (!fields.includes(field)) faults.push(`${kind}.${field}: the definition has no such field`);
  }
  return faults;
}

/** What is wrong with one entry: how a field is treated must be said, and its test be there, run, and speak of it. */
export function evidenceFaults(field: string, { status, note, evidence }: FieldEntry): string[] {
  const { file, title, recorded } = evidence;
  const where = `${field}: test "${title}" of ${file}`;
  if (status !== "supported" && (note ?? "") === "") return [`${field}: is ${status}, and nothing says how or why`];
  const found = casesOf(file)?.filter((test) => test.title === title) ?? [];
  if (found.length === 0) return [`${where} is not there`];
  if (found.some(({ skipped }) => skipped)) return [`${where} is left out of runs`];
  const name = field.split(".").at(-1)?.replace("[]", "") ?? "";
  const shows = evidence.shows ?? name;
  if (!found.some(({ text }) => text.includes(shows))) return [`${where} does not speak of "${shows}"`];
  if (recorded !== undefined && !readFileSync(join(root, recorded), "utf8").includes(`"${name}"`))
    return [`${where} compares with ${recorded}, which has no "${name}"`];
  return [];
}

export function veleroCompatibilityPage(): string {
  return [
    "# Compatibility with Velero, field by field",
    "",
    "Written by `tools/docs.ts` from `test/compat-fields`, whose tables are checked against the definitions of Velero 1.18.3 (`packages/api/crds`) and against the tests that they name:",
    "a field without an entry, or whose test is gone, is left out of runs or does not speak of it, fails the gate. `spec.template` of a Schedule is a Backup's spec; a selector of labels counts as one field.",
    "",
    ...fieldCounts(fieldTables, "Velero"),
    "",
    ...Object.entries(fieldTables).flatMap(([kind, table]) => kindSection(kind, table)),
  ].join("\n");
}

/** How many fields are treated how, as a table. */
export function fieldCounts(tables: Readonly<Record<string, FieldTable>>, program: string): string[] {
  const entries = Object.values(tables).flatMap((table) => Object.values(table));
  const count = (status: FieldStatus): number => entries.filter((entry) => entry.status === status).length;
  return [
    "| | fields |",
    "|---|---|",
    `| supported | ${count("supported")} |`,
    `| different: it does something, and not all that it does in ${program} | ${count("different")} |`,
    `| refused: it is not ignored, but answered with an error | ${count("refused")} |`,
    `| unused: ${program} does not use it either | ${count("unused")} |`,
  ];
}

export function kindSection(kind: string, table: FieldTable): string[] {
  const rows = Object.entries(table).map(([field, entry]) => {
    const { file, title, recorded } = entry.evidence;
    const how = `${entry.status}${entry.note === undefined ? "" : `: ${entry.note}`}`;
    const comparedWith = recorded === undefined ? "" : ", compared with a recording of Velero 1.18.3";
    const [found] = casesOf(file)?.filter((test) => test.title === title) ?? [];
    return `| \`${field}\` | ${how} | ${escaped([...(found?.groups ?? []), title].join(" › "))} (\`${file}\`${comparedWith}) |`;
  });
  return [`## ${kind}`, "", "| field | | shown by the test |", "|---|---|---|", ...rows, ""];
}

function escaped(text: string): string {
  return text.replaceAll("|", "\\|");
}
