/**
 * The cluster's certificate authority, the server's certificate and those of clients, kept as PEM files in the cluster's folder so that kubeconfigs survive a restart.
 */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Clock, RandomSource } from "@drayage/base";
import { Authority, type KeyPair, type Validity } from "@drayage/protocols/x509";

export type { KeyPair } from "@drayage/protocols/x509";

const DAY_MS = 86_400_000;
const VALID_DAYS = 3650;

export class CertificateAuthority {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #authority: Authority;

  private constructor(directory: string, clock: Clock, authority: Authority) {
    this.#directory = directory;
    this.#clock = clock;
    this.#authority = authority;
  }

  /** Loads the authority from `ca.crt` and `ca.key` of a folder, or makes it there. */
  static async open(directory: string, clock: Clock, random: RandomSource): Promise<CertificateAuthority> {
    const kept = readPair(directory, "ca");
    if (kept !== undefined) return new CertificateAuthority(directory, clock, await Authority.load(random, kept));
    const authority = await Authority.create(random, { subject: "CN=drayage-cluster-ca", ...validity(clock) });
    writePair(directory, "ca", { certificatePem: authority.pem, keyPem: await authority.keyPem() });
    return new CertificateAuthority(directory, clock, authority);
  }

  get pem(): string {
    return this.#authority.pem;
  }

  /** A pair kept under a name in the folder; made when it is not there yet. */
  async ensure(name: string, options: { readonly subject: string; readonly hosts?: readonly string[] }): Promise<KeyPair> {
    const kept = readPair(this.#directory, name);
    if (kept !== undefined) return kept;
    const pair = await this.issue(options);
    writePair(this.#directory, name, pair);
    return pair;
  }

  /** A new pair. With hosts it serves, without it identifies a client: `CN` is the user, each `O` a group. */
  issue(options: { readonly subject: string; readonly hosts?: readonly string[] }): Promise<KeyPair> {
    return this.#authority.issue({ ...options, ...validity(this.#clock) });
  }
}

function readPair(directory: string, name: string): KeyPair | undefined {
  const [certificate, key] = [join(directory, `${name}.crt`), join(directory, `${name}.key`)];
  if (!existsSync(certificate) || !existsSync(key)) return undefined;
  return { certificatePem: readFileSync(certificate, "utf8"), keyPem: readFileSync(key, "utf8") };
}

function writePair(directory: string, name: string, { certificatePem, keyPem }: KeyPair): void {
  writeFileSync(join(directory, `${name}.key`), keyPem, { mode: 0o600 });
  writeFileSync(join(directory, `${name}.crt`), certificatePem);
}

/** From a day before now, for clients whose clock is behind. */
function validity(clock: Clock): Validity {
  return { fromMs: clock.nowMs() - DAY_MS, untilMs: clock.nowMs() + VALID_DAYS * DAY_MS };
}
