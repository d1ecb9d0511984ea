import { DynamicSplitter, WINDOW_BYTES } from "./dynamic-splitter.ts";

/** The irreducible polynomial of degree 53 that Kopia's seed 1 yields. */
const POLYNOMIAL = 0x2e3e3e4a305605n;
const DEGREE = 53n;

/** 256 polynomials of up to 61 bits as two halves: JavaScript's bit operators stop at 32. */
interface PolynomialTable {
  readonly high: Int32Array;
  readonly low: Int32Array;
}

/** What a byte contributes once it has been shifted through the whole window, and what reduces an overflowing byte. */
interface RabinTables {
  readonly leave: PolynomialTable;
  readonly reduce: PolynomialTable;
}

let tables: RabinTables | undefined;

/**
 * Kopia's DYNAMIC-*-RABINKARP: a Rabin fingerprint over GF(2) of 64 bytes, kept in two 32-bit halves (kopia-format.md 4.3).
 */
export class RabinKarpSplitter extends DynamicSplitter {
  #high = 0;
  #low = 0;
  readonly #tables: RabinTables = sharedTables();

  protected override clearHash(): void {
    this.#high = 0;
    this.#low = 0;
  }

  protected override enter(byte: number): void {
    const reduce = this.#tables.reduce;
    const index = (this.#high >>> 13) & 0xff;
    const high = ((this.#high << 8) | (this.#low >>> 24)) ^ (reduce.high[index] ?? 0);
    this.#low = ((this.#low << 8) | byte) ^ (reduce.low[index] ?? 0);
    this.#high = high;
  }

  protected override atCut(): boolean {
    return (this.#low & this.mask) === 0;
  }

  protected override scan(data: Uint8Array, from: number, to: number): number {
    const { leave, reduce } = this.#tables;
    const mask = this.mask;
    const window = this.window;
    const direct = from + WINDOW_BYTES;
    let high = this.#high;
    let low = this.#low;
    let cut = -1;
    for (let at = from; at < to; at++) {
      const leaving = (at < direct ? window[at - from] : data[at - WINDOW_BYTES]) as number;
      high ^= leave.high[leaving] as number;
      low ^= leave.low[leaving] as number;
      const index = (high >>> 13) & 0xff;
      high = ((high << 8) | (low >>> 24)) ^ (reduce.high[index] as number);
      low = ((low << 8) | (data[at] as number)) ^ (reduce.low[index] as number);
      if ((low & mask) === 0) {
        cut = at + 1;
        break;
      }
    }
    this.#high = high;
    this.#low = low;
    return cut;
  }
}

/** `value` modulo the polynomial. */
function modulo(value: bigint): bigint {
  let rest = value;
  for (let bits = BigInt(rest.toString(2).length); bits > DEGREE; bits = BigInt(rest.toString(2).length)) rest ^= POLYNOMIAL << (bits - 1n - DEGREE);
  return rest;
}

function sharedTables(): RabinTables {
  tables ??= buildTables();
  return tables;
}

function buildTables(): RabinTables {
  const empty = (): PolynomialTable => ({ high: new Int32Array(256), low: new Int32Array(256) });
  const put = (table: PolynomialTable, index: number, value: bigint): void => {
    table.high[index] = Number(BigInt.asIntN(32, value >> 32n));
    table.low[index] = Number(BigInt.asIntN(32, value));
  };
  const leave = empty();
  const reduce = empty();
  for (let byte = 0; byte < 256; byte++) {
    let shifted = BigInt(byte);
    for (let step = 1; step < WINDOW_BYTES; step++) shifted = modulo(shifted << 8n);
    put(leave, byte, shifted);
    const top = BigInt(byte) << DEGREE;
    put(reduce, byte, modulo(top) | top);
  }
  return { leave, reduce };
}
