import { createHash } from "node:crypto";
import type { Sha256Ranges } from "../s3/s3-options.ts";

/** One digest behind the other: what the kernels do side by side. */
export const sha256Ranges: Sha256Ranges = (data, starts, lengths, count, out) => {
  for (let i = 0; i < count; i++) {
    const start = starts[i] ?? 0;
    out.set(
      createHash("sha256")
        .update(data.subarray(start, start + (lengths[i] ?? 0)))
        .digest(),
      32 * i,
    );
  }
};
