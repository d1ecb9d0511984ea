import type { StoreTimeouts } from "../store-timeouts.ts";

export interface S3Keys {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

/** A role that a projected token of the pod stands for (IRSA, OpenShift's STS). */
export interface S3WebIdentity {
  readonly roleArn: string;
  readonly webIdentityTokenFile: string;
  readonly roleSessionName?: string;
}

export type S3Credentials = S3Keys | S3WebIdentity;

export const CHECKSUM_ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

export const SERVER_SIDE_ENCRYPTIONS = ["AES256", "aws:kms", "aws:kms:dsse"] as const;
export type ServerSideEncryption = (typeof SERVER_SIDE_ENCRYPTIONS)[number];

export const STORAGE_CLASSES = [
  ...(["STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR", "REDUCED_REDUNDANCY"] as const),
  ...(["EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"] as const),
] as const;
export type StorageClass = (typeof STORAGE_CLASSES)[number];

/** Writes the SHA-256 of the first `count` ranges of `data` to `out`, 32 bytes each, one behind the other. */
export type Sha256Ranges = (data: Uint8Array, starts: Uint32Array, lengths: Uint32Array, count: number, out: Uint8Array) => void;

export interface S3Options {
  readonly bucket: string;
  /** Put before every key as it is, so for a folder it ends in `/`. */
  readonly prefix?: string;
  /** Left out, the bucket's own region is found (AWS) or `us-east-1` is said (elsewhere). */
  readonly region?: string;
  /** `https://host:port`, `http://…` without TLS. AWS when left out. */
  readonly endpoint?: string;
  /** The endpoint in signed addresses, where those who use them reach the store by another name. */
  readonly publicUrl?: string;
  /** The bucket in the path rather than in the host name. By default where the host is an address or `localhost`. */
  readonly pathStyle?: boolean;
  /** The SDK's own chain (environment, shared files, web identity, container, instance) when left out. */
  readonly credentials?: S3Credentials;
  /** Profile of the shared files that the SDK's chain looks at. */
  readonly profile?: string;
  /** PEM certificates trusted beside those of the system. */
  readonly caCert?: string;
  readonly insecureSkipTlsVerify?: boolean;
  /**
   * Sent with every put; `""` for none. When left out, AWS gets the SDK's default and other endpoints none: many of them refuse what they do not know,
   * and the SHA-256 of the signature guards the body anyway.
   */
  readonly checksumAlgorithm?: ChecksumAlgorithm | "";
  /** How the store encrypts what is written; the bucket's own way when left out. */
  readonly serverSideEncryption?: ServerSideEncryption;
  /** The KMS key of `aws:kms`; alone it implies that. */
  readonly kmsKeyId?: string;
  /** 32 bytes with which the store encrypts (SSE-C): sent with every request on an object, and needed for each later reading. */
  readonly customerKey?: Uint8Array;
  readonly storageClass?: StorageClass;
  /** Tags of what is written, `key=value&key=value` as in a URL. */
  readonly tagging?: string;
  /** Account that must own the bucket, or every request is refused. */
  readonly expectedBucketOwner?: string;
  /** Whether `If-None-Match: *` is honoured. By default yes on AWS and no elsewhere, since older servers ignore the header and overwrite; `probeConditionalPut` finds out. */
  readonly conditionalPut?: boolean;
  /** Whether the bucket has object lock. `false` refuses locks without asking; left out, the store is asked with each. */
  readonly objectLock?: boolean;
  /** Reads the bucket as it was at this time (a versioned bucket's objects); nothing can be written then. Milliseconds since the epoch. */
  readonly pointInTimeMs?: number;
  /**
   * Makes digests side by side. Where it is there, large bodies are signed in chunks when there is no TLS, as other programs sign theirs then (signed-chunks.ts); otherwise, and with TLS,
   * every body goes out as it is with the digest of the whole.
   */
  readonly sha256Ranges?: Sha256Ranges;
  /** Connections at once; 64 when left out. */
  readonly connectionsMax?: number;
  readonly timeouts?: Partial<StoreTimeouts>;
  /** Of the token service, for web identities; the region's own when left out. */
  readonly stsEndpoint?: string;
}
