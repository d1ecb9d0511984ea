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
  /pass(?:word|phrase|wd)?$|secret$|(?:secret|account|storage|encryption|private|customer|access|api)[_-]?(?:access[_-]?)?key$|token$|credentials?$|authorization$|sas$/i;
/** Lines of a credentials file that say where, not who. */
const PLAIN_SETTING = /region|endpoint|profile|output|url|uri|type|cloud|resource|project|tenant|subscription|email|universe/i;
const LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration";

const SHAPES: readonly (readonly [RegExp, string])[] = [
  [/-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|$)/g, REDACTED],
  [/\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*/g, REDACTED],
  [/\b(Bearer|Basic)\s+[\w+/=.~-]{8,}/gi, `$1 ${REDACTED}`],
  [/\b(?:AKIA|ASIA)[A-Z0-9]{16}\b/g, REDACTED],
  [
    /([?&](?:X-Amz-(?:Signature|Credential|Security-Token)|X-Goog-(?:Signature|Credential)|Signature|AWSAccessKeyId|sig|token|access_token)=)[^&\s"']+/gi,
    `$1${REDACTED}`,
  ],
  [/\b([a-z][a-z0-9+.-]*:\/\/)[^/\s:@"']+:[^/\s@"']+@/gi, `$1${REDACTED}@`],
  [/\b((?:aws_)?(?:secret_access_key|session_token)|account_?key|client_?secret|(?:repository[_-]?)?password)(\s*[=:]\s*)[^\s"',;}]+/gi, `$1$2${REDACTED}`],
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
  return { text, object: (value) => redactValue(value, text, (value as { kind?: unknown }).kind === "Secret") as object };
}

/** The value itself, and what credentials files, JSON keys and configuration lines hold. */
function secretParts(value: string): string[] {
  const parts = [value, value.trim()];
  for (const line of value.split("\n")) {
    const [, name = "", quoted = ""] = /^\s*"?([\w.-]+)"?\s*[=:]\s*(.+?)\s*,?\s*$/.exec(line) ?? [];
    if (quoted !== "" && !PLAIN_SETTING.test(name)) parts.push(quoted.replace(/^"(.*)"$/, "$1"));
  }
  return parts;
}

function redactValue(value: unknown, text: (input: string) => string, isSecret: boolean): unknown {
  if (typeof value === "string") return text(value);
  if (Array.isArray(value)) return value.map((entry) => redactValue(entry, text, isSecret));
  if (typeof value !== "object" || value === null) return value;
  const fields = value as Readonly<Record<string, unknown>>;
  const isSecretVariable = typeof fields["name"] === "string" && typeof fields["value"] === "string" && SECRET_NAME.test(fields["name"]);
  const copy: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(fields)) {
    if (name === "managedFields" || name === LAST_APPLIED) continue;
    if (isSecret && (name === "data" || name === "stringData") && typeof field === "object" && field !== null) copy[name] = sizesOf(field);
    else if ((isSecretVariable && name === "value") || (typeof field === "string" && field !== "" && SECRET_NAME.test(name))) copy[name] = REDACTED;
    else copy[name] = redactValue(field, text, isSecret);
  }
  return copy;
}

/** What is in a Secret without what it says: which keys, and how long each value is, which finds the empty ones. */
function sizesOf(data: object): Record<string, string> {
  return Object.fromEntries(Object.entries(data).map(([key, value]) => [key, `<redacted, ${String(value).length} characters>`]));
}
