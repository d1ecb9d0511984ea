import type { Clock } from "@drayage/base";
import type { StoreTimeouts } from "../store-timeouts.ts";

export type GcsCredential =
  /** The JSON of a credentials file: a service account's key, an external account (workload identity federation), an impersonated account, or a user's. */
  | { readonly kind: "json"; readonly text: string }
  /** GOOGLE_APPLICATION_CREDENTIALS, the user's own login, or the metadata server (workload identity of GKE, the machine's account), in this order. */
  | { readonly kind: "default" }
  /** No credentials: a public bucket, or an emulator. */
  | { readonly kind: "anonymous" };

export interface GcsOptions {
  readonly bucket: string;
  /** Put before every name as it is, so for a folder it ends in `/`. */
  readonly prefix?: string;
  readonly credential: GcsCredential;
  /** Billed for requests to a bucket whose requester pays. */
  readonly project?: string;
  /** Signs addresses where the credential itself cannot: the identity needs iam.serviceAccounts.signBlob on it. */
  readonly serviceAccount?: string;
  /** `projects/…/locations/…/keyRings/…/cryptoKeys/…` that encrypts what is written. */
  readonly kmsKeyName?: string;
  /** `https://storage.googleapis.com` when left out. */
  readonly endpoint?: string;
  /** `googleapis.com` when left out. */
  readonly universeDomain?: string;
  /** Of the IAM credentials service; of the universe when left out. */
  readonly iamEndpoint?: string;
  /** `STANDARD`, `NEARLINE`, `COLDLINE`, `ARCHIVE`; the bucket's own when left out. */
  readonly storageClass?: string;
  /** Whether the bucket has object retention. `false` refuses locks without asking; left out, the store is asked with each. */
  readonly objectLock?: boolean;
  /** PEM certificates trusted beside those of the system. */
  readonly caCert?: string;
  readonly insecureSkipTlsVerify?: boolean;
  /** Connections at once; 64 when left out. */
  readonly connectionsMax?: number;
  readonly timeouts?: Partial<StoreTimeouts>;
  /** For the validity of signed addresses. */
  readonly clock?: Clock;
}
