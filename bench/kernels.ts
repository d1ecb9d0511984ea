/**
 * Throughput of the hot loops, portable and native side by side, in MB/s (10^6 bytes): the best of several passes, one thread.
 *
 *   node scripts/node24.cjs node bench/kernels.ts
 */
import { createKernels, type Kernels, prepareNative } from "../packages/kernels/src/index.ts";
import { ctr, xorshift } from "../packages/kernels/src/testing/index.ts";

const PASSES = 7;
const CHUNK_BYTES = 4 << 20;
const SMALL_BYTES = 1024;
const key = ctr(32);
const data = xorshift(16 * CHUNK_BYTES);
const pieces = (bytes: number, count: number): Uint8Array[] => Array.from({ length: count }, (_, i) => data.subarray(i * bytes, (i + 1) * bytes));
const large = pieces(CHUNK_BYTES, 16);
const small = pieces(SMALL_BYTES, 4096);

/** Best throughput of a pass over `bytes` bytes. */
function measure(bytes: number, pass: () => void): number {
  let best = 0;
  for (let i = 0; i < PASSES; i++) {
    const startedMs = performance.now();
    pass();
    best = Math.max(best, bytes / 1000 / (performance.now() - startedMs));
  }
  return best;
}

const sum = (inputs: readonly Uint8Array[]): number => inputs.reduce((total, { length }) => total + length, 0);

async function rates(kernels: Kernels): Promise<Map<string, number>> {
  const hasher = await kernels.hasher("BLAKE2B-256-128", key);
  const out = new Uint8Array(CHUNK_BYTES + 28);
  const rows = new Map<string, number>();
  const row = (name: string, inputs: readonly Uint8Array[], pass: () => void): void => void rows.set(name, measure(sum(inputs), pass));

  row("splitter DYNAMIC-4M-BUZHASH", [data], () => {
    const splitter = kernels.splitter("DYNAMIC-4M-BUZHASH");
    for (let at = 0; at !== -1 && at < data.length; ) at = splitter.next(data, at, data.length);
  });
  for (const [size, inputs] of [
    ["4 MiB", large],
    ["1 KiB", small],
  ] as const) {
    row(`BLAKE2B-256-128, ${size}, one at a time`, inputs, () => {
      for (const input of inputs) hasher.hash(input);
    });
    row(`BLAKE2B-256-128, ${size}, many`, inputs, () => hasher.hashMany(inputs));
    for (const name of ["AES256-GCM-HMAC-SHA256", "CHACHA20-POLY1305-HMAC-SHA256"]) {
      const encryptor = kernels.encryptor(name, key);
      const iv = key.subarray(0, 16);
      row(`seal ${name}, ${size}`, inputs, () => {
        for (const input of inputs) encryptor.seal(input, iv, out, 0);
      });
      const sealed = new Uint8Array((inputs[0]?.length ?? 0) + 28);
      encryptor.seal(inputs[0] ?? new Uint8Array(), iv, sealed, 0);
      row(`open ${name}, ${size}`, inputs, () => {
        for (let i = 0; i < inputs.length; i++) encryptor.open(sealed, iv);
      });
    }
  }
  return rows;
}

const { state, reason } = await prepareNative();
const portable = await rates(await createKernels({ build: "portable" }));
const native = state === "unavailable" ? new Map<string, number>() : await rates(await createKernels({ build: "native" }));
process.stdout.write("| kernel | portable MB/s | native MB/s | ratio |\n|---|---|---|---|\n");
for (const [name, before] of portable) {
  const after = native.get(name);
  process.stdout.write(`| ${name} | ${before.toFixed(0)} | ${after?.toFixed(0) ?? "-"} | ${after === undefined ? "-" : (after / before).toFixed(1)} |\n`);
}
if (reason !== undefined) process.stdout.write(`\n${reason}\n`);
