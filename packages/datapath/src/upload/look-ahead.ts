/**
 * Looks at a volume while its repository is opened, which takes a key that is slow to derive, and a processor that has nothing else to do: what was seen is compared without another look
 * when it is known what to compare it with. What has changed since is as it was then, which is before the snapshot begins.
 */
import { availableParallelism } from "node:os";
import { resolve } from "node:path";
import { createKernels, type DirectoryScan } from "@drayage/kernels";
import { byteStringOf } from "@drayage/repo";
import type { UploadSnapshotOptions } from "./upload-snapshot.ts";

export type LookAhead = DirectoryScan;

/** Of a hundred thousand files. */
const BYTES_MAX = 16 << 20;

/** Runs `work`, which opens the repository and uploads, beside the look. It is given nothing where there is nothing to look at, or no processor for it. */
export async function withLookAhead<T>(
  {
    source,
    cpu = Number.POSITIVE_INFINITY,
    parallel = availableParallelism(),
    xattrs = true,
  }: Pick<UploadSnapshotOptions, "source" | "cpu" | "parallel" | "xattrs">,
  work: (scan: LookAhead | undefined) => Promise<T>,
): Promise<T> {
  if (source.kind !== "directory" || Math.min(parallel, cpu) < 2) return await work(undefined);
  const { files } = await createKernels({});
  const scan = files.scanDirectories(Buffer.from(byteStringOf(resolve(source.path)), "latin1"), { attributes: xattrs, bytesMax: BYTES_MAX });
  try {
    return await work(scan);
  } finally {
    scan.drop();
  }
}
