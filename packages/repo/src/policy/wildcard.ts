/**
 * One pattern of an ignore file or of a policy's ignore list, in the grammar of Kopia 0.22 (internal/wcmatch), which is that of .gitignore with habits of its own. What a pattern
 * excludes decides what is in a backup, so the habits are kept and tested against kopia (test/compat/kopia-policies.test.ts):
 *
 * - A pattern without a slash, or with one at its end only, matches at any depth; any other is anchored to the directory that it is written in.
 * - `**` stands for directories only as a whole component or at the very start; after `!` it does not, since the mark counts as a character before it.
 * - `*` stays within a component but may end with one slash when the rest of the pattern begins right behind it: `a*b` matches `ax/b`.
 * - A class such as `[[:digit:]]` is known near the start of a pattern only; further on its letters stand for themselves.
 * - `[!…]` may match a slash, `?` never does.
 */
import { DrayError } from "@drayage/base";

export interface Wildcard {
  /** As it was written. */
  readonly pattern: string;
  /** It began with `!`: what it matches is taken back in. */
  readonly negated: boolean;
  /** Whether the pattern matches a path, given as text with a slash in front: `/dir/file`. A negated pattern answers the other way round. */
  matches(path: string, isDirectory: boolean): boolean;
}

/**
 * @param base - the directory that the pattern is written in, as a path with a slash in front; empty for the root
 * Throws USAGE for a pattern that cannot be read.
 */
export function parseWildcard(text: string, base: string): Wildcard {
  const pattern = text.length > 2 && text.at(-2) !== "\\" ? text.trim() : text;
  const characters = [...pattern];
  let at = 0;
  while (/\s/u.test(characters[at] ?? "")) at++;
  const negated = characters[at] === "!";
  if (negated) at++;
  const rooted = characters[at] === "/";
  const directoryOnly = characters.at(-1) === "/";
  const slashAt = characters.indexOf("/", at);
  const steps: Step[] = [];
  if (base !== "" && pattern !== "") steps.push(...[...base, ...(rooted ? [] : ["/"])].map(literal));
  if (!rooted && pattern !== "**" && pattern !== "") {
    if (slashAt === -1 || slashAt === characters.length - 1) steps.push(...ANY_DIRECTORIES);
    else if (base === "") steps.push(literal("/"));
  }
  steps.push(...new Reader(directoryOnly ? characters.slice(0, -1) : characters, at, pattern).read());
  return {
    pattern,
    negated,
    matches: (path, isDirectory) => (directoryOnly && !isDirectory ? negated : fits(steps, path) !== negated),
  };
}

type Test = (character: string) => boolean;
/** `one` takes a character, `many` any number of them; `skip` lets the next ones be left out. */
type Step = { readonly do: "one" | "many"; readonly test: Test } | { readonly do: "skip"; readonly over: number };

const any: Test = () => true;
const inComponent: Test = (character) => character !== "/";
const literal = (wanted: string): Step => ({ do: "one", test: (character) => character === wanted });
const ANY_DIRECTORIES: readonly Step[] = [{ do: "skip", over: 2 }, { do: "many", test: any }, literal("/")];
const STAR: readonly Step[] = [
  { do: "skip", over: 4 },
  { do: "one", test: inComponent },
  { do: "many", test: inComponent },
  { do: "skip", over: 1 },
  literal("/"),
];

/**
 * Walks all ways through the steps at once. A regular expression would try one after the other, and an ignore file of twenty stars, which comes with the volume and may be anybody's,
 * would keep it busy for good.
 */
function fits(steps: readonly Step[], path: string): boolean {
  let here = new Uint8Array(steps.length + 1);
  let next = new Uint8Array(steps.length + 1);
  here[0] = 1;
  spread(steps, here);
  for (const character of path) {
    let alive = false;
    for (const [index, step] of steps.entries()) {
      if (here[index] === 0 || step.do === "skip" || !step.test(character)) continue;
      next[step.do === "one" ? index + 1 : index] = 1;
      alive = true;
    }
    if (!alive) return false;
    spread(steps, next);
    [here, next] = [next, here];
    next.fill(0);
  }
  return here[steps.length] === 1;
}

/** What is reached without taking a character; that lies ahead always. */
function spread(steps: readonly Step[], reached: Uint8Array): void {
  for (const [index, step] of steps.entries()) {
    if (reached[index] === 0 || step.do === "one") continue;
    reached[index + 1] = 1;
    if (step.do === "skip") reached[index + 1 + step.over] = 1;
  }
}

