/** Policies of either side, as the other one reads them: what holds for a source, what expires, what is left out of a snapshot. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { openFilesystemStorage } from "@drayage/blob";
import { emptyStats, openRepository, planExpiry, type Repository, type RepositoryIdentity } from "@drayage/repo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type DrayClient, drayClient } from "./dray-client.ts";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const PASSWORD = "correct horse";
const identity: RepositoryIdentity = { userName: "user", host: "host" };
let folder: string;
let template: string;
let count = 0;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kopia-policies-"));
  template = join(folder, "template");
  mkdirSync(template);
  await kopiaClient(fresh("kopia"), PASSWORD)("repository", "create", "filesystem", "--path", template, "--override-username=user", "--override-hostname=host");
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function fresh(name: string): string {
  const path = join(folder, `${name}-${++count}`);
  mkdirSync(path);
  return path;
}

interface Both {
  readonly path: string;
  readonly kopia: KopiaClient;
  readonly dray: DrayClient;
}

async function both(): Promise<Both> {
  const path = join(folder, `repository-${++count}`);
  cpSync(template, path, { recursive: true });
  return { path, kopia: await client(path), dray: drayClient(path, PASSWORD) };
}

/** A client that has nothing cached. */
async function client(path: string): Promise<KopiaClient> {
  const kopia = kopiaClient(fresh("kopia"), PASSWORD);
  await connectKopia(kopia, path);
  return kopia;
}

async function withOurs<T>(path: string, work: (repository: Repository) => Promise<T>): Promise<T> {
  const repository = await openRepository(await openFilesystemStorage({ path }), { password: PASSWORD, identity });
  try {
    return await work(repository);
  } finally {
    await repository.close();
  }
}

const SETTINGS: readonly (readonly string[])[] = [
  ["--keep-latest=3", "--keep-daily=0", "--keep-annual=9", "--ignore-identical-snapshots=true"],
  ["--add-ignore=*.tmp", "--add-ignore=/cache", "--add-dot-ignore=.backupignore", "--max-file-size=12345678901", "--one-file-system=true"],
  ["--ignore-cache-dirs=false", "--ignore-file-errors=true", "--ignore-dir-errors=true", "--ignore-unknown-types=false"],
  ["--compression=zstd", "--compression-min-size=100", "--compression-max-size=1000000", "--add-never-compress=.gz", "--add-only-compress=.txt"],
  ["--metadata-compression=none", "--splitter=FIXED-1M", "--parallel-upload-above-size-mib=512", "--max-parallel-file-reads=7"],
  ["--inherit=false"],
];
const TARGETS = ["--global", "@host", "user@host", "user@host:/data"];

describe("policies", () => {
  it("that either side sets hold for the other in the same way", async () => {
    const { path, kopia, dray } = await both();
    const [ours, theirs] = [await both(), { path, kopia, dray }];
    for (const [index, settings] of SETTINGS.entries()) {
      const target = TARGETS[index % TARGETS.length] ?? "";
      await theirs.kopia("policy", "set", target, ...settings);
      await ours.dray("policy", "set", target, ...settings.flatMap((setting) => setting.split("=", 2)));
    }
    const [afterOurs, afterTheirs] = [await client(ours.path), theirs.kopia];
    for (const target of [...TARGETS, "user@host:/data/below", "other@host:/data", "user@elsewhere:/x"]) {
      const wanted: unknown = JSON.parse(await afterTheirs("policy", "show", target, "--json"));
      expect(JSON.parse(await afterOurs("policy", "show", target, "--json")), `kopia on ours, ${target}`).toEqual(wanted);
      expect(JSON.parse(await theirs.dray("policy", "get", target, "--json")), `dray on theirs, ${target}`).toEqual(wanted);
      expect(JSON.parse(await ours.dray("policy", "get", target, "--json")), `dray on ours, ${target}`).toEqual(wanted);
    }
    const listed = JSON.parse(await theirs.dray("policy", "list", "--json")) as { id: string }[];
    expect(listed.map(({ id }) => id).sort()).toEqual(
      (JSON.parse(await theirs.kopia("policy", "list", "--json")) as { id: string }[]).map(({ id }) => id).sort(),
    );
  });

  it("are changed and removed by us as by kopia, and what kopia knows and we do not stays", async () => {
    const { path, kopia, dray } = await both();
    await kopia(
      "policy",
      "set",
      "user@host:/data",
      "--before-folder-action=/bin/true",
      "--snapshot-time-crontab=0 5 * * *",
      "--add-ignore=a",
      "--add-ignore=b",
    );
    await dray("policy", "set", "user@host:/data", "--remove-ignore", "a", "--keep-latest", "4");
    await dray("policy", "set", "user@host:/data", "--keep-latest", "inherit", "--keep-hourly", "5");
    const shown = JSON.parse(await (await client(path))("policy", "show", "user@host:/data", "--json")) as unknown;
    expect(shown).toMatchObject({
      retention: { keepLatest: 10, keepHourly: 5 },
      files: { ignore: ["b"] },
      scheduling: { cron: ["0 5 * * *"] },
      actions: { beforeFolder: { path: "/bin/true" } },
    });
    await dray("policy", "remove", "user@host:/data");
    expect(JSON.parse(await (await client(path))("policy", "list", "--json"))).toHaveLength(1);
  });
});

