/** What the configs of all providers share: the fields of a BackupStorageLocation, and how its keys are read. */
import { DrayError, fromBase64, fromUtf8 } from "@drayage/base";

/** The part of a BackupStorageLocation's spec that says where its bucket is. */
export interface LocationFields {
  readonly objectStorage: {
    readonly bucket: string;
    readonly prefix?: string;
    /** Base64 of PEM, as the resource holds it. */
    readonly caCert?: string;
  };
  readonly config?: Readonly<Record<string, string>>;
}

/** What a location may hold besides: the text of its credentials file, and a certificate read from `caCertRef`. */
export interface LocationSecrets {
  readonly credentialsText?: string;
  /** PEM; wins over the location's own. */
  readonly caCertPem?: string;
  /** Bytes of the SSE-C key that config's `customerKeyEncryptionSecret` names. */
  readonly customerKey?: Uint8Array;
}

/** One key of a location's config, for the check and for docs/providers.md. */
export interface ConfigKey {
  readonly name: string;
  /** What it says, in a sentence. */
  readonly meaning: string;
}

/** The reader of one location's config. An empty value counts as left out, as Velero's plug-ins have it. */
export class LocationConfig {
  readonly bucket: string;
  readonly #config: Readonly<Record<string, string>>;

  /** Throws BLOB_BAD_CONFIG naming the first key that `keys` does not hold: a key that is misspelt would otherwise be without effect and without a word. */
  constructor(location: LocationFields, keys: readonly ConfigKey[]) {
    this.bucket = location.objectStorage.bucket;
    this.#config = location.config ?? {};
    for (const name of Object.keys(this.#config)) {
      if (keys.some((key) => key.name === name) || INJECTED.includes(name)) continue;
      const close = keys.find((key) => key.name.toLowerCase() === name.toLowerCase())?.name;
      this.refuse(
        `config key "${name}" is not known${close === undefined ? "" : `, is "${close}" meant?`}`,
        `Known are ${keys.map((key) => key.name).join(", ")}.`,
      );
    }
  }

  text(name: string): string | undefined {
    const value = this.#config[name];
    return value === undefined || value === "" ? undefined : value;
  }

  /** Whether the key is there, be it empty. */
  has(name: string): boolean {
    return this.#config[name] !== undefined;
  }

  /** As Go's ParseBool has it. */
  flag(name: string): boolean | undefined {
    const value = this.text(name);
    if (value === undefined) return undefined;
    if (/^(1|t|true)$/i.test(value)) return true;
    if (/^(0|f|false)$/i.test(value)) return false;
    return this.refuse(`config key "${name}" is ${JSON.stringify(value)}, true or false is wanted`);
  }

  refuse(what: string, hint?: string): never {
    throw new DrayError("BLOB_BAD_CONFIG", `Cannot use the location of bucket "${this.bucket}": ${what}`, hint === undefined ? {} : { hint });
  }
}

/** Velero's server adds these to the config that it hands to a plug-in; they are harmless in a location. */
const INJECTED: readonly string[] = ["bucket", "prefix", "caCert"];

/** The location's prefix: empty, or ending in one slash. */
export function prefixOf(location: LocationFields): string {
  const prefix = (location.objectStorage.prefix ?? "").replace(/^\/+|\/+$/g, "");
  return prefix === "" ? "" : `${prefix}/`;
}

/** PEM of the location's certificate, if it has one. */
export function caCertOf(location: LocationFields, secrets: LocationSecrets, config: LocationConfig): string | undefined {
  const { caCert } = location.objectStorage;
  if (secrets.caCertPem !== undefined) return secrets.caCertPem;
  if (caCert === undefined || caCert === "") return undefined;
  const bytes = fromBase64(caCert);
  const pem = bytes === undefined ? "" : fromUtf8(bytes);
  return pem.includes("-----BEGIN CERTIFICATE-----") ? pem : config.refuse("objectStorage.caCert is not the base64 of a PEM certificate");
}
