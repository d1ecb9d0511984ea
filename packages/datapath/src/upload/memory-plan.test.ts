import { sessionBytes } from "@drayage/repo";
import { describe, expect, it } from "vitest";
import { type MemoryNeeds, planMemory } from "./memory-plan.ts";

const MIB = 1 << 20;
/** Those of the usual repository. */
const usual: Omit<MemoryNeeds, "budgetBytes"> = { threadsWanted: 8, maxChunkBytes: 8 * MIB, packBufferBytes: 28.2 * MIB, packsAheadMax: 2 };
const least = 173;

describe("a plan of memory", () => {
  it("keeps buffers, threads and what is known of contents between two flushes within the budget, whatever it is", () => {
    for (let mib = least; mib < 2000; mib += 7) {
      const { threads, arenaBytes, packsAhead, sessionContents } = planMemory({ ...usual, budgetBytes: mib * MIB });
      const planned =
        Math.max(threads, 1) * (arenaBytes + usual.packBufferBytes) + threads * 16 * MIB + packsAhead * usual.packBufferBytes + sessionBytes(sessionContents);
      // What is left is for the program itself.
      expect([mib, mib - planned / MIB >= 90]).toEqual([mib, true]);
    }
  });

  it("has room to read ahead in the arenas where the budget holds it, and no fewer threads for it", () => {
    for (let mib = least; mib < 600; mib += 7) {
      const needs = { ...usual, threadsWanted: 2, budgetBytes: mib * MIB };
      const [plain, ahead] = [planMemory(needs), planMemory({ ...needs, readAheadBytes: 8 * MIB })];
      expect([0, 8 * MIB]).toContain(ahead.arenaBytes - plain.arenaBytes);
      expect(ahead.threads).toBe(plain.threads);
    }
    expect(planMemory({ ...usual, threadsWanted: 2, budgetBytes: 352 * MIB, readAheadBytes: 8 * MIB }).arenaBytes).toBe(36 * MIB);
  });

  it("flushes more often where there is little memory, and says the least that will do", () => {
    const { threads, sessionContents } = planMemory({ ...usual, threadsWanted: 2, budgetBytes: 352 * MIB });
    expect(threads).toBe(2);
    expect(planMemory({ ...usual, budgetBytes: 192 * MIB }).sessionContents).toBeLessThan(sessionContents);
    expect(() => planMemory({ ...usual, budgetBytes: (least - 1) * MIB })).toThrow(
      `Cannot keep to a memory budget of ${least - 1} MiB: ${least} MiB is the least for this repository`,
    );
    expect(planMemory({ ...usual, budgetBytes: least * MIB }).threads).toBe(0);
  });
});
