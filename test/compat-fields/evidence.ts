/** How a field of Velero's kinds is treated here, and the test that shows it. `tools/velero-compatibility.ts` checks that the test is there, is run, and speaks of the field. */

export type FieldStatus = "supported" | "different" | "refused" | "unused";

export interface Evidence {
  /** A path in the repository. */
  readonly file: string;
  /** Of the test, as it is registered. */
  readonly title: string;
  /** What must stand in the test; the field's own name when left out. */
  readonly shows?: string;
  /** A file that the test compares with, in which the field's name stands: what the real Velero was recorded to do. */
  readonly recorded?: string;
}

export interface FieldEntry {
  readonly status: FieldStatus;
  /** What is different, why it is refused, or that Velero does not use it either. */
  readonly note?: string;
  readonly evidence: Evidence;
}

export type FieldTable = Readonly<Record<string, FieldEntry>>;

export const supported = (evidence: Evidence): FieldEntry => ({ status: "supported", evidence });
export const different = (note: string, evidence: Evidence): FieldEntry => ({ status: "different", note, evidence });
export const refused = (note: string, evidence: Evidence): FieldEntry => ({ status: "refused", note, evidence });
/** Velero itself neither reads nor writes it any more. */
export const unused = (note: string, evidence: Evidence): FieldEntry => ({ status: "unused", note, evidence });

/** Names tests of one file. */
export const testsOf =
  (file: string) =>
  (title: string, shows?: string): Evidence => ({ file, title, ...(shows === undefined ? {} : { shows }) });

/** Names a comparison with what Velero 1.18.3 was recorded to do: `shows` is what the test compares, `recorded` the file that it compares with. */
export const comparison = (file: string, title: string, shows: string, recorded: string): Evidence => ({ file, title, shows, recorded });
