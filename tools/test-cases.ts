/** The tests of a file, read from its text: what each is called and what stands in it. The formatter gives every test a line of its own to begin and to end on, and this relies on that. */

export interface TestCase {
  readonly title: string;
  /** Titles of the groups that it is in, outermost first. */
  readonly groups: readonly string[];
  /** Its lines, with those of the table that it goes through. */
  readonly text: string;
  /** Whether it is left out of a run, by itself or with the tests around it. */
  readonly skipped: boolean;
}

const BEGINS = /^(\s*)(?:it|test)\b((?:\.\w+)*)/;
const GROUP = /^(\s*)describe\b(?:\.\w+)*\(.*?(["'`])((?:\\.|(?!\2).)*)\2/;
const SKIPPED = /\.(?:skip|todo|skipIf|runIf|fails)\b/;

export function testCases(source: string): TestCase[] {
  const lines = source.split("\n");
  const skipsAll = /\bdescribe(?:\.\w+)*\.(?:skip|todo)\b/.test(source);
  const cases: TestCase[] = [];
  const groups: { readonly indent: number; readonly title: string }[] = [];
  for (let at = 0; at < lines.length; at++) {
    const group = GROUP.exec(lines[at] ?? "");
    if (group !== null) {
      const indent = group[1]?.length ?? 0;
      while ((groups.at(-1)?.indent ?? -1) >= indent) groups.pop();
      groups.push({ indent, title: unescaped(group[3] ?? "") });
    }
    const begin = BEGINS.exec(lines[at] ?? "");
    if (begin === null) continue;
    const [, indent = "", modifiers = ""] = begin;
    let end = at;
    while (end < lines.length && !endsTest(lines[end] ?? "", indent)) end++;
    const text = lines.slice(at, end + 1).join("\n");
    const title = titleOf(text, modifiers);
    const inside = groups.filter((outer) => outer.indent < indent.length).map((outer) => outer.title);
    if (title !== undefined) cases.push({ title, groups: inside, text, skipped: skipsAll || SKIPPED.test(modifiers) });
    at = end;
  }
  return cases;
}

function endsTest(line: string, indent: string): boolean {
  return line.startsWith(indent) && /^\S/.test(line.slice(indent.length)) && line.endsWith(";");
}

/** The first text that is given to the function which the test is registered with; behind the table, where there is one. */
function titleOf(text: string, modifiers: string): string | undefined {
  const pattern = modifiers.includes(".each") ? /\)\(\s*(["'`])((?:\\.|(?!\1).)*)\1/ : /^\s*\w+(?:\.\w+)*\(\s*(["'`])((?:\\.|(?!\1).)*)\1/;
  const title = pattern.exec(text)?.[2];
  return title === undefined ? undefined : unescaped(title);
}

function unescaped(text: string): string {
  return text.replaceAll(/\\(.)/g, "$1");
}
