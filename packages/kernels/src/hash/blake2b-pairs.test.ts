import { toHex } from "@drayage/base";
import fc from "fast-check";
import { createBLAKE2b } from "hash-wasm";
import { describe, expect, it } from "vitest";
import { systemCalls } from "../system/system-calls.ts";
import { ctr, sequence } from "../testing/index.ts";
import { type Blake2bPairs, createBlake2bPairs, type Turns } from "./blake2b-pairs.ts";

const BYTES = 1 << 16;
const ordinary = ctr(BYTES);
const arena = systemCalls.alignedBuffer(BYTES);
arena.set(ordinary);

function bound(keyBytes: number, turns?: Turns): Blake2bPairs {
  const pairs = createBlake2bPairs(sequence(0, keyBytes), turns);
  if (pairs === undefined) throw new Error("WebAssembly has no vectors here");
  return pairs;
}

function digests(pairs: Blake2bPairs, messages: readonly Uint8Array[], place?: ArrayBufferLike): string[] {
  const found = messages.map(() => "none");
  pairs(
    messages.length,
    (i) => messages[i] as Uint8Array,
    (i, digest) => {
      found[i] = toHex(digest);
    },
    place,
  );
  return found;
}

describe.for(["swizzled", "shuffled"] as const)("BLAKE2b in pairs, %s", (turns) => {
  it("gives what one by one gives, for messages of any length and in any number, in an arena and elsewhere", async () => {
    const length = fc.oneof(fc.constantFrom(0, 1, 127, 128, 129, 255, 256, 257, 32_768, 32_769), fc.nat(BYTES / 2));
    const ranges = fc.array(fc.tuple(fc.nat(BYTES / 2), length), { maxLength: 12 });
    for (const keyBytes of [1, 32, 64]) {
      const pairs = bound(keyBytes, turns);
      const plain = await createBLAKE2b(256, sequence(0, keyBytes));
      fc.assert(
        fc.property(ranges, (chosen) => {
          const messagesOf = (data: Uint8Array): Uint8Array[] => chosen.map(([start, bytes]) => data.subarray(start, start + bytes));
          const wanted = messagesOf(ordinary).map((message) => plain.init().update(message).digest());
          expect(digests(pairs, messagesOf(ordinary))).toEqual(wanted);
          expect(digests(pairs, messagesOf(ordinary), ordinary.buffer)).toEqual(wanted);
          expect(digests(pairs, messagesOf(arena), arena.buffer)).toEqual(wanted);
        }),
        { numRuns: 30 },
      );
    }
  });

  it("goes through an arena to its last byte, beside a message that ends long before", async () => {
    const large = systemCalls.alignedBuffer(3 << 20);
    large.fill(7);
    const plain = await createBLAKE2b(256, sequence(0, 32));
    const messages = [large.subarray(100), large.subarray(large.length - 200), large.subarray(0, 5)];
    expect(digests(bound(32, turns), messages, large.buffer)).toEqual(messages.map((message) => plain.init().update(message).digest()));
  });

  it("keeps apart two that are bound to different keys", () => {
    const [one, other] = [bound(32, turns), bound(33, turns)];
    const before = digests(one, [ordinary]);
    expect(digests(other, [ordinary])).not.toEqual(before);
    expect(digests(one, [ordinary])).toEqual(before);
  });
});
