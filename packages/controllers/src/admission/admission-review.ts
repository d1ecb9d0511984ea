/** AdmissionReview (admission.k8s.io/v1): the question of an API server, which is not believed, and the answer. */
import { messageOf } from "@drayage/base";
import type { MoverRegistry } from "../mover-choice/mover-registry.ts";
import { type Judged, judge, type Verdict } from "./judge.ts";

export interface AdmissionQuestion extends Judged {
  readonly uid: string;
}

export interface AdmissionAnswer {
  readonly apiVersion: "admission.k8s.io/v1";
  readonly kind: "AdmissionReview";
  readonly response: {
    readonly uid: string;
    readonly allowed: boolean;
    readonly warnings?: readonly string[];
    readonly status?: object;
  };
}

/** API servers cut each warning at 256 characters where there are many of them, and drop what is more than 4096 in all. */
const WARNINGS_MAX = 10;
const WARNING_CHARACTERS_MAX = 250;
const FAULTS_MAX = 20;
const UID_CHARACTERS_MAX = 253;

/** Reads a review's request. Undefined for anything that is none. */
export function readAdmissionReview(text: string): AdmissionQuestion | undefined {
  let review: unknown;
  try {
    review = JSON.parse(text);
  } catch {
    return undefined;
  }
  const { apiVersion, kind, request } = objectOf(review);
  const { uid, resource, object, oldObject, operation } = objectOf(request);
  const { group, resource: plural } = objectOf(resource);
  if (apiVersion !== "admission.k8s.io/v1" || kind !== "AdmissionReview") return undefined;
  if (typeof uid !== "string" || uid === "" || uid.length > UID_CHARACTERS_MAX || typeof plural !== "string" || typeof group !== "string") return undefined;
  if (operation !== "CREATE" && operation !== "UPDATE") return undefined;
  if (!isObject(object)) return undefined;
  return { uid, groupResource: group === "" ? plural : `${plural}.${group}`, object, ...(isObject(oldObject) ? { old: oldObject } : {}) };
}

/** What is answered, by the movers that are registered now. An object that cannot be judged is let through: its kind's own schema says what is wrong with it, or a backup will. */
export function answerAdmission(question: AdmissionQuestion, registry: MoverRegistry): AdmissionAnswer {
  let verdict: Verdict;
  try {
    verdict = judge(question, registry);
  } catch (error) {
    verdict = { faults: [], warnings: [`drayage could not look at it: ${messageOf(error)}`] };
  }
  const faults = verdict.faults.slice(0, FAULTS_MAX);
  const warnings = verdict.warnings.slice(0, WARNINGS_MAX).map((text) => text.replaceAll(/\s+/g, " ").slice(0, WARNING_CHARACTERS_MAX));
  const allowed = faults.length === 0;
  return {
    apiVersion: "admission.k8s.io/v1",
    kind: "AdmissionReview",
    response: {
      uid: question.uid,
      allowed,
      ...(warnings.length === 0 ? {} : { warnings }),
      ...(allowed
        ? {}
        : {
            status: {
              code: 422,
              reason: "Invalid",
              message: faults.map(({ message }) => message).join("; "),
              details: { causes: faults.map(({ field, message }) => ({ reason: "FieldValueInvalid", field, message })) },
            },
          }),
    },
  };
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function objectOf(value: unknown): Readonly<Record<string, unknown>> {
  return isObject(value) ? value : {};
}
