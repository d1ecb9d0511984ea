/**
 * Every value of every choice of the format, and every two of them together, against real kopia in both directions.
 * One row: a repository that one side creates; kopia makes a snapshot, which we read byte by byte and cut to the same object ids; we add one, which kopia restores.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "@drayage/base";
import { openFilesystemStorage } from "@drayage/blob";
import { compressorByHeader } from "@drayage/kernels";
import {
  createRepository,
  DirectoryListing,
  DirectoryListingWriter,
  emptyStats,
  isContentId,
  ObjectWriter,
  openRepository,
  parseContentId,
  type Repository,
} from "@drayage/repo";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type FileChoices, formatMatrix, pairsOf, type RepositoryChoices, wantedPairs } from "./format-matrix.ts";
import { connectKopia, type KopiaClient, kopiaClient } from "./kopia-client.ts";

const PASSWORD = "correct horse";
const identity = { userName: "user", host: "host" };
/** Kopia still writes it; we only read it. */
const READ_ONLY_COMPRESSOR = "lz4";
const FILE_BYTES_MAX = 1 << 26;
const SHORT_FILE_BYTES = 150_000;
const matrix = formatMatrix();
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "drayage-kopia-matrix-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const cut = new Set<string>();

/** Compressible bytes that no other file has; the first file of each splitter is long enough for a cut, also where that comes at the longest chunk. */
function bytesFor({ splitter, compressor }: FileChoices, text: string): Buffer {
  const size = /\d+(?=([KM])\b)/.exec(splitter);
  const average = size === null ? 4 << 20 : Number(size[0]) << (size[1] === "K" ? 10 : 20);
  const key = `${splitter} ${text.split(" ")[0]}`;
  const isFirst = !cut.has(key);
  cut.add(key);
  return Buffer.alloc(isFirst ? Math.ceil(2.1 * average) : SHORT_FILE_BYTES, `${text} ${splitter} ${compressor}, `);
}
const nameOf = ({ splitter, compressor }: FileChoices): string => `${splitter}--${compressor}`;

async function create(choices: RepositoryChoices, path: string, kopia: KopiaClient): Promise<void> {
  const { creator, hash, encryption, formatVersion, eccOverheadPercent } = choices;
  if (creator === "kopia") {
    const format = [`--block-hash=${hash}`, `--encryption=${encryption}`, `--format-version=${formatVersion}`, `--ecc-overhead-percent=${eccOverheadPercent}`];
    await kopia("repository", "create", "filesystem", "--path", path, ...format, "--override-username=user", "--override-hostname=host");
    return;
  }
  const storage = await openFilesystemStorage({ path, create: true });
  await (await createRepository(storage, { password: PASSWORD, identity, format: { hash, encryption, formatVersion, eccOverheadPercent } })).close();
  await connectKopia(kopia, path);
}

/** A tree with a folder, and a policy of its own, for each file. */
async function makeSource(source: string, files: readonly FileChoices[], kopia: KopiaClient): Promise<Map<string, Buffer>> {
  const data = new Map<string, Buffer>();
  const policies: Record<string, object> = {};
  for (const file of files) {
    const at = join(source, nameOf(file));
    mkdirSync(at, { recursive: true });
    const bytes = bytesFor(file, `kopia ${source}`);
    writeFileSync(join(at, "file"), bytes);
    data.set(nameOf(file), bytes);
    policies[`user@host:${at}`] = { compression: { compressorName: file.compressor }, splitter: { algorithm: file.splitter } };
  }
  const policyFile = `${source}.policies.json`;
  writeFileSync(policyFile, JSON.stringify(policies));
  await kopia("policy", "import", "--from-file", policyFile);
  return data;
}

