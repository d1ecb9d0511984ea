import { againIf, assemble, type Code, get, giveBack, I32, i32, loop, set, when } from "../wasm/assembler.ts";
import { instanceOf, isArena } from "../wasm/instance.ts";
import { BuzhashSplitter } from "./buzhash-splitter.ts";
import { BUZHASH_TABLE } from "./buzhash-table.ts";
import { WINDOW_BYTES } from "./dynamic-splitter.ts";

/** What is looked through at once: it stays in the processor's cache. */
const PIECE_BYTES = 32 << 10;
/** Behind the table: the window, then what is to be looked through. */
const WINDOW_AT = 1024;
const PAGES = 1;
/** Positions that are tested in one turn of the loop. */
const UNROLLED = 8;

/** The same cuts from WebAssembly, twice as fast as JavaScript finds them. The hash at a tested position is a function of the window alone, so nothing is carried between calls but that. */
export class WasmBuzhashSplitter extends BuzhashSplitter {
  protected override scan(data: Uint8Array, from: number, to: number): number {
    // What lies in an arena is looked through where it lies, once the window does as well: nothing in front of `from` is this stream's for certain.
    if (!isArena(data.buffer)) return scanCopies(this.window, data, from, to, this.mask);
    const whole = Math.min(from + WINDOW_BYTES, to);
    const cut = scanCopies(this.window, data, from, whole, this.mask);
    if (cut !== -1 || whole === to) return cut;
    const length = engineFor(data.buffer).scan(data.byteOffset + from, to - whole, this.mask);
    return length > 0 ? whole + length : -1;
  }
}

function scanCopies(window: Uint8Array, data: Uint8Array, from: number, to: number, mask: number): number {
  copies ??= engineOf();
  for (let at = from; at < to; at += PIECE_BYTES) {
    const piece = data.subarray(at, Math.min(to, at + PIECE_BYTES));
    copies.bytes.set(at === from ? window : data.subarray(at - WINDOW_BYTES, at), WINDOW_AT);
    copies.bytes.set(piece, WINDOW_AT + WINDOW_BYTES);
    const length = copies.scan(WINDOW_AT, piece.length, mask);
    if (length > 0) return at + length;
  }
  return -1;
}

interface Engine {
  readonly bytes: Uint8Array;
  /** Of so many bytes behind the window that lies at `window`, those up to the first that asks for a cut, that included, or 0. */
  readonly scan: (window: number, length: number, mask: number) => number;
}

/** One for a thread and one for each arena: nothing stays in them between calls. */
let copies: Engine | undefined;
const inPlace = new WeakMap<ArrayBufferLike, Engine>();

function engineFor(arena: ArrayBufferLike): Engine {
  const known = inPlace.get(arena);
  if (known !== undefined) return known;
  const made = engineOf(arena);
  inPlace.set(arena, made);
  return made;
}

function engineOf(arena?: ArrayBufferLike): Engine {
  const hasArena = arena !== undefined;
  const scan = { name: "scan", parameters: ["i32", "i32", "i32"], result: "i32", locals: ["i32", "i32", "i32"], body: scanBody(hasArena ? 1 : 0) } as const;
  const made = instanceOf<Pick<Engine, "scan">>(assemble({ functions: [scan], pages: PAGES, hasArena }), arena);
  new Int32Array(made.memory.buffer).set(BUZHASH_TABLE);
  return { bytes: new Uint8Array(made.memory.buffer), scan: made.scan };
}

/** scan(window, length, mask), data in memory 0. `at` is where the byte lies that leaves the window. */
function scanBody(tableMemory: number): Code {
  const [window, length, mask, at, end, hash] = [0, 1, 2, 3, 4, 5];
  const term = (offset: number): Code => [...get(at), ...I32.load8(offset), ...i32(2), ...I32.shiftLeft, ...I32.load(0, tableMemory)];
  const turned: Code = [...get(hash), ...i32(1), ...I32.rotateLeft];
  const advance = (by: number): Code => [...get(at), ...i32(by), ...I32.add, ...set(at)];
  /** Whether so many bytes more lie before the end. */
  const has = (bytes: number): Code => [...get(at), ...i32(bytes - 1), ...I32.add, ...get(end), ...I32.isLess];
  const test = (i: number): Code => [
    ...[...turned, ...term(i), ...I32.xor, ...term(WINDOW_BYTES + i), ...I32.xor, ...set(hash)],
    ...[...get(hash), ...get(mask), ...I32.and, ...I32.isZero],
    ...when([...get(at), ...i32(i + 1), ...I32.add, ...get(window), ...I32.subtract, ...giveBack]),
  ];
  const tests = (count: number): Code => [
    ...has(count),
    ...when(loop([...Array.from({ length: count }, (_, i) => test(i)).flat(), ...advance(count), ...has(count), ...againIf])),
  ];
  return [
    // The window has the hash that it has whatever was before it.
    ...[...get(window), ...set(at), ...get(window), ...i32(WINDOW_BYTES), ...I32.add, ...set(end)],
    ...loop([...turned, ...term(0), ...I32.xor, ...set(hash), ...advance(1), ...has(1), ...againIf]),
    ...[...get(window), ...set(at), ...get(window), ...get(length), ...I32.add, ...set(end)],
    ...tests(UNROLLED),
    ...tests(1),
    ...i32(0),
  ];
}
