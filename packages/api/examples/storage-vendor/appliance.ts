/** What the vendor's storage does by itself: the data never passes through this controller. */
export interface Appliance {
  /** Copies a snapshot, by its CSI handle, to where copies are kept. A copy of that name that is there, whole or not, is replaced. Returns its bytes. */
  copyOut(snapshotHandle: string, copy: CopyRef, report: Report, signal: AbortSignal): Promise<number>;
  /** Fills an empty volume, by its CSI handle, with a copy. Returns the bytes. */
  copyIn(copy: CopyRef, volumeHandle: string, report: Report, signal: AbortSignal): Promise<number>;
  /** Removes a copy; one that is not there counts as removed. */
  remove(copy: string): Promise<void>;
}

export interface CopyRef {
  readonly name: string;
  /** The parameters that users set, checked by Drayage against the published schema. */
  readonly parameters: Readonly<Record<string, string>>;
}

export type Report = (bytesDone: number, totalBytes: number) => void;
