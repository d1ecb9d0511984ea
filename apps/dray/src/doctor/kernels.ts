/** What `dray doctor` says of the hot loops: which build runs here, and how fast it is. */
import { performance } from "node:perf_hooks";
import { createKernels, DEFAULT_ENCRYPTION, DEFAULT_HASH, DEFAULT_SPLITTER } from "@drayage/kernels";
import type { Finding } from "./finding.ts";

const PIECE_BYTES = 1 << 20;
const PIECES = 8;

/** Measures for some tens of milliseconds. */
export async function kernelFinding(): Promise<Finding> {
  const kernels = await createKernels();
  const key = Uint8Array.from({ length: 32 }, (_, i) => i);
  // Bytes without runs, so that the splitter has to roll over all of them.
  const data = Uint8Array.from({ length: PIECES * PIECE_BYTES }, (_, i) => (Math.imul(i, 2654435761) >>> 24) & 0xff);
  const starts = Uint32Array.from({ length: PIECES }, (_, i) => i * PIECE_BYTES);
  const ranges = { data, starts, lengths: new Uint32Array(PIECES).fill(PIECE_BYTES), count: PIECES };
  const hasher = await kernels.hasher(DEFAULT_HASH, key);
  const encryptor = kernels.encryptor(DEFAULT_ENCRYPTION, key);
  const splitter = kernels.splitter(DEFAULT_SPLITTER);
  const hashes = new Uint8Array(PIECES * hasher.digestBytes);
  const sealed = new Uint8Array(data.length + PIECES * encryptor.overheadBytes);
  const cut = rate(data.length, () => splitter.next(data, 0, data.length));
  const hash = rate(data.length, () => hasher.hashRanges(ranges, hashes));
  const seal = rate(data.length, () => encryptor.sealRanges(ranges, hashes, hasher.digestBytes, sealed, 0));
  const figures = `cutting ${cut}, hashing ${hash}, encrypting with read-back ${seal} MB/s a thread`;
  if (kernels.info.build === "native") return { severity: "ok", what: `The native kernels are in use here: ${figures}` };
  return {
    severity: "warning",
    what: `The portable kernels are in use here: ${figures}`,
    ...(kernels.info.reason === undefined ? {} : { why: kernels.info.reason }),
    fix: "Install a C++ compiler (c++): the native ones are then compiled in the background by the next backup, and take about half the processor time.",
  };
}

/** Megabytes (10^6 bytes) a second. */
function rate(bytes: number, work: () => void): number {
  const startedMs = performance.now();
  work();
  return Math.round(bytes / 1000 / Math.max(performance.now() - startedMs, 0.001));
}
