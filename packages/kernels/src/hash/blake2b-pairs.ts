/**
 * Keyed BLAKE2b-256 (RFC 7693) of many messages, two side by side, one in each half of WebAssembly's vectors: what runs where the addon does not.
 *
 * Messages that lie in one arena are hashed where they lie, but for their last blocks; others in copies, piece by piece. A lane whose message ends gets the next one, longest first. A message that is left alone takes both lanes' time, which is no more than it would take by itself.
 */
import { againIf, assemble, type Code, get, I32, i32, loop, set, V128 } from "../wasm/assembler.ts";
import { canRun, instanceOf, isArena } from "../wasm/instance.ts";

/** Hashes message i of `count`, given by `messageOf`, and hands its 32 bytes to `take`; they are valid until that returns. `place` is the memory that all messages lie in, if it is one. */
export type Blake2bPairs = (
  count: number,
  messageOf: (i: number) => Uint8Array,
  take: (i: number, digest: Uint8Array) => void,
  place?: ArrayBufferLike,
) => void;

const DIGEST_BYTES = 32;
const BLOCK_BYTES = 128;
/** Of one message, between two looks at both. */
const PIECE_BYTES = 32 << 10;
/** The same where nothing is copied. */
const IN_PLACE_BYTES = 1 << 20;

/** Where things lie: vectors of 16 bytes with a word of each lane; then the next bytes of either message. */
const AT = { state: 0, block: 128, count: 384, step: 400, last: 416, turn16: 432, turn24: 448, data: [1024, 1024 + PIECE_BYTES] } as const;
const PAGES = 2;

const IV = [
  ...[0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n],
  ...[0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n],
];
const SIGMA = [
  [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15],
  [14, 10, 4, 8, 9, 15, 13, 6, 1, 12, 0, 2, 11, 7, 5, 3],
  [11, 8, 12, 0, 5, 2, 15, 13, 10, 14, 3, 6, 7, 1, 9, 4],
  [7, 9, 3, 1, 13, 12, 11, 14, 2, 6, 5, 10, 4, 0, 15, 8],
  [9, 0, 5, 7, 2, 4, 10, 15, 14, 1, 11, 12, 6, 8, 3, 13],
  [2, 12, 6, 10, 0, 11, 8, 3, 4, 13, 7, 5, 15, 14, 1, 9],
  [12, 5, 1, 15, 14, 13, 4, 10, 0, 7, 6, 3, 9, 2, 8, 11],
  [13, 11, 7, 14, 12, 1, 3, 9, 5, 0, 15, 4, 8, 6, 2, 10],
  [6, 15, 14, 9, 11, 3, 0, 8, 12, 2, 13, 7, 1, 4, 10, 5],
  [10, 2, 8, 4, 7, 6, 1, 5, 15, 11, 9, 14, 3, 12, 13, 0],
] as const;
const ROUNDS = 12;

