import { DrayError } from "@drayage/base";
import { findInSnapshot } from "@drayage/datapath";
import { type DirectoryEntry, DirectoryListing, parseWildcard, type Repository, type SpecialEntry, textOfByteString } from "@drayage/repo";
import type { Command } from "commander";
import { longLine } from "../engine/entry-lines.ts";
import { type RepositoryOptions, withRepository, withRepositoryOptions } from "../engine/repository-access.ts";
import { parseSnapshotPath } from "../engine/snapshot-json.ts";
import { formatJson, parseCount } from "../engine/values.ts";
import { isResticRepository } from "../restic/restic-access.ts";
import type { Terminal } from "../terminal.ts";

export interface FindOptions extends RepositoryOptions {
  readonly name?: string;
  readonly type?: string;
  readonly minSize?: string;
  readonly maxSize?: string;
  readonly newerThan?: string;
  readonly long?: boolean;
}

const TYPES: Readonly<Record<string, string>> = { f: "file", d: "directory", l: "symlink", p: "fifo", s: "socket", c: "char", b: "block" };

export function define(command: Command, terminal: Terminal): void {
  withRepositoryOptions(command)
    .argument("<place>", "ID:/path in a snapshot: where to begin")
    .option("--name <pattern>", "only names that match, in the grammar of .kopiaignore: '*.log'")
    .option("--type <letter>", "only f files, d directories, l links, p FIFOs, s sockets, c or b devices")
    .option("--min-size <bytes>", "only files of at least this size")
    .option("--max-size <bytes>", "only files of at most this size")
    .option("--newer-than <time>", "only what was changed since: 2026-01-31, or with a time of day, in UTC")
    .option("-l, --long", "modes, owners, sizes and times as well")
    .action(async (place: string, options: FindOptions) => {
      if (isResticRepository(options, terminal)) return await (await import("../restic/files.ts")).findInRestic(place, options, terminal);
      await withRepository(options, terminal, { readOnly: true }, (repository) => find(repository, place, options, terminal));
    });
}

type Found = DirectoryEntry | SpecialEntry;

async function find(repository: Repository, place: string, options: FindOptions, terminal: Terminal): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  const { signal } = terminal;
  const isWanted = entryFilter(options);
  const print = (entry: Found, at: string): void => {
    if (!isWanted({ name: entry.name, kind: kindOf(entry), size: sizeOf(entry), mtimeNs: entry.mtimeNs })) return;
    const kind = kindOf(entry);
    if (options.json === true) terminal.out(formatJson({ type: "entry", path: at, kind, size: sizeOf(entry), mtime: Number(entry.mtimeNs / 1_000_000n) }));
    else terminal.out(`${options.long === true ? longLine(entry, at) : `${at}${kind === "directory" && at !== "/" ? "/" : ""}`}\n`);
  };
  const walk = async (entry: DirectoryEntry, at: string): Promise<void> => {
    print(entry, at === "" ? "/" : at);
    if (entry.type !== "directory") return;
    const listing = new DirectoryListing(repository.objects, entry.objectId, signal);
    for await (const child of listing.entries()) await walk(child, `${at}/${textOfByteString(child.name)}`);
    for (const special of listing.extension.special) print(special, `${at}/${textOfByteString(special.name)}`);
    signal.throwIfAborted();
  };
  const clean = path.split("/").filter((name) => name !== "" && name !== ".");
  const snapshot = await repository.snapshots.resolve(id, signal);
  await walk(await findInSnapshot(repository, snapshot, path, signal), clean.map((name) => `/${name}`).join(""));
}

/** What is looked at of an entry, whatever format it is from. */
export interface Searched {
  /** A byte string. */
  readonly name: string;
  /** `file`, `directory`, `symlink`, `fifo`, … */
  readonly kind: string;
  readonly size: number;
  readonly mtimeNs: bigint;
}

/** Whether an entry is what the options ask for. Throws USAGE for options that cannot be read. */
export function entryFilter(options: FindOptions): (entry: Searched) => boolean {
  const wildcard = options.name === undefined ? undefined : parseWildcard(options.name, "");
  const type = options.type === undefined ? undefined : TYPES[options.type];
  if (options.type !== undefined && type === undefined) {
    throw new DrayError("USAGE", `Cannot find entries of type "${options.type}": one of ${Object.keys(TYPES).join(", ")} is wanted`);
  }
  const min = options.minSize === undefined ? undefined : parseCount("--min-size", options.minSize);
  const max = options.maxSize === undefined ? undefined : parseCount("--max-size", options.maxSize);
  const sinceNs = options.newerThan === undefined ? undefined : parseTime(options.newerThan);
  return ({ name, kind, size, mtimeNs }) => {
    if (type !== undefined && kind !== type) return false;
    if (wildcard !== undefined && !wildcard.matches(`/${textOfByteString(name)}`, kind === "directory")) return false;
    if ((min !== undefined || max !== undefined) && kind !== "file") return false;
    if ((min !== undefined && size < min) || (max !== undefined && size > max)) return false;
    return sinceNs === undefined || mtimeNs >= sinceNs;
  };
}

function parseTime(text: string): bigint {
  const ms = /^\d{4}-\d\d-\d\d(T[\d:.]+Z?)?$/.test(text) ? Date.parse(text.includes("T") && !text.endsWith("Z") ? `${text}Z` : text) : Number.NaN;
  if (Number.isNaN(ms)) throw new DrayError("USAGE", `Cannot read --newer-than "${text}": a day such as 2026-01-31, or 2026-01-31T12:00:00, is wanted`);
  return BigInt(ms) * 1_000_000n;
}

function kindOf(entry: Found): string {
  return "kind" in entry ? entry.kind : entry.type;
}

function sizeOf(entry: Found): number {
  return "kind" in entry ? 0 : (entry.summary?.size ?? entry.size);
}
