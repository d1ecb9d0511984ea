/** The demo as a user runs it: a process of its own, on a small directory, to its last line; after it nothing is left. */
import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { programEntry } from "../program.ts";

interface Summary {
  readonly type: string;
  readonly ok: boolean;
  readonly checks: readonly { readonly what: string; readonly count: number; readonly differences?: number }[];
  readonly volumes: readonly { readonly backup: string; readonly volume: string; readonly totalBytes: number; readonly incrementalBytes: number }[];
}

let folder = "";
let data = "";
let temporary = "";

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "demo-test-"));
  data = join(folder, "data");
  temporary = join(folder, "tmp");
  mkdirSync(join(data, "below", "deep"), { recursive: true });
  mkdirSync(temporary);
  for (let file = 0; file < 50; file++) writeFileSync(join(data, "below", `file ${file}`), Buffer.alloc(10_000 + file, file));
  writeFileSync(join(data, "below", "deep", "grüße 🚢"), "hello");
  symlinkSync("below/file 1", join(data, "link"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function runDemo(): Promise<{ code: number | null; out: string; err: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [programEntry, "demo", "--json", "--data", data], {
      env: { ...process.env, TMPDIR: temporary },
    });
    let out = "";
    let err = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      out += text;
    });
    child.stderr.setEncoding("utf8").on("data", (text: string) => {
      err += text;
    });
    child.once("error", reject);
    child.once("close", (code) => resolve({ code, out, err }));
  });
}

/** Command lines of processes that name this test's folder. */
function processesOf(path: string): string[] {
  return readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((pid) => {
      try {
        return [readFileSync(`/proc/${pid}/cmdline`, "utf8").replaceAll("\u0000", " ")];
      } catch {
        // Ended meanwhile.
        return [];
      }
    })
    .filter((line) => line.includes(path));
}

describe("dray demo", () => {
  it("brings a directory through the disaster, says so in its summary, and leaves nothing behind", async () => {
    const { code, out, err } = await runDemo();
    const events = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line) as Summary);
    const summary = events.at(-1);
    expect({ code, type: summary?.type, ok: summary?.ok }, err).toEqual({ code: 0, type: "summary", ok: true });
    const compared = Object.fromEntries((summary?.checks ?? []).map((check) => [check.what, check]));
    expect(compared["bytes"]).toMatchObject({ differences: 0 });
    expect(compared["bytes"]?.count).toBeGreaterThan(50);
    expect(compared["resources"]).toMatchObject({ count: 4, differences: 0 });
    const [first, second] = ["first", "second"].map((backup) => summary?.volumes.find((volume) => volume.backup === backup && volume.volume === "shop/files"));
    expect(first?.incrementalBytes).toBeGreaterThan(500_000);
    // The second backup moved the small change and no more: some 50 files of a few kilobytes, and the journal.
    expect(second?.incrementalBytes).toBeLessThan(first?.incrementalBytes ?? 0);
    expect(readdirSync(temporary)).toEqual([]);
    expect(processesOf(temporary)).toEqual([]);
    expect(readFileSync("/proc/mounts", "utf8")).not.toContain(temporary);
  });
});
