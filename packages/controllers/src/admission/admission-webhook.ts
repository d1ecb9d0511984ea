/**
 * The certificate of the admission webhook and its registration, which the leading server keeps. Pure: what was seen → the next thing to do.
 *
 *   no certificate that can be used ──► issue it ──► register, trusting its authority
 *   it ends within 90 days ──► issue the next, beside it ──► trust both ──► five minutes later: show the next
 *   nobody asks for the webhook ──► take its registration away
 *
 * Invariants:
 * - One write a pass, each of which leads to what can be seen; a server that ends in between changes nothing about what comes next.
 * - Servers show a certificate only once the registration trusts it, but for the first.
 */
import type { ValidatingWebhookConfiguration } from "@drayage/kube";
import { DAY_MS, type KeptCertificates } from "./webhook-certificates.ts";

export interface AdmissionObserved {
  readonly nowMs: number;
  /** Whether there is a Service for it, and nobody has switched it off. */
  readonly isWanted: boolean;
  readonly certificates: KeptCertificates;
  readonly configuration: ValidatingWebhookConfiguration | undefined;
  /** What should be registered, for the authorities that there are. */
  readonly desired: ValidatingWebhookConfiguration;
}

export type AdmissionStep = "issue" | "issueNext" | "showNext" | "register" | "unregister";

export interface AdmissionDecision {
  readonly step?: AdmissionStep;
  readonly recheckAfterMs?: number;
}

export const VALID_MS: number = 365 * DAY_MS;
const RENEWED_BEFORE_MS = 90 * DAY_MS;
/** API servers learn of a changed registration within seconds. */
const TRUSTED_AFTER_MS = 5 * 60_000;
/** Longer waits are cut, so that a clock that was set is noticed. */
const RECHECK_MAX_MS: number = DAY_MS / 2;

export function decideAdmission({ nowMs, isWanted, certificates, configuration, desired }: AdmissionObserved): AdmissionDecision {
  if (!isWanted) return configuration === undefined ? {} : { step: "unregister" };
  const { current, next } = certificates;
  if (current === undefined) return { step: next === undefined ? "issue" : "showNext" };
  if (configuration === undefined || !covers(configuration.webhooks, desired.webhooks)) return { step: "register" };
  if (next !== undefined) {
    const waitMs = next.issuedAtMs + TRUSTED_AFTER_MS - nowMs;
    return waitMs <= 0 ? { step: "showNext" } : { recheckAfterMs: Math.min(waitMs, RECHECK_MAX_MS) };
  }
  const leftMs = current.endsAtMs - RENEWED_BEFORE_MS - nowMs;
  return leftMs <= 0 ? { step: "issueNext" } : { recheckAfterMs: Math.min(leftMs, RECHECK_MAX_MS) };
}

/** Whether what is there says what is wanted, beside what the API server fills in. */
function covers(there: unknown, wanted: unknown): boolean {
  if (Array.isArray(wanted)) return Array.isArray(there) && there.length === wanted.length && wanted.every((item, index) => covers(there[index], item));
  if (typeof wanted !== "object" || wanted === null) return there === wanted;
  if (typeof there !== "object" || there === null) return false;
  return Object.entries(wanted).every(([key, value]) => covers((there as Record<string, unknown>)[key], value));
}
