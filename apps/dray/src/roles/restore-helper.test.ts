import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";
import { waitForVolumes } from "./restore-helper.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "restore-helper-"));
});
afterEach(() => rmSync(root, { recursive: true }));

const fill = (volume: string, restore: string): void => {
  mkdirSync(join(root, volume, ".velero"), { recursive: true });
  writeFileSync(join(root, volume, ".velero", restore), "");
};

it("the helper ends when every volume has the mark of this very restore, and says what it waits for", async () => {
  const terminal = new RecordingTerminal();
  for (const volume of ["a", "b"]) mkdirSync(join(root, volume));
  fill("a", "of-an-earlier-one");
  let ended = false;
  const waiting = waitForVolumes(root, "r-1", terminal).then(() => {
    ended = true;
  });
  /** It has looked, and waits before it looks again, or has ended. */
  const hasLooked = () => vi.waitFor(() => expect(ended || terminal.clock.pending === 1).toBe(true), { timeout: 20_000 });
  const looksAgain = async (): Promise<void> => {
    await terminal.clock.advance(1_000);
    await hasLooked();
  };
  await hasLooked();
  fill("a", "r-1");
  await looksAgain();
  expect(ended).toBe(false);
  fill("b", "r-1");
  await looksAgain();
  await waiting;
  expect(terminal.text).toBe("Waiting for a, b\nAll volumes are restored\n");
});

it("the helper waits no longer than its pod lives", async () => {
  const terminal = new RecordingTerminal();
  mkdirSync(join(root, "a"));
  const waiting = waitForVolumes(root, "r-1", terminal);
  terminal.abort.abort(new Error("the pod ends"));
  await expect(waiting).rejects.toThrow("the pod ends");
});

it("the helper refuses what is no UID", async () => expect(await run(["restore-helper", "../x"], new RecordingTerminal())).toBe(2));
