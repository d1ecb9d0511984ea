export interface S3Credentials {
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
  readonly sessionToken?: string;
}

export const CHECKSUM_ALGORITHMS = ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"] as const;
export type ChecksumAlgorithm = (typeof CHECKSUM_ALGORITHMS)[number];

export interface S3Options {
  readonly bucket: string;
  /** Put before every key as it is, so for a folder it ends in `/`. */
  readonly prefix?: string;
  /** Left out, the bucket's own region is found (AWS) or `us-east-1` is said (elsewhere). */
  readonly region?: string;
  /** `https://host:port`, `http://…` without TLS. AWS when left out. */
  readonly endpoint?: string;
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
  /** Whether `If-None-Match: *` is honoured. By default yes on AWS and no elsewhere, since older servers ignore the header and overwrite; `probeConditionalPut` finds out. */
  readonly conditionalPut?: boolean;
  /** Whether the bucket has object lock. */
  readonly objectLock?: boolean;
  /** Connections at once; 64 when left out. */
  readonly connectionsMax?: number;
  readonly timeouts?: Partial<S3Timeouts>;
}

/** In milliseconds. */
export interface S3Timeouts {
  readonly connectMs: number;
  /** Without a byte in either direction. */
  readonly idleMs: number;
  /** Until the answer begins; counts the upload of the body. */
  readonly requestMs: number;
}

export const DEFAULT_TIMEOUTS: S3Timeouts = { connectMs: 10_000, idleMs: 60_000, requestMs: 300_000 };
