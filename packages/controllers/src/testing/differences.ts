/** Field-by-field comparison with what another program did. */

/** A difference that is meant, by where it is. */
export interface MeantDifference {
  /** Paths look like `pods/web.spec.nodeName`. */
  readonly at: RegExp;
  readonly why: string;
}

/** Every place where two pieces of JSON differ: `path: ours … theirs …`. */
export function differences(ours: unknown, theirs: unknown, path = ""): string[] {
  if (Object.is(ours, theirs)) return [];
  if (isRecord(ours) && isRecord(theirs)) {
    return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])]
      .sort()
      .flatMap((key) => differences(ours[key], theirs[key], path === "" ? key : `${path}.${key}`));
  }
  if (Array.isArray(ours) && Array.isArray(theirs)) {
    return Array.from({ length: Math.max(ours.length, theirs.length) }, (_, index) => differences(ours[index], theirs[index], `${path}[${index}]`)).flat();
  }
  return [`${path}: ours ${JSON.stringify(ours)}, theirs ${JSON.stringify(theirs)}`];
}

/** Differences that nobody meant, and reasons for differences that do not exist (any more). */
export function unexplained(found: readonly string[], meant: readonly MeantDifference[]): string[] {
  const pathOf = (difference: string): string => difference.slice(0, difference.indexOf(": ours "));
  return [
    ...found.filter((difference) => !meant.some(({ at }) => at.test(pathOf(difference)))),
    ...meant
      .filter(({ at }) => !found.some((difference) => at.test(pathOf(difference))))
      .map(({ at, why }) => `there is no difference at ${at}, though it is said that ${why}`),
  ];
}

/** The same with times, and each of these names, written as something that does not change from run to run. */
export function withoutNames<T>(value: T, names: Readonly<Record<string, string>>): T {
  let text = JSON.stringify(value).replace(/"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"/g, '"<time>"');
  for (const [name, stand] of Object.entries(names)) text = text.replaceAll(name, stand);
  return JSON.parse(text) as T;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