/** Binds a key of 1 to 64 bytes. `turns` is undefined where WebAssembly has no vectors, and so is what is given back then. */
export function createBlake2bPairs(key: Uint8Array, turns: Turns | undefined = turnsOfMachine()): Blake2bPairs | undefined {
  if (turns === undefined) return undefined;
  let engine = engineFor(turns, undefined);
  const lanes = [0, 1] as const;
  const message: [Uint8Array | undefined, Uint8Array | undefined] = [undefined, undefined];
  const index: [number, number] = [0, 0];
  const position: [number, number] = [0, 0];
  const address: [number, number] = [0, 0];
  const digest = new Uint8Array(DIGEST_BYTES);

  const startLane = (lane: 0 | 1, state: Uint32Array, counted: number): void => {
    const { words } = engine;
    for (let i = 0; i < 16; i++) words[wordAt(AT.state, lane, i)] = state[i] ?? 0;
    words[wordAt(AT.count, lane, 0)] = counted;
    words[wordAt(AT.count, lane, 1)] = 0;
  };
  /** What the next run does to a lane: so many bytes counted for each block, and whether it is the last. */
  const setStep = (lane: 0 | 1, counted: number, isLast: boolean): void => {
    engine.words[wordAt(AT.step, lane, 0)] = counted;
    engine.words.fill(isLast ? 0xffffffff : 0, wordAt(AT.last, lane, 0), wordAt(AT.last, lane, 1) + 1);
  };
  const copyIn = (lane: 0 | 1, from: Uint8Array, at: number, length: number): void => engine.bytes.set(from.subarray(at, at + length), AT.data[lane]);

  // A key is a block of its own before the message, and the last one where there is no message.
  const { start, keyBlock } = beginningOf(key);
  for (const lane of lanes) {
    startLane(lane, start, 0);
    setStep(lane, BLOCK_BYTES, lane === 1);
    copyIn(lane, keyBlock, 0, BLOCK_BYTES);
  }
  engine.compress(1, ...AT.data);
  const keyed = Uint32Array.from({ length: 16 }, (_, i) => engine.words[wordAt(AT.state, 0, i)] ?? 0);
  readDigest(engine, 1, digest);
  const ofNothing = digest.slice();

  return (count, messageOf, take, place) => {
    engine = engineFor(turns, place !== undefined && isArena(place) ? place : undefined);
    const { inPlace } = engine;
    const order = inOrder(count, messageOf);
    let next = 0;
    for (;;) {
      let blocks = (inPlace === undefined ? PIECE_BYTES : IN_PLACE_BYTES) / BLOCK_BYTES;
      let isActive = false;
      for (const lane of lanes) {
        while (message[lane] === undefined && next < count) {
          const i = order[next++] ?? 0;
          const data = messageOf(i);
          if (data.length === 0) {
            take(i, ofNothing);
            continue;
          }
          message[lane] = data;
          index[lane] = i;
          position[lane] = 0;
          startLane(lane, keyed, BLOCK_BYTES);
        }
        const data = message[lane];
        if (data === undefined) continue;
        isActive = true;
        blocks = Math.min(blocks, Math.ceil((data.length - position[lane]) / BLOCK_BYTES) - 1);
      }
      if (!isActive) return;
      // Where a message is at its last block, the other goes on by one as well.
      const isEnd = blocks === 0;
      for (const lane of lanes) {
        const data = message[lane];
        if (data === undefined) continue;
        const at = position[lane];
        const length = Math.min(data.length - at, isEnd ? BLOCK_BYTES : blocks * BLOCK_BYTES);
        const isLast = at + length === data.length;
        if (isEnd || inPlace === undefined) copyIn(lane, data, at, length);
        if (isLast) engine.bytes.fill(0, AT.data[lane] + length, AT.data[lane] + BLOCK_BYTES);
        address[lane] = data.byteOffset + at;
        setStep(lane, isLast ? length : BLOCK_BYTES, isLast);
        position[lane] = at + length;
      }
      // A lane without a message goes through the other's, for nothing.
      for (const lane of lanes) if (message[lane] === undefined) address[lane] = address[lane === 0 ? 1 : 0];
      if (isEnd || inPlace === undefined) engine.compress(isEnd ? 1 : blocks, ...AT.data);
      else inPlace(blocks, ...address);
      for (const lane of lanes) {
        if (message[lane]?.length !== position[lane]) continue;
        message[lane] = undefined;
        readDigest(engine, lane, digest);
        take(index[lane], digest);
      }
    }
  };
}

/** The first 32 bytes of a lane's state. */
function readDigest({ bytes }: Engine, lane: 0 | 1, digest: Uint8Array): void {
  for (let i = 0; i < DIGEST_BYTES; i++) digest[i] = bytes[AT.state + 16 * (i >> 3) + 8 * lane + (i & 7)] ?? 0;
}

/** The state before the first block (RFC 7693, section 2.8), and the block that a key is. */
function beginningOf(key: Uint8Array): { readonly start: Uint32Array; readonly keyBlock: Uint8Array } {
  const start = Uint32Array.from(IV.flatMap((word) => [Number(word & 0xffffffffn), Number(word >> 32n)]));
  start[0] = (start[0] ?? 0) ^ (0x01010000 | (key.length << 8) | DIGEST_BYTES);
  const keyBlock = new Uint8Array(BLOCK_BYTES);
  keyBlock.set(key);
  return { start, keyBlock };
}

