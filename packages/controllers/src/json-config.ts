/**
 * Velero's ConfigMaps hold JSON. What is read here has the types that its code expects: a list where an object is wanted would otherwise fail each movement, far from whoever wrote it.
 * As where it is read by Velero, letters may be large or small in the names of fields, fields that nobody knows are left alone, and null is nothing.
 */
import { DrayError, messageOf } from "@drayage/base";

/** Gives the value back as its code expects it. Throws VALIDATION_FAILED by `wrong`, with the path. */
export type Shape = (value: unknown, path: string, wrong: Wrong) => unknown;
type Wrong = (path: string, wanted: string, value: unknown) => DrayError;

/** Reads a value of a ConfigMap. `subject` says which, as in `key "global" of ConfigMap "c"`. */
export function readJsonConfig<T>(text: string, shape: Shape, subject: string): T {
  const refused = (what: string, cause?: unknown): DrayError =>
    new DrayError("VALIDATION_FAILED", `Cannot use ${subject}: ${what}`, cause === undefined ? {} : { cause });
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw refused(`its value is not JSON: ${messageOf(cause)}`, cause);
  }
  return shape(value, "", (path, wanted, found) =>
    refused(path === "" ? `its value is not ${wanted}` : `${path} is ${JSON.stringify(found)}, ${wanted} is wanted`),
  ) as T;
}

const scalar =
  (wanted: string, fits: (value: unknown) => boolean): Shape =>
  (value, path, wrong) => {
    if (!fits(value)) throw wrong(path, wanted, value);
    return value;
  };

export const text: Shape = scalar("a text", (value) => typeof value === "string");
export const flag: Shape = scalar("true or false", (value) => typeof value === "boolean");
export const wholeNumber: Shape = scalar("a whole number", Number.isSafeInteger);
export const anyNumber: Shape = scalar("a number", (value) => typeof value === "number");

export const listOf =
  (entry: Shape): Shape =>
  (value, path, wrong) => {
    if (!Array.isArray(value)) throw wrong(path, "a list", value);
    return value.map((one: unknown, at) => entry(one, `${path}[${at}]`, wrong));
  };

export const mapOf =
  (entry: Shape): Shape =>
  (value, path, wrong) =>
    Object.fromEntries(fieldsOf(value, path, wrong).map(([name, one]) => [name, entry(one, `${path}[${JSON.stringify(name)}]`, wrong)]));

export const record = (fields: Readonly<Record<string, Shape>>): Shape => {
  const names = new Map(Object.keys(fields).map((name) => [name.toLowerCase(), name]));
  return (value, path, wrong) =>
    Object.fromEntries(
      fieldsOf(value, path, wrong).map(([given, one]) => {
        const name = names.get(given.toLowerCase()) ?? given;
        return [name, fields[name]?.(one, path === "" ? name : `${path}.${name}`, wrong) ?? one];
      }),
    );
};

export const labelSelector: Shape = record({
  matchLabels: mapOf(text),
  matchExpressions: listOf(record({ key: text, operator: text, values: listOf(text) })),
});

function fieldsOf(value: unknown, path: string, wrong: Wrong): [string, unknown][] {
  if (typeof value !== "object" || value === null || Array.isArray(value)) throw wrong(path, "an object", value);
  return Object.entries(value).filter(([, one]) => one !== null);
}
