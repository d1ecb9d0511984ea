/**
 * Takes secrets out of what leaves a cluster. Three nets, since each has holes: the values of Secrets that are known, wherever they appear; fields and variables whose name says that they are secret;
 * and shapes that only secrets have (signed addresses, tokens, private keys, access keys).
 */

export const REDACTED = "<redacted>";

export interface Redactor {
  text(text: string): string;
  /** A copy of an API object without secrets, managed fields and the copy of itself that kubectl keeps in an annotation. */
  object(value: object): object;
}

/** A shorter value would be found everywhere, and is guessed in no time. */
const VALUE_LENGTH_MIN = 6;
const SECRET_NAME =
  /pass(?:word|phrase|wd)?$|[_-]pwd$|secret$|(?:secret|account|storage|encryption|private|customer|access|api)[_-]?(?:access[_-]?)?key(?:[_-]id)?$|token$|credentials?$|authorization$|sas$/i;
/** Variables are numbered and sorted by what follows the word; those that end like the second say where a secret lies. */
const SECRET_VARIABLE = /(?:^|_)(?:PASS(?:WORD|PHRASE|WD)?|SECRET|TOKEN|CREDENTIALS?)_/i;
const PLACE_VARIABLE = /_(?:FILE|PATH|DIR|NAME|REF|URL|TTL|EXPIRY)$/i;
const FLAG = /^--?[a-z][\w-]*$/i;
/** Lines of a credentials file that say where, not who. */
const PLAIN_SETTING = /region|endpoint|profile|output|url|uri|type|cloud|resource|project|tenant|subscription|email|universe/i;
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

/** Names that a value follows wherever they stand, and those that sentences have a colon after as well. */
const SURE_NAME =
  "pass(?:word|phrase|wd)|[_-]pass|[_-]pwd|secret_?access_?key|session_?token|client_?secret|(?:secret|account|storage|encryption|private|access|api)[_-]?(?:access[_-]?)?key(?:[_-]id)?";
const NAME = `(?:${SURE_NAME}|secret|token)`;
/** Up to the quotation mark that it began with, which is escaped in text within text. No character can be taken in two ways: damaged text must not take long. */
const QUOTED = String.raw`(?<quote>\\*["'])(?:(?!\k<quote>)(?:\\[^\r\n]|[^\\\r\n]))*\k<quote>`;
const VALUE = String.raw`(?:${QUOTED}|["']?[^\s"',;}&]+)`;

