/** How thoroughly a verification looks, from its flags. */
import { DrayError } from "@drayage/base";
import type { VerifyMode, VerifyReport } from "@drayage/datapath";

/** Throws USAGE for a share that is none, and for two ways at once. */
export function verifyMode({ full, sample }: { readonly full?: boolean; readonly sample?: string }): {
  readonly mode: VerifyMode;
  readonly samplePercent?: number;
} {
  if (sample === undefined) return { mode: full === true ? "full" : "quick" };
  const percent = /^\d{1,3}(\.\d+)?%?$/.test(sample) ? Number.parseFloat(sample) : Number.NaN;
  if (full === true || !(percent > 0 && percent <= 100)) {
    throw new DrayError(
      "USAGE",
      `Cannot verify a sample of "${sample}"${full === true ? ": --full and --sample exclude each other" : ": a part above 0% and up to 100% is wanted"}`,
    );
  }
  return { mode: "sample", samplePercent: percent };
}

/** What a report read, for a sentence that says what was verified. */
export function howFar({ mode, filesRead }: Pick<VerifyReport, "mode" | "filesRead">): string {
  return mode === "quick" ? "" : mode === "full" ? " to the last byte" : `, ${filesRead} of them to the last byte`;
}
