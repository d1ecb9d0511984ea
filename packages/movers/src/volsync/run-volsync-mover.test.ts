import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseVolSyncResult, type VolSyncRequest } from "@drayage/api";
import { nullLogger, systemClock } from "@drayage/base";
import { seededRandom } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keepOptions } from "./back-up-with-restic.ts";
import { chooseByTime } from "./choose-snapshot.ts";
import { storageUrlOf } from "./repository-secret.ts";
import { runVolSyncMover } from "./run-volsync-mover.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-volsync-mover-"));
  for (const name of ["data", "cache", "repository", "customCa", "store"]) mkdirSync(join(folder, name));
  writeFileSync(join(folder, "data", "file"), "content");
  writeFileSync(join(folder, "repository", "RESTIC_REPOSITORY"), join(folder, "store"));
  writeFileSync(join(folder, "repository", "RESTIC_PASSWORD"), "geheim");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const backup: VolSyncRequest = { operation: "backup", format: "restic", identity: "data@shop", retain: {}, prune: false, unlock: false };

/** A program in restic's place that answers by its first word that is no option's value. */
function standIn(script: string): string {
  const path = join(folder, "restic");
  writeFileSync(path, `#!/bin/sh\necho "$@" >> ${folder}/calls\nenv >> ${folder}/environment\n${script}\n`, { mode: 0o755 });
  return path;
}

async function run(request: VolSyncRequest, program: string): Promise<{ code: number; message: string; logs: string }> {
  const path = (name: string): string => join(folder, name);
  const code = await runVolSyncMover({
    ...{ clock: systemClock, random: seededRandom(1), logger: nullLogger, signal: new AbortController().signal },
    env: { DRAYAGE_VOLSYNC_REQUEST: JSON.stringify(request), DRAYAGE_RESTIC: program, PATH: "/usr/bin:/bin", NODE_OPTIONS: "--none-of-its-business" },
    terminationLogPath: path("message"),
    paths: { data: path("data"), cache: path("cache"), repository: path("repository"), customCa: path("customCa") },
  });
  const { message, logs } = parseVolSyncResult(readFileSync(path("message"), "utf8"));
  return { code, message, logs };
}

describe("a backup with restic", () => {
  it("makes a repository where there is none, and gives the password to the child's environment alone", async () => {
    writeFileSync(join(folder, "repository", "LD_PRELOAD"), "/evil.so");
    const { code } = await run({ ...backup, prune: true }, standIn('case "$*" in *"cat config"*) exit 10;; esac'));
    expect(code).toBe(0);
    const calls = readFileSync(join(folder, "calls"), "utf8");
    const words = calls.split("\n").map((line) => line.replace(/^--cache-dir \S+ /, ""));
    expect(words.slice(0, 5)).toEqual([
      "cat config --no-lock",
      "init",
      "backup --host volsync --exclude lost+found .",
      "forget --host volsync --keep-last 1",
      "prune",
    ]);
    expect(calls).not.toContain("geheim");
    const environment = readFileSync(join(folder, "environment"), "utf8");
    expect(environment).toContain("RESTIC_PASSWORD=geheim");
    expect(environment).not.toMatch(/LD_PRELOAD|NODE_OPTIONS/);
  });

  it.each([
    ["a wrong password, which somebody must set right", 'case "$*" in *"cat config"*) exit 12;; esac', 3, "the password is that of none of its keys"],
    [
      "files that cannot be read, which the repository lacks",
      'case "$*" in *backup*) echo "cannot read x"; exit 3;; esac',
      3,
      "some files could not be read: cannot read x",
    ],
    ["trouble with the store, which may pass", 'case "$*" in *backup*) echo "connection refused"; exit 1;; esac', 1, "restic ended with 1: connection refused"],
  ])("tells of %s", async (_, script, exitCode, words) => {
    const { code, message } = await run(backup, standIn(script));
    expect([code, message]).toEqual([exitCode, expect.stringContaining(words)]);
  });

  it("tells how much there was and what became of it, whatever else restic says of snapshots and packs", async () => {
    const said = 'case "$*" in *backup*) echo "processed 25 files, 36.658 MiB in 0:12"; echo "snapshot 1a2b3c4d saved";; *forget*) seq 1000;; esac';
    expect((await run({ ...backup, prune: true }, standIn(said))).logs).toBe("processed 25 files, 36.658 MiB in 0:12\nsnapshot 1a2b3c4d saved");
    expect((await run(backup, standIn("echo 12"))).logs).toBe("The volume was backed up");
  });

  it("has restic trust the CA that is given, and unlocks when it is asked to", async () => {
    writeFileSync(join(folder, "customCa", "ca.crt"), "PEM");
    expect((await run({ ...backup, unlock: true }, standIn(""))).code).toBe(0);
    const calls = readFileSync(join(folder, "calls"), "utf8").trim().split("\n");
    expect(calls.every((call) => call.includes(`--cacert ${join(folder, "customCa", "ca.crt")}`))).toBe(true);
    expect(calls[1]).toMatch(/ unlock$/);
  });

  it("removes a stale lock once that keeps it from forgetting", async () => {
    const program = standIn(`case "$*" in *unlock*) touch ${folder}/unlocked;; *forget*) [ -e ${folder}/unlocked ] || exit 11;; esac`);
    expect((await run(backup, program)).code).toBe(0);
  });

  it("says what to do when the image has no restic", async () => {
    const { code, message } = await run(backup, join(folder, "nothing"));
    expect(code).toBe(3);
    expect(message).toContain("the image has no program");
    expect(message).toContain("drayage.io/repository-format: kopia");
  });

  it("skips a volume with nothing in it, and says so", async () => {
    rmSync(join(folder, "data", "file"));
    mkdirSync(join(folder, "data", "lost+found"));
    expect(await run(backup, "never")).toMatchObject({ code: 0, message: "Nothing was backed up: the volume is empty" });
  });

  it("names the key that the Secret lacks", async () => {
    rmSync(join(folder, "repository", "RESTIC_PASSWORD"));
    expect(await run(backup, "never")).toMatchObject({ code: 3, message: expect.stringContaining('has no key "RESTIC_PASSWORD"') as string });
  });
});

