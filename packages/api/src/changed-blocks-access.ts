/** How the mover of a device is told where to ask what has changed on it. */

/** Where a mover asks for the changed blocks of its volume, as JSON in its environment. */
export interface ChangedBlocksAccess {
  readonly address: string;
  /** PEM. */
  readonly caCert: string;
  readonly namespace: string;
  /** The VolumeSnapshot that the volume was made of. */
  readonly snapshot: string;
  /** What the storage calls it: the base of the next upload. */
  readonly changeId: string;
  /** What the storage calls the volume that it is of. */
  readonly volumeId: string;
}

export const CHANGED_BLOCKS_ENV = "DRAYAGE_CHANGED_BLOCKS";
/** The token for it, renewed by the kubelet. */
export const CHANGED_BLOCKS_TOKEN_PATH = "/var/run/secrets/drayage.io/changed-blocks/token";
