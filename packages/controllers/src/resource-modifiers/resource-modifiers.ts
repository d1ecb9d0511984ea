/**
 * The ConfigMap that `spec.resourceModifier` of a Restore names: what is changed in which objects before they are created. The format is Velero's (1.18):
 *
 *   version: v1
 *   resourceModifierRules:                         every rule that fits applies, in this order
 *     - conditions:                                all must hold for the object as it was before the first rule
 *         groupResource: deployments.apps          a glob, in which * ends at a dot and ** does not
 *         resourceNameRegex: ^my-.*$
 *         namespaces: [shop]                       of the backup, before a mapping
 *         labelSelector: {matchLabels: {a: b}}
 *         matches: [{path: /spec/replicas, value: "3"}]
 *       patches: [{operation: replace, path: /spec/replicas, value: "1", from: ""}]      one of these three kinds; the first that is there is taken
 *       mergePatches: [{patchData: "{\"metadata\": {\"labels\": {\"a\": null}}}"}]       JSON or YAML
 *       strategicPatches: [{patchData: …}]         built-in kinds only
 *
 * Everything in it is checked, with the path of what is wrong, before a restore starts.
 */
import { DrayError, messageOf } from "@drayage/base";
import type { ConfigMap } from "@drayage/kube";
import { parse } from "yaml";
import { checkedSelector, type LooseLabelSelector } from "../resource-selection/label-filter.ts";
import type { JsonPatchOperation } from "./apply-patches.ts";
import { compileResourceGlob } from "./resource-glob.ts";

export interface ModifierConditions {
  readonly fitsResource: (groupResource: string) => boolean;
  readonly name: RegExp | undefined;
  /** None stands for all. */
  readonly namespaces: readonly string[];
  readonly labelSelector: LooseLabelSelector | undefined;
  readonly matches: readonly JsonPatchOperation[];
}

export type ModifierPatches =
  | { readonly kind: "json"; readonly operations: readonly JsonPatchOperation[] }
  | { readonly kind: "merge" | "strategic"; readonly patches: readonly Readonly<Record<string, unknown>>[] };

export interface ModifierRule {
  readonly conditions: ModifierConditions;
  readonly patches: ModifierPatches;
}

const OPERATIONS = ["add", "remove", "replace", "move", "copy", "test"] as const;
const RULE_KEYS = ["conditions", "patches", "mergePatches", "strategicPatches"];
const CONDITION_KEYS = ["groupResource", "resourceNameRegex", "namespaces", "labelSelector", "matches"];

type Mapping = Readonly<Record<string, unknown>>;

/** The rules of a ConfigMap. Throws VALIDATION_FAILED with the path of what is wrong. */
export function parseResourceModifiers(configMap: ConfigMap): readonly ModifierRule[] {
  const subject = `resource modifiers of ConfigMap "${configMap.metadata.namespace}/${configMap.metadata.name}"`;
  const texts = Object.values(configMap.data ?? {});
  const [text] = texts;
  if (text === undefined || texts.length > 1) throw wrong(subject, "data", `has ${texts.length} entries, where one is wanted`);
  let parsed: unknown;
  try {
    parsed = parse(text, { maxAliasCount: 100 });
  } catch (error) {
    throw wrong(subject, "data", `is no YAML: ${messageOf(error)}`);
  }
  return new ModifierParser(subject).rules(parsed);
}

class ModifierParser {
  readonly #subject: string;

  constructor(subject: string) {
    this.#subject = subject;
  }