it("keeps a volume in Kopia's format, and fills one from there", async () => {
  expect(await run({ ...backup, format: "kopia" }, "never")).toMatchObject({ code: 0, message: expect.stringMatching(/^Snapshot \S+ of 7 bytes$/) as string });
  rmSync(join(folder, "data", "file"));
  expect((await run({ operation: "restore", format: "kopia", previous: 0 }, "never")).message).toContain("1 files, 7 bytes");
  expect(readFileSync(join(folder, "data", "file"), "utf8")).toBe("content");
});

it("has a volume hold nothing but what the snapshot holds where that is wanted, and leaves it alone where there is no snapshot", async () => {
  await run({ ...backup, format: "kopia" }, "never");
  writeFileSync(join(folder, "data", "other"), "of later");
  await run({ operation: "restore", format: "kopia", previous: 1, deleteOthers: true }, "never");
  await run({ operation: "restore", format: "kopia", previous: 0 }, "never");
  expect(readdirSync(join(folder, "data"))).toEqual(["file", "other"]);
  await run({ operation: "restore", format: "kopia", previous: 0, deleteOthers: true }, "never");
  expect(readdirSync(join(folder, "data"))).toEqual(["file"]);
});

it("leaves a volume as it is where there is no repository yet", async () => {
  const { code, message } = await run({ operation: "restore", format: "restic", previous: 0 }, "never");
  expect(code).toBe(0);
  expect(message).toContain("Nothing was restored: there is no repository yet");
});

it("asks restic to keep what retain says", () => {
  expect(keepOptions({ hourly: 6, within: "3d", last: "2", daily: 0 })).toEqual(["--keep-last", "2", "--keep-hourly", "6", "--keep-within", "3d"]);
  expect(keepOptions({ weekly: 4, monthly: 5, yearly: 6, daily: 3 }).join(" ")).toBe("--keep-daily 3 --keep-weekly 4 --keep-monthly 5 --keep-yearly 6");
});

it.each([
  ["s3:https://minio.example:9000/bucket/some/path", "s3://bucket/some/path?endpoint=https%3A%2F%2Fminio.example%3A9000&pathStyle=true"],
  ["s3:s3.amazonaws.com/bucket/path", "s3://bucket/path"],
  ["gs:bucket:/path/", "gs://bucket/path"],
  ["azure:container:/", "azure://container"],
  ["/srv/repository", "file:///srv/repository"],
])("reads %s where restic does", (address, url) => {
  expect(storageUrlOf({ address })).toBe(url);
});

it("does not show the password of an address that it cannot read", () => {
  expect(() => storageUrlOf({ address: "rest:https://user:geheim@host/" })).toThrow(/^(?!.*geheim).*rest:/s);
});

it.each([
  ["the newest", {}, 3000],
  ["the one before", { previous: 1 }, 2500],
  ["one of that second", { restoreAsOf: "1970-01-01T00:00:02Z" }, 2500],
  ["none when there are not so many", { previous: 3 }, undefined],
])("chooses %s", (_, request, chosen) => {
  expect(chooseByTime([1000, 2500, 3000], (time) => time, { previous: 0, ...request })).toBe(chosen);
});
