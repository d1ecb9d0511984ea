/** Small files of one directory on their way into a job: in the order of the walk, up to a number and a size. */
import type { DirectoryNames } from "@drayage/kernels";
import { BUNDLE_BYTES, BUNDLE_FILES, type FileExtension, type FilesJob, type FilesResult } from "./lanes/jobs.ts";

export class FileBatch {
  readonly compressor: string | undefined;
  /** Of the names of the directory. */
  readonly indexes: number[] = [];
  /** Where any file has one; else it stays empty. */
  readonly #extensions: (FileExtension | undefined)[] = [];
  bytes = 0;
  result: Promise<FilesResult> | undefined;

  constructor(compressor: string | undefined) {
    this.compressor = compressor;
  }

  get isFull(): boolean {
    return this.indexes.length >= BUNDLE_FILES || this.bytes >= BUNDLE_BYTES;
  }

  /** @param bytes - what the file is likely to have */
  add(index: number, bytes: number, extension?: FileExtension): void {
    if (extension !== undefined) this.#extensions[this.indexes.length] = extension;
    this.indexes.push(index);
    this.bytes += bytes;
  }

  job(directory: number, all: DirectoryNames, options: Pick<FilesJob, "attributes" | "bytesMax">): FilesJob {
    const { bytes, compressor } = this;
    const extensions = this.#extensions.length === 0 ? {} : { extensions: this.#extensions };
    return { kind: "files", directory, ...chosenNames(all, this.indexes), bytes, compressor, ...options, ...extensions };
  }
}

/** Copies of some names, which ascend. */
function chosenNames({ names, ends }: DirectoryNames, indexes: readonly number[]): Pick<FilesJob, "names" | "ends"> {
  const chosen = new Uint32Array(indexes.length);
  const startOf = (index: number): number => (index === 0 ? 0 : (ends[index - 1] ?? 0));
  const [first = 0] = indexes;
  const last = indexes.at(-1) ?? 0;
  // Nearly always all of a stretch.
  if (last - first + 1 === indexes.length) {
    const from = startOf(first);
    for (let i = 0; i < chosen.length; i++) chosen[i] = (ends[first + i] ?? 0) - from;
    return { names: new Uint8Array(names.subarray(from, ends[last])), ends: chosen };
  }
  let end = 0;
  for (const [i, index] of indexes.entries()) {
    end += (ends[index] ?? 0) - startOf(index);
    chosen[i] = end;
  }
  const copied = new Uint8Array(end);
  for (const [i, index] of indexes.entries()) copied.set(names.subarray(startOf(index), ends[index]), i === 0 ? 0 : chosen[i - 1]);
  return { names: copied, ends: chosen };
}
