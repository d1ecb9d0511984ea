import { ASIDE, type BatchFiles, comparedMemory, type DirectoryCall } from "@drayage/kernels";
import { describe, expect, it } from "vitest";
import { ComparisonsAside } from "./comparisons-aside.ts";

const callOf = (name: string): DirectoryCall => [
  3,
  Buffer.from(name),
  { attributes: false, avoid: Buffer.alloc(0) },
  Buffer.from("listing"),
  17,
  comparedMemory(1, 17),
];

/** Comparisons of which a thread makes those that the test says. */
class Threads {
  readonly made: string[] = [];
  readonly all: ComparisonsAside;
  #states: Int32Array = new Int32Array(0);
  #end: () => void = () => undefined;
  threads = 0;

  constructor(names: readonly string[], threads = 1) {
    const files = {
      compareDirectory: (...[, name]: DirectoryCall) => {
        this.made.push(Buffer.from(name).toString());
        return !Buffer.from(name).toString().startsWith("odd");
      },
      compareDirectoriesAside: (_calls: readonly DirectoryCall[], states: Int32Array) => {
        this.threads++;
        this.#states = states;
        return new Promise<void>((resolve) => {
          this.#end = resolve;
        });
      },
    };
    this.all = new ComparisonsAside(files as unknown as BatchFiles, names.map(callOf), threads);
  }

  begin(i: number): void {
    expect(Atomics.compareExchange(this.#states, i, ASIDE.waits, ASIDE.begun)).toBe(ASIDE.waits);
  }

  end(i: number, state: number = ASIDE.told): void {
    Atomics.store(this.#states, i, state);
  }

  endThread(): void {
    this.#end();
  }
}

describe("comparisons beside the walk", () => {
  it("are made by the walk where nobody has begun them, each once", async () => {
    const threads = new Threads(["a", "odd", "c"]);
    expect([await threads.all.isTold(0), await threads.all.isTold(1), await threads.all.isTold(2)]).toEqual([true, false, true]);
    expect([await threads.all.isTold(0), await threads.all.isTold(1)]).toEqual([true, false]);
    expect(threads.made).toEqual(["a", "odd", "c"]);
  });

  it("are waited for while another thread makes one, and those behind it are made meanwhile", async () => {
    const threads = new Threads(["a", "b", "c", "d"]);
    threads.begin(0);
    threads.begin(1);
    const first = threads.all.isTold(0);
    expect(threads.made).toEqual(["d", "c"]);
    threads.end(0);
    threads.end(1, ASIDE.notTold);
    threads.endThread();
    expect([await first, await threads.all.isTold(1), await threads.all.isTold(2), await threads.all.isTold(3)]).toEqual([true, false, true, true]);
    expect(threads.made).toEqual(["d", "c"]);
  });

  it("that nobody wants are not begun any more, or leave their descriptor", async () => {
    const threads = new Threads(["a", "b"]);
    threads.begin(1);
    expect(await threads.all.drop(0)).toBe(-1);
    expect(() => threads.begin(0)).toThrow();
    const dropped = threads.all.drop(1);
    threads.end(1);
    threads.endThread();
    // No descriptor was found, as in the memory of a call that made nothing.
    expect(await dropped).toBe(0);
    expect(threads.made).toEqual([]);
  });

  it("have no more threads than calls", () => {
    expect(new Threads(["a", "b"], 7).threads).toBe(2);
  });
});
