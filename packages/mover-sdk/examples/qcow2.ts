/**
 * QCOW2 images, as far as an export needs them: version 2, clusters of 64 KiB, no backing file, no compression, no snapshots (QEMU: docs/interop/qcow2.txt). All numbers are big-endian.
 *
 *   cluster 0          header
 *   cluster 1 …        L1 table: for each 512 MiB of the disk, where its L2 table is
 *   then, in turn      an L2 table, and the clusters of data that it names; zeros are not stored and have entry 0
 *   at the end         refcount blocks, refcount table
 */
import { closeSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { DrayError } from "@drayage/base";

const CLUSTER_BITS = 16;
export const CLUSTER = 1 << CLUSTER_BITS;
const HEADER_BYTES = 72;
const MAGIC = 0x514649fb;
const VERSION = 2;
const L2_ENTRIES = CLUSTER / 8;
/** What one L2 table covers. */
const L2_BYTES = L2_ENTRIES * CLUSTER;
const REFCOUNTS_PER_BLOCK = CLUSTER / 2;
/** Set in an entry whose cluster nobody else refers to. */
const COPIED = 1n << 63n;
const OFFSET_MASK = 0x00fffffffffffe00n;
/** A disk of 64 TiB: its L1 table is 1 MiB. */
const SIZE_MAX = L2_BYTES * 131_072;

const AT = { magic: 0, version: 4, clusterBits: 20, size: 24, l1Size: 36, l1Offset: 40, refcountOffset: 48, refcountClusters: 56 } as const;

/** Writes a disk of `size` bytes into a new file and returns the file's size. Memory: one cluster, one L2 table and the L1 table. Throws DATA_MOVEMENT_FAILED when the data has another size. */
export async function writeQcow2(path: string, size: number, data: AsyncIterable<Uint8Array>): Promise<number> {
  const file = openSync(path, "wx", 0o600);
  try {
    const l1 = Buffer.alloc(Math.ceil(size / L2_BYTES) * 8);
    const l1Offset = CLUSTER;
    let next = 1 + Math.max(1, clustersOf(l1.length));
    let l2 = Buffer.alloc(CLUSTER);
    let l2Offset = 0;
    let done = 0;
    const flushTable = (): void => {
      if (l2Offset !== 0) writeSync(file, l2, 0, CLUSTER, l2Offset);
      l2 = Buffer.alloc(CLUSTER);
      l2Offset = 0;
    };
    for await (const cluster of clusters(data)) {
      if (done > 0 && done % L2_BYTES === 0) flushTable();
      if (!isZero(cluster)) {
        if (l2Offset === 0) {
          l2Offset = next++ * CLUSTER;
          l1.writeBigUInt64BE(BigInt(l2Offset) | COPIED, Math.floor(done / L2_BYTES) * 8);
        }
        writeSync(file, cluster, 0, cluster.length, next * CLUSTER);
        l2.writeBigUInt64BE(BigInt(next++ * CLUSTER) | COPIED, ((done % L2_BYTES) / CLUSTER) * 8);
      }
      done += cluster.length;
      if (done > size) break;
    }
    if (done !== size)
      throw new DrayError("DATA_MOVEMENT_FAILED", `Cannot write a disk of ${size} bytes: ${done > size ? "more than that" : `only ${done}`} came`);
    flushTable();
    writeSync(file, l1, 0, l1.length, l1Offset);
    const header = Buffer.alloc(HEADER_BYTES);
    header.writeUInt32BE(MAGIC, AT.magic);
    header.writeUInt32BE(VERSION, AT.version);
    header.writeUInt32BE(CLUSTER_BITS, AT.clusterBits);
    header.writeBigUInt64BE(BigInt(size), AT.size);
    header.writeUInt32BE(l1.length / 8, AT.l1Size);
    header.writeBigUInt64BE(BigInt(l1Offset), AT.l1Offset);
    const { offset, tableClusters, end } = writeRefcounts(file, next);
    header.writeBigUInt64BE(BigInt(offset), AT.refcountOffset);
    header.writeUInt32BE(tableClusters, AT.refcountClusters);
    // Last: without it the file is no image.
    writeSync(file, header, 0, HEADER_BYTES, 0);
    return end;
  } finally {
    closeSync(file);
  }
}

/** Every cluster of the file is referred to once, those of the counts themselves too. */
function writeRefcounts(file: number, used: number): { readonly offset: number; readonly tableClusters: number; readonly end: number } {
  let [blocks, tableClusters] = [0, 0];
  for (;;) {
    const total = used + blocks + tableClusters;
    const wanted = Math.ceil(total / REFCOUNTS_PER_BLOCK);
    const wantedTable = Math.max(1, clustersOf(wanted * 8));
    if (wanted === blocks && wantedTable === tableClusters) break;
    [blocks, tableClusters] = [wanted, wantedTable];
  }
  const total = used + blocks + tableClusters;
  const table = Buffer.alloc(tableClusters * CLUSTER);
  for (let block = 0; block < blocks; block++) {
    const counts = Buffer.alloc(CLUSTER);
    const first = block * REFCOUNTS_PER_BLOCK;
    for (let index = 0; index < Math.min(REFCOUNTS_PER_BLOCK, total - first); index++) counts.writeUInt16BE(1, index * 2);
    writeSync(file, counts, 0, CLUSTER, (used + block) * CLUSTER);
    table.writeBigUInt64BE(BigInt((used + block) * CLUSTER), block * 8);
  }
  const offset = (used + blocks) * CLUSTER;
  writeSync(file, table, 0, table.length, offset);
  return { offset, tableClusters, end: total * CLUSTER };
}

export interface Qcow2 {
  /** Bytes of the disk. */
  readonly size: number;
  /** The disk from front to back, zeros and all. */
  data(): Iterable<Uint8Array>;
  close(): void;
}

/** Opens an image of the kind that is written here. Throws DATA_MOVEMENT_FAILED saying what is wrong with the file. */
export function openQcow2(path: string): Qcow2 {
  const file = openSync(path, "r");
  const wrong = (what: string): DrayError => new DrayError("DATA_MOVEMENT_FAILED", `Cannot read qcow2 image "${path}": ${what}`);
  const length = fstatSync(file).size;
  const read = (offset: number, bytes: number): Buffer => {
    const buffer = Buffer.alloc(bytes);
    if (offset + bytes > length || readSync(file, buffer, 0, bytes, offset) !== bytes) throw wrong(`it has ${length} bytes and refers to ${offset + bytes}`);
    return buffer;
  };
  try {
    const header = read(0, HEADER_BYTES);
    if (header.readUInt32BE(AT.magic) !== MAGIC) throw wrong("it does not begin as one");
    if (header.readUInt32BE(AT.version) !== VERSION) throw wrong(`its version is ${header.readUInt32BE(AT.version)}, only ${VERSION} is read here`);
    if (header.readUInt32BE(AT.clusterBits) !== CLUSTER_BITS)
      throw wrong(`its clusters have 2^${header.readUInt32BE(AT.clusterBits)} bytes, 2^${CLUSTER_BITS} are wanted`);
    const size = Number(header.readBigUInt64BE(AT.size));
    const l1Size = header.readUInt32BE(AT.l1Size);
    if (size > SIZE_MAX || l1Size !== Math.ceil(size / L2_BYTES)) throw wrong(`a disk of ${size} bytes has an L1 table of ${l1Size} entries`);
    const l1 = read(Number(header.readBigUInt64BE(AT.l1Offset)), l1Size * 8);
    return { size, data: () => disk(size, l1, read), close: () => closeSync(file) };
  } catch (error) {
    closeSync(file);
    throw error;
  }
}

function* disk(size: number, l1: Buffer, read: (offset: number, bytes: number) => Buffer): Iterable<Uint8Array> {
  const zeros = Buffer.alloc(CLUSTER);
  let l2: Buffer | undefined;
  for (let at = 0; at < size; at += CLUSTER) {
    if (at % L2_BYTES === 0) {
      const offset = offsetOf(l1.readBigUInt64BE((at / L2_BYTES) * 8));
      l2 = offset === 0 ? undefined : read(offset, CLUSTER);
    }
    const bytes = Math.min(CLUSTER, size - at);
    const offset = l2 === undefined ? 0 : offsetOf(l2.readBigUInt64BE(((at % L2_BYTES) / CLUSTER) * 8));
    yield offset === 0 ? zeros.subarray(0, bytes) : read(offset, bytes);
  }
}

function offsetOf(entry: bigint): number {
  return Number(entry & OFFSET_MASK);
}

function clustersOf(bytes: number): number {
  return Math.ceil(bytes / CLUSTER);
}

function isZero(cluster: Buffer): boolean {
  return cluster[0] === 0 && cluster.subarray(1).equals(cluster.subarray(0, -1));
}

/** The data again, in clusters; the last one may be shorter. */
async function* clusters(data: AsyncIterable<Uint8Array>): AsyncIterable<Buffer> {
  let kept = Buffer.alloc(CLUSTER);
  let filled = 0;
  for await (const part of data)
    for (let at = 0; at < part.length; ) {
      const taken = Math.min(CLUSTER - filled, part.length - at);
      kept.set(part.subarray(at, at + taken), filled);
      filled += taken;
      at += taken;
      if (filled < CLUSTER) continue;
      yield kept;
      kept = Buffer.alloc(CLUSTER);
      filled = 0;
    }
  if (filled > 0) yield kept.subarray(0, filled);
}
