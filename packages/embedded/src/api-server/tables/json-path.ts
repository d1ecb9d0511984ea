/** The JSONPath of printer columns: fields, indexes, `[*]`, and filters comparing a field with a text, as in `.status.conditions[?(@.type=="Ready")].status`. */
import { isObject, type Json } from "../json.ts";

type Step = (values: readonly Json[]) => Json[];

const compiled = new Map<string, readonly Step[] | undefined>();

/** What a path finds in a value; nothing for a path that cannot be read. */
export function findAll(value: Json, path: string): readonly Json[] {
  let steps = compiled.get(path);
  if (steps === undefined && !compiled.has(path)) {
    steps = compile(path);
    compiled.set(path, steps);
  }
  return steps === undefined ? [] : steps.reduce<readonly Json[]>((values, step) => step(values), [value]);
}

/** Whether a path can be read. */
export const isReadablePath = (path: string): boolean => compile(path) !== undefined;

const FIELD = /^\.?((?:[^.[\]\\'"]|\\.)+)/;
const QUOTED = /^\[\s*(['"])((?:[^'"\\]|\\.)*)\1\s*\]/;
const INDEX = /^\[(-?\d+)\]/;
const ALL = /^(?:\[\*\]|\.\*)/;
const FILTER = /^\[\?\(\s*@\.?([^=!<>\s]+)\s*(==|!=)\s*(?:"([^"]*)"|'([^']*)'|([^)\s]+))\s*\)\]/;

function compile(path: string): readonly Step[] | undefined {
  let rest = path
    .trim()
    .replace(/^\{(.*)\}$/s, "$1")
    .replace(/^\$/, "");
  const steps: Step[] = [];
  while (rest !== "" && rest !== ".") {
    const all = ALL.exec(rest);
    const filter = FILTER.exec(rest);
    const index = INDEX.exec(rest);
    const quoted = QUOTED.exec(rest);
    const field = FIELD.exec(rest);
    const match = all ?? filter ?? index ?? quoted ?? field;
    if (match === null) return undefined;
    if (all !== null) steps.push((values) => values.flatMap((it): Json[] => (Array.isArray(it) ? it : isObject(it) ? (Object.values(it) as Json[]) : [])));
    else if (filter !== null) steps.push(filterStep(filter));
    else if (index !== null) steps.push((values) => values.flatMap((it) => (Array.isArray(it) ? it.slice(Number(index[1])).slice(0, 1) : [])));
    else steps.push(fieldStep((quoted?.[2] ?? field?.[1] ?? "").replaceAll(/\\(.)/g, "$1")));
    rest = rest.slice(match[0].length);
  }
  return steps;
}

function fieldStep(name: string): Step {
  return (values) =>
    values.flatMap((it) => {
      const found = isObject(it) && Object.hasOwn(it, name) ? it[name] : undefined;
      // Wrapped, so that a list that is the value is not taken apart.
      return found === undefined ? [] : [found];
    });
}

function filterStep(match: RegExpExecArray): Step {
  const path = `.${match[1]}`;
  const wanted = match[3] ?? match[4] ?? match[5] ?? "";
  return (values) =>
    values.flatMap((it) =>
      Array.isArray(it) ? it.filter((item) => findAll(item, path).some((found) => String(found) === wanted) === (match[2] === "==")) : [],
    );
}