/** Patterns, each in an ignore file of a folder of its own beside the same files; the last folder has several. */
const PATTERNS: readonly string[] = [
  ...["*.log", "/a*b", "a*b", "**/foo", "**foo", "foo/**", "foo/", "/foo/bar", "foo/bar", "foo/*/bar", "foo/**/bar", "[a-c]x", "[!a-c]x", "[[:digit:]]x"],
  ...["longer_name_[[:digit:]]", "x[[:alpha:]]y", "\\!bang", "\\#hash", "?x", "*", "**/", "sub/", "a?b", "foo*", "*foo", "f*o", "**/bar/**", "foo/b?r"],
  ...["[]x", "[a\\]]x", " spaced", "trail ", "**", "/", "a*/b", "x**y", "/**/b", "*/b", "[z-a]x", "**/*.log/**", "a**", "ä*", "[ä-ü]x", "日?", "[^a]x"],
  "f*\n!foo\n!**/bar\n!/ab",
];
const PATHS: readonly string[] = [
  ...["a.log", "ab", "axb", "ax/b", "x/axb", "foo/bar", "foo/x/bar", "foo/x/y/bar", "xfoo/z", "axe", "bx", "dx", "1x", "longer_name_5", "longer_name_d", "x1y"],
  ...[
    "xqy",
    "!bang",
    "#hash",
    "sub/f",
    "bar/q/r",
    "spaced",
    " spaced",
    "trail",
    "trail ",
    "]x",
    "^x",
    "xay",
    "deep/a/b",
    "deep/x.log/y",
    "är",
    "日本",
    "üx",
    "foofoo",
  ],
  "fo",
];

describe("what is left out of a snapshot", () => {
  it("is the same: every pattern, ignore files below policies, cache folders, sizes, and the same compression", async () => {
    const root = fresh("tree");
    for (const [index, pattern] of PATTERNS.entries()) {
      const at = join(root, `d${index}`);
      for (const path of PATHS) {
        mkdirSync(dirname(join(at, path)), { recursive: true });
        writeFileSync(join(at, path), "1");
      }
      writeFileSync(join(at, ".kopiaignore"), `# ${index}\n${pattern}\n`);
    }
    mkdirSync(join(root, "cache"));
    writeFileSync(join(root, "cache", "CACHEDIR.TAG"), "Signature: 8a477f597d28d172789f06886806bc55\n");
    writeFileSync(join(root, "cache", "x"), "1");
    mkdirSync(join(root, "own", "deep"), { recursive: true });
    for (const path of ["own/a.own", "own/deep/a.own", "own/a.global", "own/.kopiaignore", "own/large", "large", "text.txt", "text.gz"]) {
      writeFileSync(join(root, path), path.endsWith("large") ? "l".repeat(5000) : path.includes("text") ? "text ".repeat(200) : "1");
    }
    const { path, kopia, dray } = await both();
    await kopia("policy", "set", "--global", "--add-ignore=*.global", "--max-file-size=4000", "--compression=zstd", "--add-never-compress=.gz");
    await kopia("policy", "set", `user@host:${root}/own`, "--add-ignore=/a.own", "--max-file-size=6000");
    await kopia("snapshot", "create", root);
    const [theirs] = JSON.parse(await kopia("snapshot", "list", "--all", "--json")) as { rootEntry: { obj: string }; stats: Record<string, number> }[];
    const ours = JSON.parse(
      (await dray("snapshot", "create", root, "--source", `user@host:${root}`, "--parent", "none", "--json")).trim().split("\n").at(-1) ?? "",
    ) as {
      rootObjectID: string;
      bytesUploaded: number;
    };
    expect(ours.rootObjectID).toBe(theirs?.rootEntry.obj);
    expect(ours.bytesUploaded).toBe(0);
    const again = await client(path);
    const listed = JSON.parse(await again("snapshot", "list", "--all", "--json")) as { stats: Record<string, number> }[];
    const counts = (stats: Record<string, number> | undefined): unknown[] =>
      ["fileCount", "dirCount", "excludedFileCount", "excludedDirCount"].map((name) => stats?.[name]);
    expect(counts(listed.at(-1)?.stats)).toEqual(counts(theirs?.stats));
  });

  it("a snapshot that equals the one before is saved by neither", async () => {
    const root = fresh("same");
    writeFileSync(join(root, "a"), "1");
    const { kopia, dray, path } = await both();
    await dray("policy", "set", "--global", "--ignore-identical-snapshots", "true");
    await kopia("snapshot", "create", root);
    await dray("snapshot", "create", root, "--source", `user@host:${root}`);
    await (await client(path))("snapshot", "create", root);
    expect(JSON.parse(await (await client(path))("snapshot", "list", "--all", "--json"))).toHaveLength(1);
  });
});

