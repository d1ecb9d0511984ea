/** Several policies as one: each member comes from the most particular policy that states it, the built-in defaults last. */
import { defaultPolicy } from "./default-policy.ts";
import { emptyPolicy, encodePolicy, isObject, type PolicyDocument, valueAt, withValue } from "./policy-document.ts";
import { POLICY_FIELDS, type PolicyField } from "./policy-fields.ts";
import { formatPolicyTarget, globalTarget, type PolicyTarget } from "./policy-target.ts";

export interface DefinedPolicy {
  readonly target: PolicyTarget;
  readonly document: PolicyDocument;
}

export interface RetentionRules {
  readonly keepLatest: number;
  readonly keepHourly: number;
  readonly keepDaily: number;
  readonly keepWeekly: number;
  readonly keepMonthly: number;
  readonly keepAnnual: number;
}

/** A merged policy, with what this program acts on by type. */
export class EffectivePolicy {
  readonly document: PolicyDocument;
  /** Which target states a member, by its dotted path; members that the defaults give are not there. */
  readonly definedBy: ReadonlyMap<string, string>;

  constructor(document: PolicyDocument, definedBy: ReadonlyMap<string, string> = new Map()) {
    this.document = document;
    this.definedBy = definedBy;
  }

  /** Undefined where nothing limits: then no such snapshots are kept for that reason. */
  get retention(): { readonly [K in keyof RetentionRules]: number | undefined } {
    const keep = (name: string): number | undefined => this.#number("retention", name);
    return {
      keepLatest: keep("keepLatest"),
      keepHourly: keep("keepHourly"),
      keepDaily: keep("keepDaily"),
      keepWeekly: keep("keepWeekly"),
      keepMonthly: keep("keepMonthly"),
      keepAnnual: keep("keepAnnual"),
    };
  }

  get ignoreIdenticalSnapshots(): boolean {
    return this.#flag("retention.ignoreIdenticalSnapshots", false);
  }

  get ignoreRules(): readonly string[] {
    return this.#texts("files.ignore");
  }

  get dotIgnoreFiles(): readonly string[] {
    return this.#texts("files.ignoreDotFiles");
  }

  get ignoreCacheDirectories(): boolean {
    return this.#flag("files.ignoreCacheDirs", true);
  }

  /** Bytes; 0 where there is no limit. */
  get maxFileBytes(): number {
    return this.#number("files", "maxFileSize") ?? 0;
  }

  get oneFileSystem(): boolean {
    return this.#flag("files.oneFileSystem", false);
  }

  get ignoreFileErrors(): boolean {
    return this.#flag("errorHandling.ignoreFileErrors", false);
  }

  get ignoreDirectoryErrors(): boolean {
    return this.#flag("errorHandling.ignoreDirectoryErrors", false);
  }

  /** Kopia leaves sockets, FIFOs and devices out silently where this is true, and counts them as errors where it is not. */
  get ignoreUnknownTypes(): boolean {
    return this.#flag("errorHandling.ignoreUnknownTypes", true);
  }

  get compression(): {
    readonly name: string;
    readonly only: readonly string[];
    readonly never: readonly string[];
    readonly minBytes: number;
    readonly maxBytes: number;
  } {
    return {
      name: this.#text("compression.compressorName"),
      only: this.#texts("compression.onlyCompress"),
      never: this.#texts("compression.neverCompress"),
      minBytes: this.#number("compression", "minSize") ?? 0,
      maxBytes: this.#number("compression", "maxSize") ?? 0,
    };
  }

  /** Undefined for none. */
  get metadataCompressor(): string | undefined {
    const name = this.#text("metadataCompression.compressorName");
    return name === "" || name === "none" ? undefined : name;
  }

  /** Empty for that of the repository. */
  get splitter(): string {
    return this.#text("splitter.algorithm");
  }

  /** From more bytes than this on the parts of a file are cut by themselves, which shows in its object id. */
  get parallelUploadAboveBytes(): number | undefined {
    return this.#number("upload", "parallelUploadAboveSize");
  }

  #number(...at: readonly string[]): number | undefined {
    const value = valueAt(this.document, at);
    return value === undefined ? undefined : Number(value);
  }

  #flag(path: string, otherwise: boolean): boolean {
    return (valueAt(this.document, path.split(".")) ?? otherwise) === true;
  }

  #text(path: string): string {
    return String(valueAt(this.document, path.split(".")) ?? "");
  }

  #texts(path: string): readonly string[] {
    return (valueAt(this.document, path.split(".")) ?? []) as readonly string[];
  }
}

/** @param policies - from the most particular to the most general */
export function mergePolicies(policies: readonly DefinedPolicy[]): EffectivePolicy {
  const last = policies.findIndex(({ document }) => document["noParent"] === true);
  // A policy that inherits nothing shuts the defaults out as well.
  const considered = last < 0 ? [...policies, { target: globalTarget, document: defaultPolicy }] : policies.slice(0, last + 1);
  const definedBy = new Map<string, string>();
  let document = emptyPolicy;
  for (const field of POLICY_FIELDS) {
    const { value, from } = mergeField(field, considered);
    if (value === undefined) continue;
    document = withValue(document, field.at, value);
    if (from !== undefined && from.document !== defaultPolicy) definedBy.set(field.at.join("."), formatPolicyTarget(from.target));
  }
  return new EffectivePolicy(document, definedBy);
}

function mergeField(field: PolicyField, policies: readonly DefinedPolicy[]): { readonly value: unknown; readonly from?: DefinedPolicy } {
  if (field.rule === "union") return mergeLists(field, policies);
  for (const policy of field.rule === "own" ? policies.slice(0, 1) : policies) {
    const value = valueAt(policy.document, field.at);
    if (value === undefined || (field.rule === "nonzero" && isZero(value))) continue;
    return { value, from: policy };
  }
  return { value: undefined };
}

function mergeLists(field: PolicyField, policies: readonly DefinedPolicy[]): { readonly value: unknown; readonly from?: DefinedPolicy } {
  const items = new Map<string, unknown>();
  let from: DefinedPolicy | undefined;
  for (const policy of policies) {
    const list = valueAt(policy.document, field.at);
    if (Array.isArray(list)) {
      for (const item of list as unknown[]) items.set(typeof item === "string" ? item : encodePolicy({ item }), item);
      if (list.length > 0) from = policy;
    }
    if (field.until !== undefined && valueAt(policy.document, [...field.at.slice(0, -1), field.until]) === true) break;
  }
  if (items.size === 0) return { value: undefined };
  const value = [...items].sort(([a, left], [b, right]) => minuteOfDay(left) - minuteOfDay(right) || (a < b ? -1 : a > b ? 1 : 0)).map(([, item]) => item);
  return { value, ...(from === undefined ? {} : { from }) };
}

/** Times of day are sorted as such. */
function minuteOfDay(item: unknown): number {
  return isObject(item) ? Number(item["hour"] ?? 0) * 60 + Number(item["min"] ?? 0) : 0;
}

function isZero(value: unknown): boolean {
  return value === 0 || value === false || value === "" || (Array.isArray(value) && value.length === 0);
}