/** Word i (of 32 bits) of a lane in the vectors from `at` on, as an index of 32-bit words. */
function wordAt(at: number, lane: 0 | 1, i: number): number {
  return at / 4 + 4 * (i >> 1) + 2 * lane + (i & 1);
}

function inOrder(count: number, messageOf: (i: number) => Uint8Array): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, i) => i);
  if (count <= 2) return order;
  const lengths = Uint32Array.from(order, (i) => messageOf(i).length);
  return order.sort((a, b) => (lengths[b] ?? 0) - (lengths[a] ?? 0));
}

interface Engine {
  readonly words: Uint32Array;
  readonly bytes: Uint8Array;
  /** So many blocks of both lanes, which lie at these addresses of the engine's own memory. */
  readonly compress: (blocks: number, first: number, second: number) => void;
  /** The same at addresses of the arena. */
  readonly inPlace: Engine["compress"] | undefined;
}

/** One for a thread and one for each arena, by where messages lie: a call begins and ends with nothing in them. */
const engines: Readonly<Record<Turns, WeakMap<object, Engine>>> = { swizzled: new WeakMap(), shuffled: new WeakMap() };
const COPIES = {};

function engineFor(turns: Turns, arena: ArrayBufferLike | undefined): Engine {
  const known = engines[turns].get(arena ?? COPIES);
  if (known !== undefined) return known;
  const { memory, compress, inPlace } = instanceOf<Pick<Engine, "compress" | "inPlace">>(moduleFor(arena !== undefined, turns), arena);
  const made = { words: new Uint32Array(memory.buffer), bytes: new Uint8Array(memory.buffer), compress, inPlace };
  made.bytes.set(turned(16), AT.turn16);
  made.bytes.set(turned(24), AT.turn24);
  engines[turns].set(arena ?? COPIES, made);
  return made;
}

/** How bytes of a word are turned: by numbers that lie in a register, or as what has no such instruction does it, which takes a quarter longer. */
export type Turns = "swizzled" | "shuffled";

let chosen: { readonly turns: Turns | undefined } | undefined;

/** The best that this machine's WebAssembly has; undefined where it has no vectors. */
function turnsOfMachine(): Turns | undefined {
  chosen ??= { turns: (["swizzled", "shuffled"] as const).find((turns) => canRun(moduleFor(false, turns))) };
  return chosen.turns;
}

function moduleFor(hasArena: boolean, turns: Turns): Uint8Array<ArrayBuffer> {
  const own = hasArena ? 1 : 0;
  const locals = ["i32", ...Array.from({ length: 19 }, () => "v128" as const)] as const;
  const compress = { name: "compress", parameters: ["i32", "i32", "i32"], locals, body: compressBody(own, own, turns) } as const;
  const inPlace = { ...compress, name: "inPlace", body: compressBody(own, 0, turns) };
  return assemble({ functions: hasArena ? [compress, inPlace] : [compress], pages: PAGES, hasArena });
}

/** Of a vector whose halves are turned right by so many bits, which byte of it comes where. */
function turned(bits: number): readonly number[] {
  return Array.from({ length: 16 }, (_, i) => (i & 8) | ((i + bits / 8) & 7));
}

