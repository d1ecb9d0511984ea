/**
 * Writes WebAssembly modules (binary format 1) of the few instructions that the portable loops are made of. They are put together when they are first needed: a loop that is unrolled is a few lines here.
 *
 * Format: WebAssembly Core Specification 2.0, chapter 5, and the relaxed ones of 3.0; vector instructions have the prefix 0xfd.
 */

/** Instructions, one behind the other. */
export type Code = readonly number[];

const TYPE = { i32: 0x7f, i64: 0x7e, v128: 0x7b } as const;
export type ValueType = keyof typeof TYPE;

export interface WasmFunction {
  readonly name: string;
  readonly parameters: readonly ValueType[];
  readonly result?: ValueType;
  /** Numbered on from the parameters. */
  readonly locals: readonly ValueType[];
  readonly body: Code;
}

export interface WasmModule {
  readonly functions: readonly WasmFunction[];
  /** Of its own memory, in pieces of 64 KiB. */
  readonly pages: number;
  /** Whether it is given another memory, which is shared (`arena.memory`). That is memory 0 then, and its own is memory 1. */
  readonly hasArena: boolean;
}

/** The code of a module. It exports its functions, and its own memory as `memory`. */
export function assemble({ functions, pages, hasArena }: WasmModule): Uint8Array<ArrayBuffer> {
  const indexes = functions.map((_, index) => index);
  const arena = [...name("arena"), ...name("memory"), MEMORY, SHARED, 0, ...unsigned(ARENA_PAGES_MAX)];
  return Uint8Array.from([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...section(
      1,
      functions.map(({ parameters, result }) => [0x60, ...types(parameters), ...types(result === undefined ? [] : [result])]),
    ),
    ...(hasArena ? section(2, [arena]) : []),
    ...section(3, indexes.map(unsigned)),
    ...section(5, [[0, ...unsigned(pages)]]),
    ...section(7, [[...name("memory"), MEMORY, hasArena ? 1 : 0], ...functions.map((one, index) => [...name(one.name), 0, ...unsigned(index)])]),
    ...section(
      10,
      functions.map(({ locals, body }) => sized([...vector(locals.map((type) => [1, TYPE[type]])), ...body, END])),
    ),
  ]);
}

const MEMORY = 2;
const SHARED = 3;
/** All that can be addressed. */
const ARENA_PAGES_MAX = 65_536;
const END = 0x0b;

export const get = (local: number): Code => [0x20, ...unsigned(local)];
export const set = (local: number): Code => [0x21, ...unsigned(local)];
export const i32 = (value: number): Code => [0x41, ...signed(value)];
/** Repeats its body as long as that ends with `again`. */
export const loop = (body: Code): Code => [0x03, 0x40, ...body, END];
export const again: Code = [0x0c, 0];
/** Goes on with the innermost loop when the value on the stack is not 0. */
export const againIf: Code = [0x0d, 0];
export const when = (body: Code): Code => [0x04, 0x40, ...body, END];
export const giveBack: Code = [0x0f];

export const I32 = {
  load: (offset: number, memory = 0): Code => [0x28, ...place(2, offset, memory)],
  load8: (offset: number, memory = 0): Code => [0x2d, ...place(0, offset, memory)],
  isZero: [0x45],
  isLess: [0x49],
  add: [0x6a],
  subtract: [0x6b],
  and: [0x71],
  xor: [0x73],
  shiftLeft: [0x74],
  rotateLeft: [0x77],
} as const satisfies Record<string, Code | ((offset: number, memory?: number) => Code)>;

const simd = (instruction: number, ...immediates: number[]): Code => [0xfd, ...unsigned(instruction), ...immediates];
export const V128 = {
  load: (offset: number, memory = 0): Code => simd(0, ...place(4, offset, memory)),
  store: (offset: number, memory = 0): Code => simd(11, ...place(4, offset, memory)),
  /** Both halves as 64-bit numbers. */
  constant: (value: bigint): Code => simd(12, ...little(value), ...little(value)),
  /** Bytes of the two vectors on the stack, numbered through. */
  shuffle: (bytes: readonly number[]): Code => simd(13, ...bytes),
  /** Bytes of the first vector on the stack, by the numbers in the second, which are below 16. One of the relaxed instructions, which not every WebAssembly has. */
  swizzle: simd(256),
  or: simd(80),
  xor: simd(81),
  /** By what is on the stack, each half. */
  shiftLeft64: simd(203),
  shiftRight64: simd(205),
  add64: simd(206),
} as const;

function section(id: number, items: readonly Code[]): Code {
  return [id, ...sized(vector(items))];
}

function vector(items: readonly Code[]): number[] {
  return [...unsigned(items.length), ...items.flat()];
}

function sized(code: Code): number[] {
  return [...unsigned(code.length), ...code];
}

function types(values: readonly ValueType[]): number[] {
  return vector(values.map((type) => [TYPE[type]]));
}

function name(text: string): number[] {
  return sized([...Buffer.from(text, "utf8")]);
}

/** Of a load or store: its alignment as a power of 2, and the memory where it is not the first. */
function place(alignment: number, offset: number, memory: number): number[] {
  return memory === 0 ? [alignment, ...unsigned(offset)] : [alignment | 0x40, ...unsigned(memory), ...unsigned(offset)];
}

/** LEB128. */
function unsigned(value: number): number[] {
  return value < 0x80 ? [value] : [(value & 0x7f) | 0x80, ...unsigned(value >>> 7)];
}

function signed(value: number): number[] {
  return value >= -0x40 && value < 0x40 ? [value & 0x7f] : [(value & 0x7f) | 0x80, ...signed(value >> 7)];
}

function little(value: bigint): number[] {
  return Array.from({ length: 8 }, (_, i) => Number((value >> BigInt(8 * i)) & 0xffn));
}
