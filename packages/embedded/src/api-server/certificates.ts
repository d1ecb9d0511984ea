/**
 * The cluster's certificate authority, the server's certificate and those of clients, kept as PEM files in the cluster's folder so that kubeconfigs survive a restart.
 */
import "reflect-metadata";
import { createPrivateKey, webcrypto } from "node:crypto";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock, RandomSource } from "@drayage/base";
import { toHex } from "@drayage/base";
import * as x509 from "@peculiar/x509";

export interface KeyPair {
  readonly certificatePem: string;
  readonly keyPem: string;
}

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
const DAY_MS = 86_400_000;
const VALID_DAYS = 3650;

x509.cryptoProvider.set(webcrypto as never);

export class CertificateAuthority {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #certificate: x509.X509Certificate;
  readonly #key: webcrypto.CryptoKey;

  private constructor(directory: string, clock: Clock, random: RandomSource, certificate: x509.X509Certificate, key: webcrypto.CryptoKey) {
    this.#directory = directory;
    this.#clock = clock;
    this.#random = random;
    this.#certificate = certificate;
    this.#key = key;
  }

  /** Loads the authority from `ca.crt` and `ca.key` of a folder, or makes it there. */
  static async open(directory: string, clock: Clock, random: RandomSource): Promise<CertificateAuthority> {
    const certificatePath = join(directory, "ca.crt");
    const keyPath = join(directory, "ca.key");
    if (existsSync(certificatePath) && existsSync(keyPath)) {
      const key = await importKey(readFileSync(keyPath, "utf8"));
      return new CertificateAuthority(directory, clock, random, new x509.X509Certificate(readFileSync(certificatePath, "utf8")), key);
    }
    const keys = await generateKeys();
    const certificate = await x509.X509CertificateGenerator.createSelfSigned({
      serialNumber: serial(random),
      name: "CN=drayage-cluster-ca",
      ...validity(clock),
      signingAlgorithm: ALGORITHM,
      keys,
      extensions: [
        new x509.BasicConstraintsExtension(true, undefined, true),
        new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.digitalSignature | x509.KeyUsageFlags.cRLSign, true),
        await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
      ],
    });
    writeFileSync(keyPath, await exportKey(keys.privateKey), { mode: 0o600 });
    writeFileSync(certificatePath, pem(certificate));
    return new CertificateAuthority(directory, clock, random, certificate, keys.privateKey);
  }

  get pem(): string {
    return pem(this.#certificate);
  }

  /** A pair kept under a name in the folder; made when it is not there yet. */
  async ensure(name: string, options: { readonly subject: string; readonly hosts?: readonly string[] }): Promise<KeyPair> {
    const certificatePath = join(this.#directory, `${name}.crt`);
    const keyPath = join(this.#directory, `${name}.key`);
    if (existsSync(certificatePath) && existsSync(keyPath))
      return { certificatePem: readFileSync(certificatePath, "utf8"), keyPem: readFileSync(keyPath, "utf8") };
    const pair = await this.issue(options);
    writeFileSync(keyPath, pair.keyPem, { mode: 0o600 });
    writeFileSync(certificatePath, pair.certificatePem);
    return pair;
  }

  /** A new pair. With hosts it serves, without it identifies a client: `CN` is the user, each `O` a group. */
  async issue(options: { readonly subject: string; readonly hosts?: readonly string[] }): Promise<KeyPair> {
    const keys = await generateKeys();
    const hosts = options.hosts ?? [];
    const names: x509.JsonGeneralName[] = hosts.map((host) => (/^[\d.]+$|:/.test(host) ? { type: "ip", value: host } : { type: "dns", value: host }));
    const certificate = await x509.X509CertificateGenerator.create({
      serialNumber: serial(this.#random),
      subject: options.subject,
      issuer: this.#certificate.subject,
      ...validity(this.#clock),
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

/** From a day before now, for clients whose clock is behind. */
function validity(clock: Clock): { notBefore: Date; notAfter: Date } {
  return { notBefore: new Date(clock.nowMs() - DAY_MS), notAfter: new Date(clock.nowMs() + VALID_DAYS * DAY_MS) };
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
