import { Readable } from "node:stream";
import { describe, expect, it } from "vitest";
import { BodyBudget, type RequestBody } from "./body-budget.ts";

const body = (parts: Iterable<string> | AsyncIterable<string>, headers: Readonly<Record<string, string>> = {}): RequestBody & Readable =>
  Object.assign(
    Readable.from(
      (async function* () {
        for await (const part of parts) yield Buffer.from(part);
      })(),
    ),
    { headers },
  ) as never;
/** Whether so many bytes are free: a body of them is taken. */
const takes = async (budget: BodyBudget, bytes: number): Promise<boolean> => (await budget.use(body(["x".repeat(bytes)]), async () => undefined)) === undefined;

describe("a budget of bodies", () => {
  it("gives a body in full, to the last byte that is allowed", async () => {
    const texts: string[] = [];
    const budget = new BodyBudget(6, 6);
    expect(await budget.use(body(["ab", "cd", "é"]), async (text) => void texts.push(text))).toBeUndefined();
    expect(texts).toEqual(["abcdé"]);
  });

  it("refuses by the length that is told without reading a byte", async () => {
    const untouched = body(["never"], { "content-length": "7" });
    expect(await new BodyBudget(6, 60).use(untouched, () => Promise.reject(new Error("worked on")))).toBe("tooLarge");
    expect(await new BodyBudget(10, 6).use(untouched, () => Promise.reject(new Error("worked on")))).toBe("busy");
    expect(untouched.readableDidRead).toBe(false);
  });

  it("stops reading at the byte that is too many, of one or of all, and leaves the connection to the answer", async () => {
    const long = body(["abcd", "efg", "h"], { "content-length": "1" });
    expect(await new BodyBudget(6, 60).use(long, () => Promise.reject(new Error("worked on")))).toBe("tooLarge");
    expect(long.destroyed).toBe(false);
    expect(await new BodyBudget(60, 6).use(body(["abcd", "efg"]), () => Promise.reject(new Error("worked on")))).toBe("busy");
  });

  it("counts what was read until the work on it is done, and not what was only promised", async () => {
    const budget = new BodyBudget(10, 10);
    const [begun, done] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const using = budget.use(body(["abcdef"]), () => {
      begun.resolve();
      return done.promise;
    });
    await begun.promise;
    expect([await takes(budget, 5), await takes(budget, 4)]).toEqual([false, true]);
    done.resolve();
    await using;
    const sendsNothing = budget.use(
      body(
        (async function* () {
          await new Promise(() => undefined);
          yield "";
        })(),
        { "content-length": "10" },
      ),
      async () => undefined,
    );
    expect(await takes(budget, 10)).toBe(true);
    void sendsNothing;
  });

  it("gets back what was refused, failed or broke off", async () => {
    const budget = new BodyBudget(10, 10);
    await budget.use(body(["abcdef", "ghijkl"]), async () => undefined);
    await expect(budget.use(body(["abcdef"]), () => Promise.reject(new Error("no use")))).rejects.toThrow("no use");
    const broken = (async function* () {
      yield "abcdef";
      throw new Error("it broke off");
    })();
    await expect(budget.use(body(broken), async () => undefined)).rejects.toThrow("it broke off");
    expect(await takes(budget, 10)).toBe(true);
  });
});
