import { describe, expect, it } from "vitest";
import { budgetTooSmall, defaultMemoryBytes } from "./memory-budget.ts";

const MIB = 1 << 20;

describe("memory that a process may take where nobody says", () => {
  it.each([
    ["no limit", 0, 352],
    ["the limit of one that has none", 2 ** 64, 352],
    ["much", 1024, 352],
    ["just enough", 400, 352],
    ["less than is usual", 300, 270],
    ["less than can be planned with", 128, 173],
  ])("is 352 MiB, less in a container that may take less, and never less than there has to be: %s", (_, containerMib, mib) => {
    expect(Math.round(defaultMemoryBytes(173 * MIB, containerMib * MIB) / MIB)).toBe(mib);
  });
});

describe("a budget that is too small", () => {
  it("is told with the least that would do", () => {
    const error = budgetTooSmall(100 * MIB, { leastBytes: 190.5 * MIB, what: "a restore" });
    expect(error).toMatchObject({ code: "USAGE", message: "Cannot keep to a memory budget of 100 MiB: 191 MiB is the least for a restore" });
    expect(error.hint).toBe("Give --memory-budget 191 or more.");
  });
});