/** Characters of a class, as Go's unicode package divides them. */
const CLASSES: Readonly<Record<string, string>> = {
  alnum: "\\p{L}\\p{Nd}",
  alpha: "\\p{L}",
  ascii: "\\u{0}-\\u{7f}",
  blank: "\\p{Zs}\\t",
  cntrl: "\\p{Cc}",
  digit: "\\p{Nd}",
  graph: "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S}\\p{Zs}",
  lower: "\\p{Ll}",
  print: "\\p{L}\\p{M}\\p{N}\\p{P}\\p{S} ",
  punct: "\\p{P}\\p{S}",
  space: "\\p{White_Space}",
  upper: "\\p{Lu}",
  xdigit: "A-Fa-f\\p{Nd}",
};

/** Translates the body of a pattern into steps. */
class Reader {
  readonly #characters: readonly string[];
  readonly #pattern: string;
  #at: number;

  constructor(characters: readonly string[], at: number, pattern: string) {
    this.#characters = characters;
    this.#at = at;
    this.#pattern = pattern;
  }

  read(): Step[] {
    const steps: Step[] = [];
    while (this.#at < this.#characters.length) steps.push(...this.#token(this.#next()));
    return steps;
  }

  #token(character: string): readonly Step[] {
    if (character === "\\") return [literal(this.#afterBackslash())];
    if (character === "?") return [{ do: "one", test: inComponent }];
    if (character === "*") return this.#star();
    if (character === "[") return [{ do: "one", test: this.#set() }];
    return [literal(character)];
  }

  #star(): readonly Step[] {
    const before = this.#characters[this.#at - 2];
    const isDouble = this.#peek() === "*";
    while (this.#peek() === "*") this.#at++;
    const after = this.#peek();
    if (isDouble && (before === undefined || (before === "/" && (after === "/" || after === undefined)))) {
      if (after !== "/") return [{ do: "many", test: any }];
      this.#at++;
      // At the end of the pattern the slash is wanted.
      return this.#at === this.#characters.length ? ANY_DIRECTORIES.slice(1) : ANY_DIRECTORIES;
    }
    return after === undefined || after === "/" ? [{ do: "many", test: inComponent }] : STAR;
  }

  #set(): Test {
    const negated = this.#peek() === "!";
    if (negated) this.#at++;
    let items = "";
    for (;;) {
      if (this.#at >= this.#characters.length) throw this.#wrong('"]" is missing');
      let first = this.#next();
      if (first === "]") break;
      if (first === "\\") first = this.#afterBackslash();
      const ahead = this.#characters[this.#at + 1];
      if (this.#peek() === "-" && ahead !== undefined && ahead !== "]") {
        this.#at++;
        let last = this.#next();
        if (last === "\\") last = this.#afterBackslash();
        // A range the wrong way round holds nothing.
        if ((first.codePointAt(0) ?? 0) <= (last.codePointAt(0) ?? 0)) items += `${inSet(first)}-${inSet(last)}`;
      } else items += (first === "[" && this.#peek() === ":" ? this.#class() : undefined) ?? inSet(first);
    }
    // Nothing is in an empty set, and everything outside of it.
    const set = items === "" ? undefined : new RegExp(`^[${items}]$`, "u");
    return (character) => (set?.test(character) ?? false) !== negated;
  }

  /** The class that begins at the colon, or undefined where Kopia takes its letters for themselves. */
  #class(): string | undefined {
    const length = this.#characters.slice(this.#at).indexOf("]");
    if (length === -1) throw this.#wrong('"]" is missing');
    // Kopia compares a length with a position here, which is why classes are known near the start only.
    if (length - 1 <= this.#at || this.#characters[this.#at + length - 1] !== ":") return undefined;
    const name = this.#characters
      .slice(this.#at + 1, this.#at + length - 1)
      .join("")
      .toLowerCase();
    const found = CLASSES[name];
    if (found === undefined) throw this.#wrong(`character class [:${name}:] is not known`);
    this.#at += length + 1;
    return found;
  }

  #afterBackslash(): string {
    if (this.#at >= this.#characters.length) throw this.#wrong('it ends with "\\"');
    return this.#next();
  }

  #peek(): string | undefined {
    return this.#characters[this.#at];
  }

  #next(): string {
    return this.#characters[this.#at++] ?? "";
  }

  #wrong(why: string): DrayError {
    return new DrayError("USAGE", `Cannot read ignore pattern ${JSON.stringify(this.#pattern)}: ${why}`);
  }
}

function inSet(character: string): string {
  return `\\u{${(character.codePointAt(0) ?? 0).toString(16)}}`;
}