  rules(value: unknown): readonly ModifierRule[] {
    const root = this.#mapping(value, "it", ["version", "resourceModifierRules"]);
    if (String(root["version"] ?? "").toLowerCase() !== "v1")
      throw this.#wrong("version", `is ${JSON.stringify(root["version"] ?? null)}, where "v1" is wanted`);
    const rules = this.#list(root["resourceModifierRules"], "resourceModifierRules");
    if (rules.length === 0) throw this.#wrong("resourceModifierRules", "is empty, where at least one rule is wanted");
    return rules.map((rule, index) => this.#rule(rule, `resourceModifierRules[${index}]`));
  }

  #rule(value: unknown, path: string): ModifierRule {
    const rule = this.#mapping(value, path, RULE_KEYS);
    return { conditions: this.#conditions(rule["conditions"], `${path}.conditions`), patches: this.#patches(rule, path) };
  }

  #conditions(value: unknown, path: string): ModifierConditions {
    const found = this.#mapping(value ?? {}, path, CONDITION_KEYS);
    const resource = this.#text(found["groupResource"] ?? "", `${path}.groupResource`);
    if (resource === "") throw this.#wrong(`${path}.groupResource`, 'is empty, where a resource such as "deployments.apps" is wanted');
    const selector = found["labelSelector"];
    return {
      fitsResource: this.#checked(`${path}.groupResource`, () => compileResourceGlob(resource)),
      name: this.#regex(this.#text(found["resourceNameRegex"] ?? "", `${path}.resourceNameRegex`), `${path}.resourceNameRegex`),
      namespaces: this.#list(found["namespaces"], `${path}.namespaces`).map((item, index) => this.#text(item, `${path}.namespaces[${index}]`)),
      labelSelector:
        selector === undefined || selector === null
          ? undefined
          : this.#checked(`${path}.labelSelector`, () => checkedSelector(this.#mapping(selector, `${path}.labelSelector`) as LooseLabelSelector)),
      matches: this.#list(found["matches"], `${path}.matches`).map((match, index) => {
        const at = `${path}.matches[${index}]`;
        const { path: pointer, value: text = "" } = this.#mapping(match, at, ["path", "value"]);
        return { op: "test", path: this.#pointer(pointer, `${at}.path`), value: this.#value(text, `${at}.value`) };
      }),
    };
  }

  /** Go's expressions may begin with flags for the whole, which JavaScript's have beside them. */
  #regex(text: string, path: string): RegExp | undefined {
    if (text === "") return undefined;
    const flags = /^\(\?([ims]+)\)/.exec(text);
    return this.#checked(path, () => new RegExp(text.slice(flags?.[0].length ?? 0), [...new Set(flags?.[1] ?? "")].join("")));
  }

  #patches(rule: Mapping, path: string): ModifierPatches {
    const operations = this.#list(rule["patches"], `${path}.patches`);
    if (operations.length > 0) return { kind: "json", operations: operations.map((patch, index) => this.#operation(patch, `${path}.patches[${index}]`)) };
    for (const [kind, key] of [
      ["merge", "mergePatches"],
      ["strategic", "strategicPatches"],
    ] as const) {
      const patches = this.#list(rule[key], `${path}.${key}`);
      if (patches.length > 0) return { kind, patches: patches.map((patch, index) => this.#patchData(patch, `${path}.${key}[${index}]`)) };
    }
    throw this.#wrong(path, "has no patches, no mergePatches and no strategicPatches, where one of them is wanted");
  }

  #operation(value: unknown, path: string): JsonPatchOperation {
    const patch = this.#mapping(value, path, ["operation", "from", "path", "value"]);
    const named = this.#text(patch["operation"] ?? "", `${path}.operation`).toLowerCase();
    const op = OPERATIONS.find((known) => known === named);
    if (op === undefined) throw this.#wrong(`${path}.operation`, `is ${JSON.stringify(patch["operation"] ?? null)}, one of ${OPERATIONS.join(", ")} is wanted`);
    const pointer = this.#pointer(patch["path"], `${path}.path`);
    if (op === "remove") return { op, path: pointer };
    if (op === "move" || op === "copy") return { op, path: pointer, from: this.#pointer(patch["from"], `${path}.from`) };
    return { op, path: pointer, value: this.#value(patch["value"] ?? "", `${path}.value`) };
  }

  #pointer(value: unknown, path: string): string {
    const text = this.#text(value ?? "", path);
    if (!text.startsWith("/")) throw this.#wrong(path, `is "${text}", where a JSON pointer such as "/spec/replicas" is wanted`);
    return text;
  }

  /** Values are texts that are read as JSON where they look like it; a text in double quotes is that text, whatever it looks like. */
  #value(value: unknown, path: string): unknown {
    const text = this.#text(value, path);
    if (text.length > 1 && text.startsWith('"') && text.endsWith('"')) return text.slice(1, -1);
    const plain = text.toLowerCase();
    if (plain === "true" || plain === "false") return plain === "true";
    if (text === "null") return null;
    if (/^[{[]/.test(text)) return this.#checked(path, () => JSON.parse(text) as unknown);
    return text.trim() === text && /^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(text) ? Number(text) : text;
  }

  #patchData(value: unknown, path: string): Mapping {
    const at = `${path}.patchData`;
    const text = this.#text(this.#mapping(value, path, ["patchData"])["patchData"] ?? "", at);
    return this.#mapping(
      this.#checked(at, () => parse(text, { maxAliasCount: 100 }) as unknown),
      at,
    );
  }

  #checked<T>(path: string, read: () => T): T {
    try {
      return read();
    } catch (error) {
      throw error instanceof DrayError && error.message.includes(this.#subject) ? error : this.#wrong(path, `cannot be read: ${messageOf(error)}`);
    }
  }

  #mapping(value: unknown, path: string, keys?: readonly string[]): Mapping {
    if (typeof value !== "object" || value === null || Array.isArray(value)) throw this.#wrong(path, "is no mapping");
    for (const key of Object.keys(value)) if (keys?.includes(key) === false) throw this.#wrong(`${path}.${key}`, `is not known; there is ${keys.join(", ")}`);
    return value as Mapping;
  }

  #list(value: unknown, path: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw this.#wrong(path, "is no list");
    return value as readonly unknown[];
  }

  #text(value: unknown, path: string): string {
    if (typeof value !== "string") throw this.#wrong(path, `is ${JSON.stringify(value)}, where a text is wanted (put it in quotes)`);
    return value;
  }

  #wrong(path: string, what: string): DrayError {
    return wrong(this.#subject, path, what);
  }
}

function wrong(subject: string, path: string, what: string): DrayError {
  return new DrayError("VALIDATION_FAILED", `Cannot use ${subject}: ${path} ${what}`);
}
