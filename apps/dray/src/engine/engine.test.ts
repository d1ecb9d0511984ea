import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { VirtualClock } from "@drayage/base/testing";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { run } from "../main.ts";
import { RecordingTerminal } from "../testing/recording-terminal.ts";

let folder: string;
let env: Record<string, string>;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dray-engine-"));
  env = { DRAY_REPOSITORY: `file://${folder}/repository`, DRAY_REPOSITORY_PASSWORD: "secret horse", DRAY_STATE_DIR: join(folder, "state") };
  mkdirSync(join(folder, "data", "sub"), { recursive: true });
  writeFileSync(join(folder, "data", "hello"), "hello, world\n", { mode: 0o640 });
  writeFileSync(join(folder, "data", "sub", "deep"), "deep");
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

/** Runs a command line; paths of this machine and ids are replaced by words, so that output can be compared. */
async function dray(line: string, more: { readonly env?: Record<string, string>; readonly input?: string; readonly clock?: VirtualClock } = {}) {
  const terminal = new RecordingTerminal({
    env: { ...env, ...more.env },
    cwd: folder,
    ...(more.clock === undefined ? {} : { clock: more.clock }),
    ...(more.input === undefined ? {} : { input: Buffer.from(more.input) }),
  });
  const exitCode = await run(line.split(" "), terminal);
  const plain = (text: string) => text.replaceAll(folder, "/folder").replaceAll(/\b[0-9a-f]{32}\b/g, "ID");
  return { exitCode, raw: terminal.text, out: plain(terminal.text), err: plain(terminal.errors) };
}

async function created(): Promise<string> {
  expect((await dray("repo create")).exitCode).toBe(0);
  const { raw, exitCode } = await dray("snapshot create data --source user@host:/data --tag env=test");
  expect(exitCode).toBe(0);
  return /Created snapshot ([0-9a-f]{32})\n$/.exec(raw)?.[1] ?? "";
}

