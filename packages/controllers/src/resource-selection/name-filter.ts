/** Lists of names to include and to exclude, with the globs that Velero knows: `*`, `?` and `[abc]`. */

const GLOB = /[*?[]/;

/** Whether a pattern stands for more than itself. */
export function isGlob(pattern: string): boolean {
  return GLOB.test(pattern);
}

/** What is wrong with a pattern, or undefined. */
export function globFault(pattern: string): string | undefined {
  if (/[|()!{},]/.test(pattern)) return `pattern "${pattern}" contains one of | ( ) ! { } and comma, which globs here do not have`;
  if (pattern.includes("**")) return `pattern "${pattern}" contains two asterisks in a row`;
  const brackets = pattern.replace(/\[[^\][]+\]/g, "");
  if (/[[\]]/.test(brackets)) return `pattern "${pattern}" contains an empty or unbalanced bracket`;
  if (expressionOf(pattern) === undefined) return `pattern "${pattern}" contains a range that begins after its end`;
  return undefined;
}

/** Total, since filters are also made of specs that nobody has checked yet: a wrong pattern stands for itself. */
function compile(pattern: string): (name: string) => boolean {
  if (pattern === "*") return () => true;
  const expression = isGlob(pattern) ? expressionOf(pattern) : undefined;
  return expression === undefined ? (name) => name === pattern : (name) => expression.test(name);
}

function expressionOf(pattern: string): RegExp | undefined {
  const source = pattern.replace(/\[([^\][]+)\]|[.+^${}()|\\[\]]|\*|\?/g, (token, set: string | undefined) =>
    set !== undefined ? `[${set.replace(/[\\^]/g, "\\$&")}]` : token === "*" ? ".*" : token === "?" ? "." : `\\${token}`,
  );
  try {
    return new RegExp(`^${source}$`, "s");
  } catch {
    return undefined;
  }
}

/** A name is in when no exclude fits and an include does; no includes at all stand for every name. */
export class NameFilter {
  /** Lets no name through. */
  static readonly nothing: NameFilter = new NameFilter([], ["*"]);

  readonly includes: readonly string[];
  readonly excludes: readonly string[];
  readonly #included: readonly ((name: string) => boolean)[];
  readonly #excluded: readonly ((name: string) => boolean)[];

  constructor(includes: readonly string[], excludes: readonly string[]) {
    this.includes = includes;
    this.excludes = excludes;
    this.#included = includes.map(compile);
    this.#excluded = excludes.map(compile);
  }

  has(name: string): boolean {
    return !this.isExcluded(name) && (this.includes.length === 0 || this.isListed(name));
  }

  /** Whether an include fits. */
  isListed(name: string): boolean {
    return this.#included.some((fits) => fits(name));
  }

  /** Whether an exclude fits. */
  isExcluded(name: string): boolean {
    return this.#excluded.some((fits) => fits(name));
  }

  get isNothing(): boolean {
    return this.excludes.includes("*");
  }

  /** Whether nothing can be left out. */
  get hasEverything(): boolean {
    return this.excludes.length === 0 && (this.includes.length === 0 || this.includes.every((name) => name === "*"));
  }
}

/** What is contradictory in two lists that make a filter. */
export function filterFaults(includes: readonly string[], excludes: readonly string[]): string[] {
  const faults: string[] = [];
  if (includes.includes("*") && new Set(includes).size > 1) faults.push(`the list of includes has "*" and other entries, where "*" must stand alone`);
  if (excludes.includes("*")) faults.push(`the list of excludes has "*", which would leave nothing`);
  for (const name of new Set(excludes)) if (name !== "*" && includes.includes(name)) faults.push(`"${name}" is in the list of includes and of excludes`);
  return faults;
}

/** The same for the lists per scope, in which everything may be excluded as long as nothing is included. */
export function scopedFilterFaults(includes: readonly string[], excludes: readonly string[]): string[] {
  const faults: string[] = [];
  if (includes.includes("*") && new Set(includes).size > 1) faults.push(`the list of includes has "*" and other entries, where "*" must stand alone`);
  if (excludes.includes("*") && new Set(excludes).size > 1) faults.push(`the list of excludes has "*" and other entries, where "*" must stand alone`);
  if (excludes.includes("*") && includes.length > 0) faults.push(`the list of excludes has "*", and yet something is included`);
  for (const name of new Set(excludes)) if (name !== "*" && includes.includes(name)) faults.push(`"${name}" is in the list of includes and of excludes`);
  return faults;
}

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** `filterFaults`, and names that no namespace can have. */
export function namespaceFilterFaults(includes: readonly string[], excludes: readonly string[]): string[] {
  const faults = filterFaults(includes, excludes);
  for (const name of new Set([...includes, ...excludes])) {
    // An empty name stands for "no namespace".
    if (name === "") continue;
    const fault = globFault(name);
    if (fault !== undefined) faults.push(fault);
    else if (!DNS_LABEL.test(name.replace(/[*?[\]]/g, "x"))) faults.push(`"${name}" cannot be the name of a namespace`);
  }
  return faults;
}
