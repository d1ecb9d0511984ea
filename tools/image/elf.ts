/**
 * What a program of Linux needs to be loaded: read from its ELF file, so that an image holds every library that anything in it asks for, and no other.
 * Format: System V ABI, chapters 4 and 5. Little-endian files of 64 bits only, which amd64 and arm64 are.
 */

export interface ElfFacts {
  readonly machine: "amd64" | "arm64";
  /** The loader's path; undefined for libraries. */
  readonly interpreter: string | undefined;
  /** DT_NEEDED: file names of libraries. */
  readonly needed: readonly string[];
}

const MACHINES: Readonly<Record<number, ElfFacts["machine"]>> = { 62: "amd64", 183: "arm64" };
const PT_LOAD = 1;
const PT_DYNAMIC = 2;
const PT_INTERP = 3;
const DT_NEEDED = 1n;
const DT_STRTAB = 5n;
const HEADER_BYTES = 64;

interface Segment {
  readonly type: number;
  readonly offset: number;
  readonly address: number;
  readonly bytes: number;
}

/** The facts of an ELF file; undefined for a file that is none. Throws RangeError for one that is cut off. */
export function elfFacts(file: Uint8Array): ElfFacts | undefined {
  if (file.length < HEADER_BYTES || file[0] !== 0x7f || file[1] !== 0x45 || file[2] !== 0x4c || file[3] !== 0x46) return undefined;
  const view = new DataView(file.buffer, file.byteOffset, file.length);
  const machine = MACHINES[view.getUint16(18, true)];
  if (file[4] !== 2 || file[5] !== 1 || machine === undefined) return undefined;
  const segments = readSegments(view);
  const interpreter = segments.find(({ type }) => type === PT_INTERP);
  const dynamic = segments.find(({ type }) => type === PT_DYNAMIC);
  return {
    machine,
    interpreter: interpreter === undefined ? undefined : textAt(file, interpreter.offset),
    needed: dynamic === undefined ? [] : readNeeded(file, view, segments, dynamic),
  };
}

function readSegments(view: DataView): Segment[] {
  const from = Number(view.getBigUint64(32, true));
  const size = view.getUint16(54, true);
  return Array.from({ length: view.getUint16(56, true) }, (_, index) => {
    const at = from + index * size;
    return {
      type: view.getUint32(at, true),
      offset: Number(view.getBigUint64(at + 8, true)),
      address: Number(view.getBigUint64(at + 16, true)),
      bytes: Number(view.getBigUint64(at + 32, true)),
    };
  });
}

function readNeeded(file: Uint8Array, view: DataView, segments: readonly Segment[], dynamic: Segment): string[] {
  const names: number[] = [];
  let strings = 0;
  for (let at = dynamic.offset; at < dynamic.offset + dynamic.bytes; at += 16) {
    const tag = view.getBigUint64(at, true);
    const value = Number(view.getBigUint64(at + 8, true));
    if (tag === 0n) break;
    if (tag === DT_NEEDED) names.push(value);
    if (tag === DT_STRTAB) strings = value;
  }
  // The table of strings is named by where it lies in memory.
  const holder = segments.find(({ type, address, bytes }) => type === PT_LOAD && strings >= address && strings < address + bytes);
  if (holder === undefined) return [];
  return names.map((name) => textAt(file, strings - holder.address + holder.offset + name));
}

function textAt(file: Uint8Array, offset: number): string {
  const end = file.indexOf(0, offset);
  if (offset >= file.length || end < 0) throw new RangeError(`Cannot read an ELF file: there is no text at ${offset}`);
  return Buffer.from(file.buffer, file.byteOffset + offset, end - offset).toString("latin1");
}