describe("repositories", () => {
  it("are created once", async () => {
    expect(await dray("repo create")).toMatchObject({
      exitCode: 0,
      out: "Created repository at file:///folder/repository\n  BLAKE2B-256-128, AES256-GCM-HMAC-SHA256, DYNAMIC-4M-BUZHASH, format version 3\n",
    });
    expect(await dray("repo create")).toMatchObject({
      exitCode: 1,
      err: 'dray: Cannot create repository at "file:///folder/repository": there is one already\n  hint: Open it instead, or choose another place.\n',
    });
  });

  it("are created with other choices, by Kopia's names", async () => {
    expect((await dray("repo create --block-hash BLAKE3-256 --encryption CHACHA20-POLY1305-HMAC-SHA256 --splitter FIXED-1M --format-version 2")).exitCode).toBe(
      0,
    );
    expect((await dray("repo status")).out).toContain("BLAKE3-256\nEncryption:  CHACHA20-POLY1305-HMAC-SHA256\nSplitter:    FIXED-1M\n");
  });

  it("are created with error correction where it may take something", async () => {
    expect((await dray("repo create --ecc REED-SOLOMON-CRC32 --ecc-overhead-percent 10")).exitCode).toBe(0);
    expect((await dray("repo status")).out).toMatch(/Correction: +REED-SOLOMON-CRC32, 10 %\n/);
    expect(await dray("repo create --ecc-overhead-percent 101 -r file:///folder/other")).toMatchObject({ exitCode: 2 });
  });

  it("are not created with a password that everybody knows, nor with a choice that nobody does", async () => {
    expect(await dray("repo create", { env: { DRAY_REPOSITORY_PASSWORD: "static-passw0rd" } })).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining("everybody knows it"),
    });
    expect(await dray("repo create --block-hash MD5")).toMatchObject({ exitCode: 1, err: expect.stringContaining('"MD5"') });
    expect(await dray("repo create --format-version x")).toMatchObject({
      exitCode: 2,
      err: 'dray: Cannot read --format-version "x": a whole number above 0 is wanted\n',
    });
  });

  it("ask for the right password: exit code 5, and the password is nowhere in what is said", async () => {
    await created();
    const wrong = await dray("snapshot list", { env: { DRAY_REPOSITORY_PASSWORD: "wrong horse" } });
    expect(wrong).toMatchObject({
      exitCode: 5,
      out: "",
      err: 'dray: Cannot open repository at "file:///folder/repository": the password does not match "kopia.repository"\n  hint: Check the password; the one of the installation that created the repository is needed.\n',
    });
    expect(wrong.err).not.toContain("horse");
  });

  it("take the password from a file or from standard input", async () => {
    await created();
    writeFileSync(join(folder, "password"), "secret horse\n");
    const without = { DRAY_REPOSITORY_PASSWORD: "" };
    expect((await dray(`repo status --password-file ${folder}/password`, { env: without })).exitCode).toBe(0);
    expect((await dray("repo status --password-file -", { env: without, input: "secret horse\n" })).exitCode).toBe(0);
    expect(await dray("repo status --password-file /nowhere", { env: without })).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining('Cannot read the password file "/nowhere"'),
    });
  });

  it("get another password", async () => {
    await created();
    expect((await dray("repo change-password", { env: { DRAY_NEW_REPOSITORY_PASSWORD: "new horse" } })).exitCode).toBe(0);
    expect((await dray("repo status")).exitCode).toBe(5);
    expect((await dray("repo verify", { env: { DRAY_REPOSITORY_PASSWORD: "new horse" } })).exitCode).toBe(0);
  });

  it.each([
    ["file://host/path", '"host" stands where no host can be'],
    ["ftp://host/path", '"ftp://" is not known'],
    ["nonsense", "it is no URL"],
    ["s3:///prefix", "the bucket is missing"],
    ["s3://bucket/p?colour=red", 'parameter "colour" is not known'],
    ["s3://bucket/p?pathStyle=yes", '"pathStyle" is "yes", true or false is wanted'],
    ["s3://key:secret@bucket/p", "it holds credentials"],
  ])("the URL %s is refused", async (url, why) => {
    const refused = await dray("repo status", { env: { DRAY_REPOSITORY: url } });
    expect(refused).toMatchObject({ exitCode: 2, err: expect.stringContaining(why) });
    expect(refused.err).not.toContain("secret@");
  });

  it("that are not there, or not named, are said to be so", async () => {
    expect(await dray("repo status")).toMatchObject({
      exitCode: 4,
      err: expect.stringContaining('Cannot use storage folder "/folder/repository": it is not there'),
    });
    mkdirSync(join(folder, "repository"));
    expect(await dray("repo status")).toMatchObject({
      exitCode: 4,
      err: expect.stringContaining('Cannot open repository at "file:///folder/repository": there is none'),
    });
    expect(await dray("repo status", { env: { DRAY_REPOSITORY: "" } })).toMatchObject({
      exitCode: 2,
      err: expect.stringContaining("neither --repository nor DRAY_REPOSITORY"),
    });
  });

  it("verify what they hold, and name what is damaged", async () => {
    const id = await created();
    expect(await dray("repo verify --full")).toMatchObject({
      exitCode: 0,
      out: expect.stringMatching(/^Verified \d+ contents in \d+ packs, and 2 files \(17 B\) of 1 snapshot to the last byte: no problems\n$/),
    });
    const packs = readdirSync(join(folder, "repository", "p"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".f"));
    truncateSync(join(folder, "repository", "p", packs[0] ?? ""), 10);
    const damaged = await dray("repo verify");
    expect(damaged.exitCode).toBe(1);
    expect(damaged.err).toContain("which has 10\n");
    expect(await dray(`snapshot restore ${id} out --keep-going`)).toMatchObject({ exitCode: 3, out: expect.stringContaining("2 could not be restored") });
  });
});

