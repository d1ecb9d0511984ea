/**
 * A certificate authority in memory and the certificates that it signs: ECDSA on P-256 with SHA-256, as PEM (RFC 5280, RFC 7468). Where they are kept is the caller's.
 */
import "reflect-metadata";
import { createPrivateKey, webcrypto } from "node:crypto";
import { type RandomSource, toHex } from "@drayage/base";
import * as x509 from "@peculiar/x509";

export interface KeyPair {
  readonly certificatePem: string;
  /** PKCS#8. */
  readonly keyPem: string;
}

/** Milliseconds of the Unix epoch; certificates count seconds. */
export interface Validity {
  readonly fromMs: number;
  readonly untilMs: number;
}

export interface Issue extends Validity {
  /** `CN=NAME`, as RFC 4514 writes it. */
  readonly subject: string;
  /** Names and addresses of a server; without any the certificate identifies a client, whose user is `CN` and each of whose groups an `O`. */
  readonly hosts?: readonly string[];
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

x509.cryptoProvider.set(webcrypto as never);

export class Authority {
  readonly #random: RandomSource;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(random: RandomSource, certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.#random = random;
    this.#certificate = certificate;
    this.#key = key;
  }

  /** A new one, with a key of its own. */
  static async create(random: RandomSource, { subject, fromMs, untilMs }: Issue): Promise<Authority> {
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(random),
      name: subject,
      notBefore: new Date(fromMs),
      notAfter: new Date(untilMs),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    return new Authority(random, certificate, keys.privateKey);
  }

  /** One that was kept. */
  static async load(random: RandomSource, { certificatePem, keyPem }: KeyPair): Promise<Authority> {
    return new Authority(random, new x509.X509Certificate(certificatePem), await importKey(keyPem));
  }

  get pem(): string {
    return pem(this.#certificate);
  }

  async keyPem(): Promise<string> {
    return exportKey(this.#key);
  }

  /** A new pair, signed. */
  async issue({ subject, hosts = [], fromMs, untilMs }: Issue): Promise<KeyPair> {
    const keys = await generateKeys();
    const names: x509.JsonGeneralName[] = hosts.map((host) => (/^[\d.]+$|:/.test(host) ? { type: "ip", value: host } : { type: "dns", value: host }));
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(this.#random),
      subject,
      issuer: this.#certificate.subject,
      notBefore: new Date(fromMs),
      notAfter: new Date(untilMs),
      signingAlgorithm: ALGORITHM,
      publicKey: keys.publicKey,
      signingKey: this.#key,
      extensions: [
        new x509.BasicConstraintsExtension(false, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.keyEncipherment, true),
        new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.serverAuth, x509.ExtendedKeyUsage.clientAuth]),
        await x509.AuthorityKeyIdentifierExtension.create(this.#certificate),
        ...(names.length === 0 ? [] : [new x509.SubjectAlternativeNameExtension(names)]),
      ],
    });
    return { certificatePem: pem(certificate), keyPem: await exportKey(keys.privateKey) };
  }
}

/** Positive by its first bit, as serial numbers must be. */
function serial(random: RandomSource): string {
  const bytes = random.bytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x7f) | 0x40;
  return toHex(bytes);
}

function generateKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const der = Buffer.from(await webcrypto.subtle.exportKey("pkcs8", key));
  return createPrivateKey({ key: der, format: "der", type: "pkcs8" }).export({ type: "pkcs8", format: "pem" }).toString();
}

async function importKey(text: string): Promise<webcrypto.CryptoKey> {
  const der = createPrivateKey(text).export({ type: "pkcs8", format: "der" });
  return await webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, true, ["sign"]);
}

function pem(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem").trim()}\n`;
}