/** Reads a snapshot of kopia's: the same bytes, and where compression leaves ids alone, the same ids as our own cuts give. */
async function readTheirs(repository: Repository, id: string, files: readonly FileChoices[], data: ReadonlyMap<string, Buffer>): Promise<void> {
  const { rootEntry } = await repository.snapshots.get(id);
  if (rootEntry === undefined) throw new Error("no root");
  const seen: string[] = [];
  for await (const { name, objectId } of new DirectoryListing(repository.objects, rootEntry.objectId).entries()) {
    const expected = data.get(name) ?? Buffer.alloc(0);
    for await (const file of new DirectoryListing(repository.objects, objectId).entries()) {
      expect([name, expected.equals(await repository.objects.read(file.objectId, FILE_BYTES_MAX))]).toEqual([name, true]);
      const { splitter, compressor } = files.find((choices) => nameOf(choices) === name) ?? { splitter: "", compressor: "" };
      expect([name, compressionOf(repository, file.objectId, compressor)]).toEqual([name, compressor]);
      // In format version 1 a compressed object is another object.
      if (repository.format.version === 1 && compressor !== "none") continue;
      const writer = new ObjectWriter(repository.objectWriters, { splitter, compressor: compressor === READ_ONLY_COMPRESSOR ? "none" : compressor });
      await writer.write(expected);
      expect([name, (await writer.finish()).objectId]).toEqual([name, file.objectId]);
    }
    seen.push(name);
  }
  expect(seen.sort()).toEqual(files.map(nameOf).sort());
}

/** The compressor that the index names for the content of an object; `expected` where none says, in format version 1 and for lists. */
function compressionOf(repository: Repository, objectId: string, expected: string): string {
  if (repository.format.version === 1 || !isContentId(objectId)) return expected;
  const headerId = repository.contents.info(parseContentId(objectId))?.compressionId ?? 0;
  return headerId === 0 ? "none" : compressorByHeader(headerId).name;
}

async function writeOurs(repository: Repository, files: readonly FileChoices[]): Promise<{ readonly id: string; readonly data: Map<string, Buffer> }> {
  const data = new Map<string, Buffer>();
  const listing = new DirectoryListingWriter(repository.objectWriters);
  const common = { mode: 0o644, mtimeNs: 1_700_000_000_000_000_000n, uid: 0, gid: 0 };
  for (const file of files.toSorted((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1))) {
    const bytes = bytesFor(file, `dray ${files.length}`);
    const compressor = file.compressor === READ_ONLY_COMPRESSOR ? "none" : file.compressor;
    const writer = new ObjectWriter(repository.objectWriters, { splitter: file.splitter, compressor });
    await writer.write(bytes);
    const { objectId } = await writer.finish();
    expect([nameOf(file), compressionOf(repository, objectId, compressor)]).toEqual([nameOf(file), compressor]);
    await listing.add({ ...common, name: nameOf(file), type: "file", size: bytes.length, objectId });
    data.set(nameOf(file), bytes);
  }
  const { objectId, summary } = await listing.finish({ mtimeNs: common.mtimeNs });
  const nowNs = systemClock.nowNs();
  const id = await repository.snapshots.save({
    source: { ...identity, path: "/ours" },
    description: "",
    startTimeNs: nowNs,
    endTimeNs: nowNs,
    stats: emptyStats,
    rootEntry: { ...common, mode: 0o755, name: "ours", type: "directory", size: 0, objectId, summary },
    tags: {},
    pins: [],
  });
  await repository.flush();
  return { id, data };
}

it("meets every pair of choices", () => {
  const met = new Set(matrix.flatMap(pairsOf));
  expect([...wantedPairs()].filter((pair) => !met.has(pair))).toEqual([]);
});

describe("kopia and we read each other's", () => {
  it.each(matrix.map(({ repository, files }) => [Object.values(repository).join(" "), repository, files] as const))("%s", async (name, choices, files) => {
    const base = join(folder, name.replaceAll(" ", "_"));
    const [path, source] = [join(base, "repository"), join(base, "source")];
    for (const made of [path, source]) mkdirSync(made, { recursive: true });
    const kopia = kopiaClient(join(base, "kopia"), PASSWORD);
    await create(choices, path, kopia);
    const data = await makeSource(source, files, kopia);
    const { id } = JSON.parse(await kopia("snapshot", "create", source, "--json")) as { readonly id: string };

    const repository = await openRepository(await openFilesystemStorage({ path }), { password: PASSWORD, identity });
    await readTheirs(repository, id, files, data);
    const ours = await writeOurs(repository, files);
    await repository.close();

    const fresh = kopiaClient(join(base, "fresh"), PASSWORD);
    await connectKopia(fresh, path);
    const target = join(base, "restored");
    await fresh("restore", ours.id, target);
    for (const [file, bytes] of ours.data) expect([file, readFileSync(join(target, file)).equals(bytes)]).toEqual([file, true]);
    rmSync(base, { recursive: true, force: true });
  });
});