describe("a repository with error correction", () => {
  it("is whole when bytes are lost that it makes good; verification says that they were", async () => {
    await dray("repo create --ecc REED-SOLOMON-CRC32 --ecc-overhead-percent 10");
    expect((await dray("snapshot create data --source user@host:/data")).exitCode).toBe(0);
    const at = join(folder, "repository", "p");
    const [pack = ""] = readdirSync(at, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".f"));
    const bytes = readFileSync(join(at, pack));
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(join(at, pack), bytes);
    for (const line of ["repo verify --full", "snapshot verify --full"]) {
      const { exitCode, out, err } = await dray(line);
      expect([exitCode, out]).toEqual([0, expect.stringContaining("no problems")]);
      expect(err).toMatch(/^warning: repository: 1 damaged parts were put right by error correction/);
    }
  });
});

describe("snapshots", () => {
  it("are created, listed, shown, restored and deleted", async () => {
    const id = await created();
    const list = await dray("snapshot list");
    expect(list.out.split("\n")[0]).toMatch(/^ID +START \(UTC\) +SIZE +FILES +FAILED +STATE +SOURCE$/);
    expect(list.out).toContain("17 B");
    expect((await dray(`snapshot show ${id.slice(0, 8)}`)).out).toMatch(
      /^Snapshot: {4}ID\nSource: {6}user@host:\/data\nState: {7}complete\n[\s\S]*Tag: {9}env=test\n$/,
    );
    expect(await dray(`snapshot restore ${id} out --verify`)).toMatchObject({ exitCode: 0, out: "Restored 2 files (17 B) to out in 0.0 s\n", err: "" });
    expect(readFileSync(join(folder, "out", "hello"), "utf8")).toBe("hello, world\n");
    expect(statSync(join(folder, "out", "hello")).mode & 0o777).toBe(0o640);
    expect(await dray(`snapshot restore ${id} out`)).toMatchObject({ exitCode: 1, err: expect.stringContaining('Cannot restore to "/folder/out": it holds') });
    expect((await dray(`snapshot restore ${id}/sub part`)).exitCode).toBe(0);
    expect(readdirSync(join(folder, "part"))).toEqual(["deep"]);
    expect((await dray(`snapshot delete ${id}`)).out).toBe("Deleted snapshot ID\nIts space comes back with maintenance.\n");
    expect(await dray("snapshot list")).toMatchObject({ exitCode: 0, out: "", err: "No snapshots in file:///folder/repository.\n" });
  });

  it("are found as the latest, whatever their source", async () => {
    expect(await dray("repo create")).toMatchObject({ exitCode: 0 });
    expect(await dray("snapshot restore latest out")).toMatchObject({ exitCode: 4, err: expect.stringContaining('Cannot find snapshot "latest"') });
    const clock = new VirtualClock();
    await dray("snapshot create data/sub --source z@host:/first", { clock });
    await clock.advance(1_000);
    await dray("snapshot create data/sub --source a@host:/second", { clock });
    expect((await dray("snapshot show latest")).out).toContain("a@host:/second");
    expect(await dray("snapshot restore latest out")).toMatchObject({ exitCode: 0 });
    expect(readdirSync(join(folder, "out"))).toEqual(["deep"]);
    expect((await dray("fs ls latest:/")).out).toContain("deep");
  });

  it("a second one reads nothing that did not change", async () => {
    await created();
    const again = await dray("snapshot create data --source user@host:/data");
    expect(again.out).toMatch(/^17 B in 2 files: 2 unchanged, /);
    expect((await dray("snapshot create data --source user@host:/data --parent none")).out).toMatch(/^17 B in 2 files: 0 unchanged, /);
  });

  it("speak JSON: the summary last, lists as one array in the shape of kopia's", async () => {
    const id = await created();
    const events = (await dray("snapshot create data --json")).raw.trim().split("\n");
    expect(JSON.parse(events.at(-1) ?? "")).toMatchObject({
      type: "summary",
      schema: 1,
      snapshotID: expect.stringMatching(/^[0-9a-f]{32}$/),
      stats: { fileCount: 2 },
      errors: 0,
    });
    const [first] = JSON.parse((await dray("snapshot list --json --tag env=test")).raw) as unknown[];
    expect(first).toMatchObject({
      id,
      source: { host: "host", userName: "user", path: "/data" },
      stats: { fileCount: 2 },
      rootEntry: { type: "d", summ: { files: 2 } },
      tags: { "tag:env": "test" },
    });
    const failed = await dray("snapshot create nowhere --json");
    expect(failed.exitCode).toBe(4);
    expect(JSON.parse(failed.raw)).toMatchObject({
      type: "error",
      severity: "fatal",
      code: "PATH_NOT_FOUND",
      message: `Cannot open "${folder}/nowhere": it is not there`,
    });
  });

  it("end with the right exit code and say why, when they cannot be made or found", async () => {
    await created();
    const cases: readonly (readonly [line: string, exitCode: number, why: string])[] = [
      ["snapshot show 0123456789", 4, 'Cannot find snapshot "0123456789" in the repository'],
      ["snapshot delete latest", 2, 'Cannot delete "latest"'],
      ["snapshot delete abcdefgh", 4, 'Cannot find snapshot "abcdefgh"'],
      ["snapshot create", 2, "missing required argument 'path'"],
      ["snapshot create data --tag nonsense", 2, 'Cannot read --tag "nonsense": name=value is wanted'],
      ["snapshot create data --source nonsense", 2, "user@host:path is wanted"],
      ["snapshot create data --parent nonsense", 2, "auto, none or the id of a snapshot is wanted"],
      ["snapshot create data --parallel some", 2, 'Cannot read --parallel "some"'],
      ["snapshot create data/hello --block", 2, 'Cannot upload "/folder/data/hello" as a block device: it is none'],
    ];
    for (const [line, exitCode, why] of cases) expect(await dray(line), line).toMatchObject({ exitCode, err: expect.stringContaining(why) });
  });
});

