/** Label selectors of a backup or a restore: one that must fit, or several of which one must. */
import { DrayError, messageOf } from "@drayage/base";
import { formatLabelSelector, type LabelSelector, matchesLabels, parseLabelSelector, requirementsOf } from "@drayage/kube";

/** A selector as the custom resources carry it; the schema leaves `operator` an open string. */
export interface LooseLabelSelector {
  readonly matchLabels?: Readonly<Record<string, string>>;
  readonly matchExpressions?: readonly { readonly key: string; readonly operator: string; readonly values?: readonly string[] }[];
}

const OPERATORS = ["In", "NotIn", "Exists", "DoesNotExist"] as const;

/** The selector, checked. Throws VALIDATION_FAILED that says what is wrong with it. */
export function checkedSelector(selector: LooseLabelSelector): LabelSelector {
  for (const { key, operator, values } of selector.matchExpressions ?? []) {
    const known = OPERATORS.find((name) => name === operator);
    if (known === undefined) throw invalid(`operator "${operator}" of key "${key}" is none of ${OPERATORS.join(", ")}`);
    const wantsValues = known === "In" || known === "NotIn";
    if (wantsValues && (values?.length ?? 0) === 0) throw invalid(`operator ${known} of key "${key}" needs at least one value`);
    if (!wantsValues && (values?.length ?? 0) > 0) throw invalid(`operator ${known} of key "${key}" takes no values`);
  }
  const checked = selector as LabelSelector;
  try {
    // The text form knows what keys and values may look like.
    parseLabelSelector(formatLabelSelector(requirementsOf(checked)));
  } catch (cause) {
    throw invalid(messageOf(cause), cause);
  }
  return checked;
}

function invalid(what: string, cause?: unknown): DrayError {
  return new DrayError("VALIDATION_FAILED", `Cannot use label selector: ${what}`, cause === undefined ? {} : { cause });
}

/** Which objects the selectors of a spec let through. */
export class LabelFilter {
  readonly #single: LabelSelector | undefined;
  readonly #any: readonly LabelSelector[];

  constructor(single: LooseLabelSelector | null | undefined, any: readonly LooseLabelSelector[] | null | undefined) {
    this.#single = single === undefined || single === null ? undefined : checkedSelector(single);
    this.#any = (any ?? []).map(checkedSelector);
  }

  /** Whether there is no selector. */
  get isOpen(): boolean {
    return this.#single === undefined && this.#any.length === 0;
  }

  has(labels: Readonly<Record<string, string>> | undefined): boolean {
    if (this.#single !== undefined && !matchesLabels(this.#single, labels)) return false;
    return this.#any.length === 0 || this.#any.some((selector) => matchesLabels(selector, labels));
  }

  /** The texts to list with, each once; their results may overlap. One empty text when there is no selector. */
  get listSelectors(): readonly string[] {
    if (this.#any.length > 0) return [...new Set(this.#any.map((selector) => formatLabelSelector(selector)))];
    return [this.#single === undefined ? "" : formatLabelSelector(this.#single)];
  }
}
