import { describe, expect, it } from "vitest";
import { budgetTooSmall, defaultMemoryBytes } from "./memory-budget.ts";

const MIB = 1 << 20;

describe("memory that a process may take where nobody says", () => {
  it("is 352 MiB, and less in a container that may not take as much", () => {
    expect([0, 2 ** 64, 1024 * MIB, 400 * MIB].map(defaultMemoryBytes).map((bytes) => Math.round(bytes / MIB))).toEqual([352, 352, 352, 352]);
    expect([300 * MIB, 128 * MIB].map(defaultMemoryBytes).map((bytes) => Math.round(bytes / MIB))).toEqual([270, 115]);
  });
});

describe("a budget that is too small", () => {
  const needs = { leastBytes: 190.5 * MIB, what: "a restore" };

  it("is told with the least that would do", () => {
    const error = budgetTooSmall(100 * MIB, needs, 0);
    expect(error).toMatchObject({ code: "USAGE", message: "Cannot keep to a memory budget of 100 MiB: 191 MiB is the least for a restore" });
    expect(error.hint).toBe("Give --memory-budget 191 or more.");
    expect(budgetTooSmall(100 * MIB, needs, 1024 * MIB).hint).toBe("Give --memory-budget 191 or more.");
  });

  it("is told with what the container needs where that is what keeps it small", () => {
    expect(budgetTooSmall(115 * MIB, needs, 128 * MIB).hint).toMatch(/^This container may take 128 MiB\. Let it take 212 MiB or more; /);
  });
});