const POLICIES: readonly (readonly string[])[] = [
  [],
  ["--keep-latest=1", "--keep-hourly=0", "--keep-daily=0", "--keep-weekly=0", "--keep-monthly=0", "--keep-annual=0"],
  ["--keep-latest=0", "--keep-hourly=0", "--keep-daily=0", "--keep-weekly=0", "--keep-monthly=0", "--keep-annual=0"],
  ["--keep-latest=0", "--keep-hourly=5", "--keep-daily=3", "--keep-weekly=30", "--keep-monthly=30", "--keep-annual=0"],
  ["--keep-latest=2", "--keep-hourly=100", "--keep-daily=40", "--keep-weekly=60", "--keep-monthly=1", "--keep-annual=2"],
  ["--keep-latest=0", "--keep-hourly=2147483647", "--keep-daily=0", "--keep-weekly=0", "--keep-monthly=0", "--keep-annual=0"],
];

/** Days, weeks, months and years back from a day in March, at hours that differ; some are checkpoints, one is pinned. */
function startTimes(): { readonly ns: bigint; readonly incomplete: boolean; readonly pinned: boolean }[] {
  const base = Date.parse("2026-03-31T10:00:00Z");
  const hoursBack = [
    0, 1, 1.5, 2, 5, 20, 24, 25, 30, 47, 72, 100, 168, 200, 336, 400, 744, 800, 1000, 1500, 2000, 2200, 2500, 4000, 8000, 8760, 9000, 17_000, 26_000, 35_000,
  ];
  return hoursBack.map((hours, index) => ({ ns: BigInt(base - hours * 3_600_000) * 1_000_000n + 123n, incomplete: index % 7 === 0, pinned: index === 27 }));
}

describe("snapshots expire", () => {
  it.each(POLICIES)("as kopia lets them, for the same reasons: %s %s %s %s %s %s", async (...settings) => {
    const { path, kopia } = await both();
    if (settings.length > 0) await kopia("policy", "set", "--global", ...settings);
    const plan = await withOurs(path, async (repository) => {
      const { rootEntry } = await storedRoot(repository);
      for (const { ns, incomplete, pinned } of startTimes()) {
        await repository.snapshots.save({
          ...{ source: { ...identity, path: "/data" }, description: "", startTimeNs: ns, endTimeNs: ns, stats: emptyStats, rootEntry, tags: {} },
          pins: pinned ? ["keep"] : [],
          ...(incomplete ? { incomplete: "checkpoint" } : {}),
        });
      }
      await repository.flush();
      return await planExpiry(repository, undefined);
    });
    const theirs = await client(path);
    const listed = JSON.parse(await theirs("snapshot", "list", "--all", "--incomplete", "--json")) as {
      id: string;
      retentionReason?: string[];
      pins?: string[];
    }[];
    expect(listed).toHaveLength(startTimes().length);
    const ours = Object.fromEntries(plan.decisions.map(({ snapshot, reasons }) => [snapshot.id, reasons.filter((reason) => !reason.startsWith("pin:"))]));
    expect(ours).toEqual(Object.fromEntries(listed.map(({ id, retentionReason = [] }) => [id, retentionReason])));
    await drayClient(path, PASSWORD)("snapshot", "expire", "--all");
    const left = JSON.parse(await (await client(path))("snapshot", "list", "--all", "--incomplete", "--json")) as { id: string }[];
    expect(left.map(({ id }) => id).sort()).toEqual(
      listed
        .filter(({ retentionReason = [], pins = [] }) => retentionReason.length + pins.length > 0)
        .map(({ id }) => id)
        .sort(),
    );
    // Nothing is left for kopia to do.
    expect(await (await client(path))("snapshot", "expire", "--all", "--delete")).not.toContain("Deleting");
    expect(JSON.parse(await (await client(path))("snapshot", "list", "--all", "--incomplete", "--json"))).toHaveLength(left.length);
  });
});

async function storedRoot(repository: Repository) {
  const { uploadSnapshot } = await import("@drayage/datapath");
  const made = await uploadSnapshot({ repository, source: { kind: "directory", path: fresh("empty") }, snapshotSource: { ...identity, path: "/data" } });
  await repository.snapshots.delete(made.snapshotId);
  return made;
}