const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, REDACTED],
  [/\b(authorization\\*["']?\s*[:=]\s*\\*["']?)(?:Bearer|Basic|Token|Digest|Negotiate|SharedKey\w*|AWS4-[\w-]+)\s[^"'\r\n\\]+/gi, `$1${REDACTED}`],
  [/\b(Bearer|Basic)\s+[\w+/=.~-]{8,}/gi, `$1 ${REDACTED}`],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, REDACTED],
  [/\b(?:gh[opsur]_|github_pat_|glpat-|xox[abeoprs]-|AIza|hvs\.)[\w-]{16,}/g, REDACTED],
  [
    /((?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)|(?:^|[?&;,\s"']|%3F|%26)(?:Signature|AWSAccessKeyId|sig|token|access_token))(?:=|%3D))(?:(?!%26)[^&\s"',;])+/gim,
    `$1${REDACTED}`,
  ],
  // A number after a host is its port, so that what follows is a path; in what follows any other name there is a password, with slashes or not.
  [/\b([a-z][a-z0-9+.-]{0,30}:\/\/)(?:[^/\s@:"']*:(?!\d{1,5}\/)[^\s@"']{0,300}|[^/\s@:"']{1,300})@/gi, `$1${REDACTED}@`],
  // Blocks and lines of YAML, fields of JSON, flags, and whatever is set by an equals sign.
  [new RegExp(String.raw`^([ \t]*)((?:- )?["']?[\w.-]*${NAME}["']?:[ \t]*)[|>][-+\d]*\r?\n(?:\1[ \t]+.*(?:\n|$)|[ \t]*\r?\n)+`, "gim"), `$1$2${REDACTED}\n`],
  [new RegExp(String.raw`^([ \t]*(?:- )?["']?[\w.-]*${NAME}["']?:[ \t]+)${VALUE}`, "gim"), `$1$<quote>${REDACTED}$<quote>`],
  [new RegExp(String.raw`(${NAME}\\*["']\s*:\s*)${QUOTED}`, "gi"), `$1$<quote>${REDACTED}$<quote>`],
  [new RegExp(String.raw`(--?[\w-]{0,60}${NAME}[ \t]+)(?!-)${VALUE}`, "gi"), `$1$<quote>${REDACTED}$<quote>`],
  [new RegExp(String.raw`(${NAME}\\*["']?\s*(?::=|=>?)\s*)${VALUE}`, "gi"), `$1$<quote>${REDACTED}$<quote>`],
  [new RegExp(String.raw`((?:${SURE_NAME})\s*:\s*)(?!=)${VALUE}`, "gi"), `$1$<quote>${REDACTED}$<quote>`],
];

/** `secrets` are whole values of Secrets, as text; of credentials files each line's value is taken too. */
export function createRedactor(secrets: Iterable<string>): Redactor {
  const values = [...new Set([...secrets].flatMap(secretParts))].filter((value) => value.length >= VALUE_LENGTH_MIN);
  // The longest first, so that a value inside another does not leave the rest of it behind; base64 is how objects carry them.
  const forms = [...new Set(values.flatMap((value) => [value, Buffer.from(value, "utf8").toString("base64"), encodeURIComponent(value)]))];
  forms.sort((a, b) => b.length - a.length);
  const text = (input: string): string => {
    let out = input;
    for (const form of forms) if (out.includes(form)) out = out.replaceAll(form, REDACTED);
    for (const [shape, by] of SHAPES) out = out.replace(shape, by);
    return out;
  };
  return { text, object: (value) => redactValue(value, text) as object };
}

/** The value itself, and what credentials files, JSON keys and configuration lines hold. */
function secretParts(value: string): string[] {
  const parts = [value, value.trim(), ...leavesOf(parsedObject(value))];
  for (const line of value.split("\n")) {
    const [, name = "", quoted = ""] = /^\s*"?([\w.-]+)"?\s*[=:]\s*(.+?)\s*,?\s*$/.exec(line) ?? [];
    if (quoted !== "" && !PLAIN_SETTING.test(name)) parts.push(quoted.replace(/^"(.*)"$/, "$1"));
  }
  return parts;
}

/** The texts of an object, at any depth, but for those that say where. */
function leavesOf(value: unknown): string[] {
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, field]) => (PLAIN_SETTING.test(name) ? [] : leavesOf(field)));
}

/** The object or list that a text is; undefined for any other text. */
function parsedObject(text: string): object | undefined {
  if (!/^\s*[[{]/.test(text)) return undefined;
  try {
    return JSON.parse(text) as object;
  } catch {
    return undefined;
  }
}

function redactValue(value: unknown, text: (input: string) => string): unknown {
  if (typeof value === "string") return redactText(value, text);
  if (Array.isArray(value)) return value.map((entry, at) => (isFlagged(value[at - 1], entry) ? REDACTED : redactValue(entry, text)));
  if (typeof value !== "object" || value === null) return value;
  const fields = value as Readonly<Record<string, unknown>>;
  const isSecret = fields["kind"] === "Secret";
  const isSecretVariable = typeof fields["name"] === "string" && typeof fields["value"] === "string" && namesSecretVariable(fields["name"]);
  const copy: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    if (name === "managedFields" || name === LAST_APPLIED) continue;
    if (isSecret && (name === "data" || name === "stringData") && typeof field === "object" && field !== null) copy[name] = sizesOf(field);
    else if ((isSecretVariable && name === "value") || (SECRET_NAME.test(name) && isGiven(field))) copy[name] = REDACTED;
    else copy[name] = redactValue(field, text);
  }
  return copy;
}

/** Objects are kept as text in annotations and ConfigMaps, where names tell as much as anywhere; what holds nothing secret stays as it is written. */
function redactText(value: string, text: (input: string) => string): string {
  const object = parsedObject(value);
  if (object === undefined) return text(value);
  const redacted = JSON.stringify(redactValue(object, text));
  return text(redacted === JSON.stringify(object) ? value : redacted);
}

const isGiven = (field: unknown): boolean => typeof field === "number" || (typeof field === "string" && field !== "");
const isFlagged = (flag: unknown, entry: unknown): boolean =>
  typeof flag === "string" && typeof entry === "string" && FLAG.test(flag) && SECRET_NAME.test(flag) && !entry.startsWith("-");
const namesSecretVariable = (name: string): boolean => SECRET_NAME.test(name) || (SECRET_VARIABLE.test(name) && !PLACE_VARIABLE.test(name));

/** What is in a Secret without what it says: which keys, and how long each value is, which finds the empty ones. */
function sizesOf(data: object): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, `<redacted, ${String(value).length} characters>`]));
}
