import { VirtualClock } from "@drayage/base/testing";
import { describe, expect, it } from "vitest";
import { steadyAgeMs } from "./steady-age.ts";

describe("steadyAgeMs()", () => {
  it("counts from the first look, each thing by itself and each process by itself", async () => {
    const [one, other] = [new VirtualClock(), new VirtualClock()];
    expect(steadyAgeMs(one, "a")).toBe(0);
    await one.advance(2_000);
    expect(steadyAgeMs(one, "b")).toBe(0);
    expect(steadyAgeMs(other, "a")).toBe(0);
    await one.advance(3_000);
    expect(steadyAgeMs(one, "a")).toBe(5_000);
    expect(steadyAgeMs(one, "b")).toBe(3_000);
  });

  it("forgets the oldest of very many", async () => {
    const clock = new VirtualClock();
    steadyAgeMs(clock, "first");
    steadyAgeMs(clock, "second");
    await clock.advance(1_000);
    for (let count = 0; count < 9_999; count++) steadyAgeMs(clock, `thing ${count}`);
    expect(steadyAgeMs(clock, "second")).toBe(1_000);
    expect(steadyAgeMs(clock, "first")).toBe(0);
  });
});