/** compress(blocks, first, second): RFC 7693, section 3.2, with its state in memory `own` and the messages in memory `data`. */
function compressBody(own: number, data: number, turns: Turns): Code {
  const [blocks, messages, at, v, spare, order16, order24] = [0, [1, 2] as const, 3, (i: number) => 4 + i, 20, 21, 22];
  const atZero = i32(0);
  const load = (from: number): Code => [...atZero, ...V128.load(from, own)];
  const store = (to: number, value: Code): Code => [...atZero, ...value, ...V128.store(to, own)];
  const word = (i: number): Code => load(AT.block + 16 * i);
  const xor = (a: Code, b: Code): Code => [...a, ...b, ...V128.xor];

  const pairWords = (i: number): Code => [
    ...[0, 1].flatMap((lane) => [...get(messages[lane as 0 | 1]), ...get(at), ...I32.add, ...V128.load(16 * i, data), ...set(v(lane))]),
    ...store(AT.block + 32 * i, [...get(v(0)), ...get(v(1)), ...V128.shuffle([0, 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 19, 20, 21, 22, 23])]),
    ...store(AT.block + 32 * i + 16, [...get(v(0)), ...get(v(1)), ...V128.shuffle([8, 9, 10, 11, 12, 13, 14, 15, 24, 25, 26, 27, 28, 29, 30, 31])]),
  ];
  const sum = (to: number, by: Code): Code => [...get(to), ...by, ...V128.add64, ...set(to)];
  /** to = (to ^ by) >>> bits, whole bytes of it. */
  const turn = (to: number, by: number, bits: number): Code => [
    ...[...get(to), ...get(by), ...V128.xor, ...set(spare)],
    ...[...get(spare), ...get(spare), ...V128.shuffle(turned(bits)), ...set(to)],
  ];
  const swizzle = (to: number, by: number, order: number): Code => [...get(to), ...get(by), ...V128.xor, ...get(order), ...V128.swizzle, ...set(to)];
  const turnBy63 = (to: number, by: number): Code => [
    ...[...get(to), ...get(by), ...V128.xor, ...set(spare)],
    ...[...get(spare), ...get(spare), ...V128.add64, ...get(spare), ...i32(63), ...V128.shiftRight64, ...V128.or, ...set(to)],
  ];
  /** By shifts, which take fewer instructions than a shuffle in no order that the processor knows. */
  const shift24 = (to: number, by: number): Code => [
    ...[...get(to), ...get(by), ...V128.xor, ...set(spare)],
    ...[...get(spare), ...i32(24), ...V128.shiftRight64, ...get(spare), ...i32(40), ...V128.shiftLeft64, ...V128.or, ...set(to)],
  ];
  const turnBy16 = (to: number, by: number): Code => (turns === "swizzled" ? swizzle(to, by, order16) : turn(to, by, 16));
  const turnBy24 = (to: number, by: number): Code => (turns === "swizzled" ? swizzle(to, by, order24) : shift24(to, by));
  const mix = (a: number, b: number, c: number, d: number, x: number, y: number): Code => [
    ...[...sum(a, [...get(b), ...word(x), ...V128.add64]), ...turn(d, a, 32), ...sum(c, get(d)), ...turnBy24(b, c)],
    ...[...sum(a, [...get(b), ...word(y), ...V128.add64]), ...turnBy16(d, a), ...sum(c, get(d)), ...turnBy63(b, c)],
  ];
  const columns = [
    ...[...[0, 1, 2, 3].map((i) => [i, 4 + i, 8 + i, 12 + i] as const)],
    ...[...[0, 1, 2, 3].map((i) => [i, 4 + ((i + 1) & 3), 8 + ((i + 2) & 3), 12 + ((i + 3) & 3)] as const)],
  ];
  const round = (sigma: readonly number[]): Code => columns.flatMap(([a, b, c, d], i) => mix(v(a), v(b), v(c), v(d), sigma[2 * i] ?? 0, sigma[2 * i + 1] ?? 0));
  const first = (i: number): Code => {
    if (i < 8) return load(AT.state + 16 * i);
    const constant = V128.constant(IV[i - 8] ?? 0n);
    return i === 12 ? xor(constant, load(AT.count)) : i === 14 ? xor(constant, load(AT.last)) : constant;
  };
  const eight = [0, 1, 2, 3, 4, 5, 6, 7];
  const perBlock: Code = [
    ...eight.flatMap(pairWords),
    ...store(AT.count, [...load(AT.count), ...load(AT.step), ...V128.add64]),
    ...[...eight, ...eight.map((i) => 8 + i)].flatMap((i) => [...first(i), ...set(v(i))]),
    ...Array.from({ length: ROUNDS }, (_, i) => round(SIGMA[i % SIGMA.length] ?? [])).flat(),
    ...eight.flatMap((i) => store(AT.state + 16 * i, xor(load(AT.state + 16 * i), xor(get(v(i)), get(v(8 + i)))))),
    ...[...get(at), ...i32(BLOCK_BYTES), ...I32.add, ...set(at)],
    ...[...get(blocks), ...i32(1), ...I32.subtract, ...set(blocks), ...get(blocks), ...againIf],
  ];
  return [...load(AT.turn16), ...set(order16), ...load(AT.turn24), ...set(order24), ...loop(perBlock)];
}
