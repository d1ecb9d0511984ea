import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { identifyProcess } from "../kubelet/process-identity.ts";
import { ClusterDirectory } from "./cluster-directory.ts";
import { awaitRoles, findRole, reportState, roleState, rolesOf, startRole, stopRole } from "./role-process.ts";

let folder: string;
let directory: ClusterDirectory;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-roles-"));
  directory = ClusterDirectory.open(join(folder, "cluster"));
});
afterEach(async () => {
  for (const role of rolesOf(directory)) await stopRole(directory, role, { clock: systemClock, graceMs: 0 });
  rmSync(folder, { recursive: true, force: true });
});

const command = (script: string) => ({ command: process.execPath, args: ["-e", script], env: process.env });
const SLEEP = "setInterval(() => undefined, 1000)";

describe("ClusterDirectory", () => {
  it("keeps settings, and refuses those of another making", () => {
    directory.saveSettings({ schema: 1, id: "i", nodes: ["node-1"], apiPort: 1 });
    expect(ClusterDirectory.find(directory.path).settings()).toEqual({ schema: 1, id: "i", nodes: ["node-1"], apiPort: 1 });
    writeFileSync(directory.settingsPath, "{");
    expect(() => directory.settings()).toThrow(/is not one that this version writes/);
  });

  it("refuses a folder that holds something else, and finds only clusters", () => {
    mkdirSync(join(folder, "other"));
    writeFileSync(join(folder, "other", "x"), "");
    expect(() => ClusterDirectory.open(join(folder, "other"))).toThrow(/holds "x" and is not a cluster's/);
    expect(() => ClusterDirectory.find(join(folder, "nowhere"))).toThrow(/there is no cluster.json/);
  });

  it("is locked by one process at a time, not by one that is dead", () => {
    const unlock = directory.lock();
    expect(() => directory.lock()).toThrow(/process \d+ is doing so/);
    unlock();
    writeFileSync(join(directory.path, "lock"), JSON.stringify({ pid: process.pid, startTicks: "1" }));
    directory.lock()();
    writeFileSync(join(directory.path, "lock"), "");
    directory.lock()();
  });

  it("makes a secret once, for nobody else to read", () => {
    const random = seededRandom(1);
    const key = directory.objectStoreKey(random);
    expect(directory.objectStoreKey(random)).toBe(key);
    expect(readFileSync(join(directory.path, "object-store-key"), "utf8").trim()).toBe(key);
  });
});

describe("roles", () => {
  it("are started once, found again and ended", async () => {
    const first = startRole(directory, "a", command(SLEEP));
    expect(startRole(directory, "a", command(SLEEP))).toEqual(first);
    expect([findRole(directory, "a"), rolesOf(directory)]).toEqual([first, ["a"]]);
    expect(await stopRole(directory, "a", { clock: systemClock, graceMs: 5_000 })).toBe(true);
    expect([findRole(directory, "a"), rolesOf(directory), identifyProcess(first.pid)]).toEqual([undefined, [], undefined]);
    expect(await stopRole(directory, "a", { clock: systemClock, graceMs: 0 })).toBe(false);
  });

  it("are killed when they do not end in time", async () => {
    const { pid } = startRole(directory, "a", command(`process.on("SIGTERM", () => undefined); require("fs").writeFileSync("deaf", ""); ${SLEEP}`));
    await expect.poll(() => rolesOf(directory).length === 1 && readFileSync(join(directory.path, "deaf"), "utf8")).toBe("");
    await stopRole(directory, "a", { clock: systemClock, graceMs: 50 });
    await expect.poll(() => identifyProcess(pid)).toBeUndefined();
  });

  it("are never mistaken for a later process of the same number", async () => {
    startRole(directory, "a", command(SLEEP));
    await stopRole(directory, "a", { clock: systemClock, graceMs: 5_000 });
    writeFileSync(join(directory.runFolder, "a.json"), JSON.stringify({ pid: process.pid, startTicks: "1" }));
    expect(findRole(directory, "a")).toBeUndefined();
    expect(await stopRole(directory, "a", { clock: systemClock, graceMs: 0 })).toBe(false);
  });

  it("are waited for until they say that they are ready", async () => {
    startRole(directory, "a", command(SLEEP));
    const waiting = awaitRoles(directory, ["a"], { clock: systemClock, timeoutMs: 10_000 });
    reportState(directory, "a", { state: "ready", facts: { port: 7 } });
    expect(await waiting).toEqual(new Map([["a", { port: 7 }]]));
  });

  it("fail with what they say, with the end of their log, or by being late", async () => {
    startRole(directory, "a", command(SLEEP));
    reportState(directory, "a", { state: "failed", message: "no luck", hint: "try again" });
    await expect(awaitRoles(directory, ["a"], { clock: systemClock, timeoutMs: 10_000 })).rejects.toMatchObject({
      message: expect.stringContaining("a: no luck"),
      hint: "try again",
    });
    startRole(directory, "b", command("process.stderr.write('last words\\n'); process.exitCode = 1"));
    await expect(awaitRoles(directory, ["b"], { clock: systemClock, timeoutMs: 10_000 })).rejects.toThrow(/its process has ended: .*last words/);
    startRole(directory, "c", command(SLEEP));
    await expect(awaitRoles(directory, ["c"], { clock: systemClock, timeoutMs: 0 })).rejects.toMatchObject({
      code: "TIMED_OUT",
      hint: expect.stringContaining("c.log"),
    });
    expect(roleState(directory, "c")).toEqual({ state: "starting" });
  });

  it("are not waited for once the caller has lost interest", async () => {
    startRole(directory, "a", command(SLEEP));
    await expect(awaitRoles(directory, ["a"], { clock: systemClock, timeoutMs: 10_000, signal: AbortSignal.abort(new Error("enough")) })).rejects.toThrow(
      "enough",
    );
  });
});
