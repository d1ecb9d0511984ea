/** What scripts read: our `--json` beside kopia's, field by field and in the same order, on snapshots that either of them made. */
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DrayClient, drayClient } from "./dray-client.ts";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const PASSWORD = "correct horse";
let folder: string;
let kopia: KopiaClient;
let dray: DrayClient;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kopia-json-"));
  const [home, path, one, two] = ["home", "repository", "one", "two"].map((name) => join(folder, name)) as [string, string, string, string];
  for (const made of [home, path, one, join(two, "sub")]) mkdirSync(made, { recursive: true });
  writeFileSync(join(one, "a"), "some text");
  writeFileSync(join(two, "sub", "b"), "b".repeat(100_000));
  symlinkSync("sub/b", join(two, "link"));
  dray = drayClient(path, PASSWORD);
  await dray("repo", "create");
  kopia = kopiaClient(home, PASSWORD);
  await connectKopia(kopia, path);
  await kopia("policy", "set", "--global", "--keep-latest=2", "--keep-hourly=0", "--keep-daily=1", "--ignore-identical-snapshots=false");
  await kopia("snapshot", "create", one, "--description", `of <one> & "theirs"`, "--tags", "env:test", "--pin", "audit");
  await kopia("snapshot", "create", two);
  await dray("snapshot", "create", one, "--source", `user@host:${one}`, "--tag", "env=ours", "--tag", "b=2", "--description", "ours \u2028 <>", "--no-expire");
  await dray("snapshot", "create", two, "--source", `user@host:${two}`, "--no-expire");
  await kopia("snapshot", "create", two);
}, 60_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Listed {
  readonly id: string;
  readonly source: { readonly path: string };
}

describe("dray snapshot list --json", () => {
  it("shows every snapshot with kopia's members, in kopia's order", async () => {
    const theirs = JSON.parse(await kopia("snapshot", "list", "--all", "--show-identical", "--json")) as Listed[];
    const ours = JSON.parse(await dray("snapshot", "list", "--json")) as Listed[];
    expect(theirs).toHaveLength(5);
    expect(ours).toEqual(theirs);
    expect(ours.map((one) => JSON.stringify(one))).toEqual(theirs.map((one) => JSON.stringify(one)));
  });

  it("finds by tag and source what kopia finds", async () => {
    const [theirs] = JSON.parse(await kopia("snapshot", "list", "--all", "--tags", "env:ours", "--json")) as Listed[];
    const ours = JSON.parse(await dray("snapshot", "list", "--tag", "env=ours", "--json")) as Listed[];
    expect(ours.map(({ id }) => id)).toEqual([theirs?.id]);
    const ofSource = JSON.parse(await dray("snapshot", "list", "--source", `user@host:${join(folder, "two")}`, "--json")) as Listed[];
    expect(ofSource).toEqual(JSON.parse(await kopia("snapshot", "list", join(folder, "two"), "--show-identical", "--json")));
  });
});

describe("dray snapshot show --json", () => {
  it("shows what kopia keeps of a snapshot, with its id", async () => {
    for (const { id } of JSON.parse(await dray("snapshot", "list", "--json")) as Listed[]) {
      const kept = (await kopia("manifest", "show", id)).replaceAll(/^\/\/.*$/gm, "");
      expect(JSON.parse(await dray("snapshot", "show", id, "--json"))).toEqual({ ...(JSON.parse(kept) as Listed), id });
    }
  });
});
