/**
 * Reed–Solomon over GF(2^8) with polynomial 0x11D, systematic: data shards stay as they are, parity shards are added (kopia-format.md 3.5).
 *
 * Byte i of all data shards is taken as the values of a polynomial of degree below d at the field elements 0 to d − 1; parity shard k holds its value at d + k.
 * (That is the matrix "Vandermonde × inverse of its top square", without the inverse.) So any d shards that are left give back every other one, by Lagrange's formula.
 */
const FIELD_POLYNOMIAL = 0x11d;
const ORDER = 255;
/** Shards that a code over bytes can have: one for each element of the field. */
export const SHARDS_MAX = 256;
/** Products for so many outputs come out of one look-up. */
const OUTPUTS_PER_LOOKUP = 4;

const EXP = new Uint8Array(2 * ORDER);
const LOG = new Uint8Array(SHARDS_MAX);
for (let power = 0, value = 1; power < ORDER; power++) {
  EXP[power] = value;
  EXP[power + ORDER] = value;
  LOG[value] = power;
  value <<= 1;
  if (value > 0xff) value ^= FIELD_POLYNOMIAL;
}

/** Gives every shard of an equal-sized set that `wanted` names out of the shards `known`, which must be as many as there are data shards. */
export function shardCombiner(known: readonly number[], wanted: readonly number[]): ShardCombiner {
  const weights = known.map((at) => inverseProduct(known, at));
  return new ShardCombiner(
    wanted.map((at) => {
      // The value at `at` is a known one where the shard is itself among them; nobody asks for those.
      const all = logProduct(known, at);
      return Uint8Array.from(known, (other, i) => exp(all - log(at ^ other) + (weights[i] ?? 0)));
    }),
    known.length,
  );
}

/** Multiplies a matrix over the field with shards, all bytes of a shard by the same coefficient. */
export class ShardCombiner {
  readonly #outputs: number;
  readonly #inputs: number;
  /** By group of four outputs, input and byte: the four products, the first in the lowest byte. */
  readonly #products: Uint32Array;
  #sums = new Uint32Array(0);

  constructor(rows: readonly Uint8Array[], inputs: number) {
    this.#outputs = rows.length;
    this.#inputs = inputs;
    const groups = Math.ceil(rows.length / OUTPUTS_PER_LOOKUP);
    this.#products = new Uint32Array(groups * inputs * 256);
    for (const [output, row] of rows.entries()) {
      const shift = 8 * (output % OUTPUTS_PER_LOOKUP);
      const group = Math.floor(output / OUTPUTS_PER_LOOKUP);
      for (const [input, coefficient] of row.entries()) {
        if (coefficient === 0) continue;
        const table = this.#products.subarray((group * inputs + input) * 256, (group * inputs + input + 1) * 256);
        const power = log(coefficient);
        for (let byte = 1; byte < 256; byte++) table[byte] = (table[byte] as number) | (exp(power + log(byte)) << shift);
      }
    }
  }

  /** Reads the inputs back to back from `data` at `from` and writes the outputs back to back into `out`. */
  combine(data: Uint8Array, from: number, shardBytes: number, out: Uint8Array): void {
    if (this.#sums.length < shardBytes) this.#sums = new Uint32Array(shardBytes);
    const sums = this.#sums;
    const products = this.#products;
    for (let first = 0, table = 0; first < this.#outputs; first += OUTPUTS_PER_LOOKUP) {
      sums.fill(0, 0, shardBytes);
      for (let input = 0, at = from; input < this.#inputs; input++, table += 256) {
        for (let i = 0; i < shardBytes; i++, at++) sums[i] = (sums[i] as number) ^ (products[table + (data[at] as number)] as number);
      }
      const outputs = Math.min(OUTPUTS_PER_LOOKUP, this.#outputs - first);
      for (let output = 0, at = first * shardBytes; output < outputs; output++) {
        for (let i = 0; i < shardBytes; i++, at++) out[at] = (sums[i] as number) >>> (8 * output);
      }
    }
  }
}

/** Logarithm of the inverse of the product of all differences between a point and the others. */
function inverseProduct(points: readonly number[], at: number): number {
  return (
    ORDER -
    logProduct(
      points.filter((point) => point !== at),
      at,
    )
  );
}

/** Logarithm of the product of all differences between a point and others. Minus is exclusive or. */
function logProduct(points: readonly number[], at: number): number {
  return points.reduce((sum, point) => sum + log(at ^ point), 0) % ORDER;
}

function exp(power: number): number {
  return EXP[((power % ORDER) + ORDER) % ORDER] as number;
}

function log(value: number): number {
  return LOG[value] as number;
}
