import { describe, expect, it } from "vitest";
import { Slots } from "./slots.ts";

describe("slots", () => {
  it("count what the cluster shows and what is being started, each once", async () => {
    const running = new Set<string>();
    const slots = new Slots(2, () => running);
    expect(await slots.take("a", async () => undefined)).toBe(true);
    running.add("a");
    expect(await slots.take("b", async () => undefined)).toBe(true);
    expect(await slots.take("c", async () => undefined)).toBe(false);
    expect(slots.isFree("b")).toBe(true);
    running.add("b");
    slots.seen("a");
    slots.seen("b");
    running.delete("a");
    expect(slots.isFree("c")).toBe(true);
  });

  it("give a place back when the start could not be written", async () => {
    const slots = new Slots(1, () => new Set());
    const refused = slots.take("a", () => Promise.reject(new Error("conflict")));
    await expect(refused).rejects.toThrow("conflict");
    expect(slots.isFree("b")).toBe(true);
  });
});
