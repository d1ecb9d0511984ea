import { describe, expect, it } from "vitest";
import { JobTable } from "./jobs.ts";

const never = (signal: AbortSignal): Promise<void> =>
  new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(signal.reason), { once: true }));
const unexpected = (error: unknown): void => {
  throw error;
};

describe("JobTable", () => {
  it("runs one job a name, and knows it by the object's UID", () => {
    const jobs = new JobTable();
    let started = 0;
    for (const uid of ["1", "2"]) {
      jobs.start(
        "a",
        uid,
        (signal) => {
          started++;
          return never(signal);
        },
        unexpected,
      );
    }
    expect([started, jobs.size, jobs.has("a", "1"), jobs.has("a", "2")]).toEqual([1, 1, true, false]);
  });

  it("ends the job of an object that is gone, and not that of one that is there", async () => {
    const jobs = new JobTable();
    jobs.start("a", "1", never, unexpected);
    await jobs.cancelOthers("a", "1", "still there");
    expect(jobs.has("a", "1")).toBe(true);
    await jobs.cancelOthers("a", undefined, "deleted");
    expect(jobs.size).toBe(0);
  });

  it("tells when a place is free, also after a defect", async () => {
    const free: [string, number][] = [];
    const defects: unknown[] = [];
    const jobs: JobTable = new JobTable((name) => free.push([name, jobs.size]));
    jobs.start("a", "1", async () => undefined, unexpected);
    await jobs.idle();
    jobs.start(
      "b",
      "2",
      () => Promise.reject(new Error("oops")),
      (error) => defects.push(error),
    );
    await jobs.idle();
    expect(free).toEqual([
      ["a", 0],
      ["b", 0],
    ]);
    expect(defects).toHaveLength(1);
  });

  it("stops them all", async () => {
    const jobs = new JobTable();
    jobs.start("a", "1", never, unexpected);
    jobs.start("b", "2", never, unexpected);
    await jobs.stop();
    expect(jobs.size).toBe(0);
  });
});
