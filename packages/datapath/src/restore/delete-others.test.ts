import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Clock, systemClock } from "@drayage/base";
import { afterEach, beforeEach, expect, it } from "vitest";
import { AnchoredDirectory } from "../anchored-directory.ts";
import { ProblemList } from "../entry-problems.ts";
import { Pacer } from "../pacer.ts";
import { FormerEntries, removalIn } from "./delete-others.ts";

let target: string;
let directory: AnchoredDirectory;
let warnings: ProblemList;
beforeEach(() => {
  warnings = new ProblemList();
  target = mkdtempSync(join(tmpdir(), "delete-others-"));
  directory = AnchoredDirectory.open(target);
});
afterEach(() => {
  directory.close();
  rmSync(target, { recursive: true, force: true });
});

/** Of a target in which every directory named "mounted" is another file system. */
const deviceOf = ({ path }: AnchoredDirectory): number => Number(path.split("/").includes("mounted"));
const left = (): string[] => readdirSync(target, { recursive: true, encoding: "utf8" }).sort();

it("leave alone what is mounted below, with what leads to it, and say so", async () => {
  for (const path of ["mounted", "deep/down/mounted", "deep/empty", "in-the-way/mounted"]) mkdirSync(join(target, path), { recursive: true });
  for (const path of ["mounted/a", "deep/down/mounted/a", "deep/down/file", "in-the-way/mounted/a", "in-the-way/file"]) writeFileSync(join(target, path), "");
  const removal = removalIn(directory, { pacer: new Pacer(systemClock, undefined), warnings }, deviceOf);
  const former = new FormerEntries(directory, { path: "", isRoot: true, removal });
  await former.keep("in-the-way", false);
  await former.removeOthers();
  expect(left()).toEqual([
    ...["deep", "deep/down", "deep/down/mounted", "deep/down/mounted/a"],
    ...["in-the-way", "in-the-way/mounted", "in-the-way/mounted/a", "mounted", "mounted/a"],
  ]);
  expect(warnings.kept.map(({ path }) => path).sort()).toEqual(["deep/down/mounted", "in-the-way/mounted", "mounted"]);
  expect(warnings.kept[0]?.message).toBe("nothing was removed from it: it is on another file system than the target");
});

it("take nothing from a directory of the snapshot that is itself mounted", async () => {
  mkdirSync(join(target, "mounted"));
  writeFileSync(join(target, "mounted", "a"), "");
  const removal = removalIn(directory, { pacer: new Pacer(systemClock, undefined), warnings }, deviceOf);
  const mounted = directory.openDirectory("mounted");
  await new FormerEntries(mounted, { path: "mounted", isRoot: false, removal }).removeOthers();
  mounted.close();
  expect(left()).toEqual(["mounted", "mounted/a"]);
});

it("stop between two entries when the restore is cancelled", async () => {
  mkdirSync(join(target, "many"));
  for (let index = 0; index < 300; index++) writeFileSync(join(target, "many", `${index}`), "");
  const stop = new AbortController();
  let looks = 0;
  // A turn is due at each look at the clock, and cancellation comes in one of the first.
  const clock: Clock = { ...systemClock, monotonicMs: () => looks++ * 1_000 };
  const pacer = new Pacer(clock, stop.signal);
  const removal = removalIn(directory, { pacer, warnings });
  const removed = new FormerEntries(directory, { path: "", isRoot: true, removal }).removeOthers();
  setImmediate(() => stop.abort(new Error("cancelled")));
  await expect(removed).rejects.toThrow("cancelled");
  expect(existsSync(join(target, "many"))).toBe(true);
  expect(left().length).toBeGreaterThan(200);
});
