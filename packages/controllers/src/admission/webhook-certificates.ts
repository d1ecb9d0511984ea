/**
 * The certificates of the admission webhook as they lie in a Secret (kubernetes.io/tls), and what of them can be used. Each serving certificate has an authority of its own, whose key is
 * forgotten as soon as it has signed: nobody can sign another with what is kept.
 *
 *   tls.crt, tls.key    what servers show
 *   next.crt, next.key  what they will show as soon as the API server trusts it
 *   ca.crt              authorities of both, and of earlier ones that have not ended: what the API server trusts
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import type { Secret } from "@drayage/kube";

export interface ServingPair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

/** A pair that can be shown now. */
export interface UsablePair extends ServingPair {
  /** Milliseconds of the Unix epoch. */
  readonly issuedAtMs: number;
  readonly endsAtMs: number;
}

export interface KeptCertificates {
  readonly current: UsablePair | undefined;
  readonly next: UsablePair | undefined;
  /** PEM of each authority that has not ended. */
  readonly authorities: readonly string[];
}

export const DAY_MS = 86_400_000;
/** Certificates begin a day before they are made, for API servers whose clock is behind. */
export const BACKDATED_MS = DAY_MS;

/** What of a Secret can be used for a host at a time: nothing of one that is not there, was damaged, has ended or is somebody else's. */
export function readCertificates(secret: Secret | undefined, host: string, nowMs: number): KeptCertificates {
  const text = (entry: string): string => Buffer.from(secret?.data?.[entry] ?? "", "base64").toString("utf8");
  const authorities = (text("ca.crt").match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? []).flatMap((pem) => {
    const parsed = parse(pem);
    return parsed === undefined || parsed.validToDate.getTime() <= nowMs ? [] : [{ pem: `${pem}\n`, parsed }];
  });
  const pair = (name: string): UsablePair | undefined => {
    const [certificatePem, keyPem] = [text(`${name}.crt`), text(`${name}.key`)];
    const certificate = parse(certificatePem);
    if (certificate === undefined || !isKeyOf(keyPem, certificate) || certificate.checkHost(host) === undefined) return undefined;
    const [fromMs, endsAtMs] = [certificate.validFromDate.getTime(), certificate.validToDate.getTime()];
    if (nowMs < fromMs || nowMs >= endsAtMs) return undefined;
    if (!authorities.some(({ parsed }) => certificate.checkIssued(parsed) && certificate.verify(parsed.publicKey))) return undefined;
    return { certificatePem, keyPem, issuedAtMs: fromMs + BACKDATED_MS, endsAtMs };
  };
  return { current: pair("tls"), next: pair("next"), authorities: authorities.map(({ pem }) => pem) };
}

/** The data of the Secret. */
export function certificateData(current: ServingPair, next: ServingPair | undefined, authorities: readonly string[]): Record<string, string> {
  const texts = {
    "tls.crt": current.certificatePem,
    "tls.key": current.keyPem,
    "ca.crt": authorities.join(""),
    ...(next === undefined ? {} : { "next.crt": next.certificatePem, "next.key": next.keyPem }),
  };
  return Object.fromEntries(Object.entries(texts).map(([entry, text]) => [entry, Buffer.from(text).toString("base64")]));
}

function parse(pem: string): X509Certificate | undefined {
  try {
    return pem === "" ? undefined : new X509Certificate(pem);
  } catch {
    return undefined;
  }
}

function isKeyOf(keyPem: string, certificate: X509Certificate): boolean {
  try {
    return certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch {
    return false;
  }
}
