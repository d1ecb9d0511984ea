/** `fs ls`, `fs cat` and `fs find` of a restic repository. */
import { DrayError } from "@drayage/base";
import { findInResticSnapshot, type ResticRef, ResticSource, type RestoreEntry } from "@drayage/datapath";
import { textOfByteString } from "@drayage/repo";
import { entryFilter, type FindOptions } from "../commands/fs-find.ts";
import { permissions } from "../engine/entry-lines.ts";
import type { RepositoryOptions } from "../engine/repository-access.ts";
import { formatStart, parseSnapshotPath } from "../engine/snapshot-json.ts";
import { formatJson } from "../engine/values.ts";
import type { Terminal } from "../terminal.ts";
import { withResticRepository } from "./restic-access.ts";

const LETTERS = { file: "-", directory: "d", symlink: "l", fifo: "p", socket: "s", char: "c", block: "b" } as const;
/** As kopia's listings name them; what it has no letter for goes by ours. */
const KOPIA_TYPES: Readonly<Record<string, string>> = { file: "f", directory: "d", symlink: "s" };

/** Prints as it reads. */
export function listResticDirectory(place: string, isLong: boolean, options: RepositoryOptions, terminal: Terminal): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  const { signal } = terminal;
  const print = (entry: RestoreEntry): void => {
    const name = textOfByteString(entry.name);
    if (options.json === true) terminal.out(`${JSON.stringify(entryJson(entry))}\n`);
    else terminal.out(`${isLong ? longLine(entry) : `${name}${entry.type === "directory" ? "/" : ""}`}\n`);
  };
  return withResticRepository(options, terminal, async (repository) => {
    const snapshot = await repository.findSnapshot(id, signal);
    const found = await findInResticSnapshot(repository, snapshot, path, signal);
    if (found.type !== "directory") return print(found);
    for await (const batch of new ResticSource(repository).list(found, signal).batches()) for (const entry of batch) print(entry);
  });
}

export function printResticFile(place: string, options: RepositoryOptions, terminal: Terminal): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  const { signal } = terminal;
  return withResticRepository(options, terminal, async (repository) => {
    const snapshot = await repository.findSnapshot(id, signal);
    const entry = await findInResticSnapshot(repository, snapshot, path, signal);
    if (entry.type === "directory") throw new DrayError("USAGE", `Cannot print "${path}": it is a directory`, { hint: `dray fs ls ${id}:/${path} lists it.` });
    if (entry.linkTarget !== undefined) return await terminal.write(entry.linkTarget);
    for await (const piece of repository.readFile(contentsOf(entry), signal)) {
      signal.throwIfAborted();
      await terminal.write(piece);
    }
  });
}

/** Every entry below a place that the options ask for. */
export function findInRestic(place: string, options: FindOptions, terminal: Terminal): Promise<void> {
  const { id, path } = parseSnapshotPath(place);
  const { signal } = terminal;
  const isWanted = entryFilter(options);
  return withResticRepository(options, terminal, async (repository) => {
    const source = new ResticSource(repository);
    const walk = async (entry: RestoreEntry<ResticRef>, at: string): Promise<void> => {
      const { name, type: kind, size, mtimeNs } = entry;
      const shown = at === "" ? "/" : at;
      if (isWanted({ name, kind, size, mtimeNs })) {
        if (options.json === true) terminal.out(formatJson({ type: "entry", path: shown, kind, size, mtime: Number(mtimeNs / 1_000_000n) }));
        else terminal.out(`${options.long === true ? longLine(entry, shown) : `${shown}${kind === "directory" && at !== "" ? "/" : ""}`}\n`);
      }
      if (kind !== "directory") return;
      signal.throwIfAborted();
      for await (const batch of source.list(entry, signal).batches()) for (const child of batch) await walk(child, `${at}/${textOfByteString(child.name)}`);
    };
    const names = path.split("/").filter((name) => name !== "" && name !== ".");
    const snapshot = await repository.findSnapshot(id, signal);
    await walk(await findInResticSnapshot(repository, snapshot, path, signal), names.map((name) => `/${name}`).join(""));
  });
}

function contentsOf({ ref }: RestoreEntry<ResticRef>): Uint8Array {
  return ref !== undefined && "contents" in ref ? ref.contents : new Uint8Array(0);
}

function longLine({ type, mode, uid, gid, size, mtimeNs, name, device }: RestoreEntry, shown: string = textOfByteString(name)): string {
  const length = device === undefined ? String(size) : `${device.major},${device.minor}`;
  return `${LETTERS[type]}${permissions(mode)} ${uid}:${gid} ${length.padStart(12)} ${formatStart(mtimeNs)} ${shown}`;
}

function entryJson({ name, type, mode, size, mtimeNs, uid, gid }: RestoreEntry): Record<string, unknown> {
  const milliseconds = new Date(Number(mtimeNs / 1_000_000n)).toISOString();
  return { name: textOfByteString(name), type: KOPIA_TYPES[type] ?? type, mode: `0${mode.toString(8)}`, size, mtime: milliseconds, uid, gid };
}