describe("files in snapshots", () => {
  it("are listed, printed and copied out", async () => {
    const id = await created();
    expect((await dray(`fs ls ${id}`)).out).toBe("sub/\nhello\n");
    expect((await dray(`fs ls -l ${id}:/hello`)).out).toMatch(/^-rw-r----- \d+:\d+ {11}13 \d{4}-\d\d-\d\d \d\d:\d\d:\d\d hello\n$/);
    expect(JSON.parse((await dray(`fs ls ${id}:/sub --json`)).raw)).toMatchObject({ name: "deep", type: "f", size: 4 });
    expect((await dray(`fs cat ${id}:/sub/deep`)).raw).toBe("deep");
    expect((await dray(`fs cp ${id}:/hello copy`)).out).toBe("Copied 1 file (13 B) to copy\n");
    expect(readFileSync(join(folder, "copy"), "utf8")).toBe("hello, world\n");
    expect((await dray(`fs cp ${id}:/sub ${folder}`)).exitCode).toBe(0);
    expect(readFileSync(join(folder, "sub", "deep"), "utf8")).toBe("deep");
    expect((await dray(`fs cp ${id}:/hello copy`)).err).toContain('Cannot restore to "/folder/copy": it exists, nothing was wanted there');
  });

  it("are named when they are not there, or not of the kind that is wanted", async () => {
    const id = await created();
    expect(await dray(`fs cat ${id}:/sub`)).toMatchObject({
      exitCode: 2,
      err: 'dray: Cannot print "sub": it is a directory\n  hint: dray fs ls ID:/sub lists it.\n',
    });
    expect(await dray(`fs ls ${id}:/sub/none/x`)).toMatchObject({ exitCode: 4, err: 'dray: Cannot find "sub/none" in snapshot "ID": it is not there\n' });
  });
});
