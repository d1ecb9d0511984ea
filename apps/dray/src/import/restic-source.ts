/** The restic side of an import: its repository, its password, and the snapshots that are meant. */
import { DrayError } from "@drayage/base";
import type { ResticRepository, ResticSnapshot } from "@drayage/restic";
import { passwordFromFile } from "../engine/repository-access.ts";
import { objectStoreFromUrl } from "../repository-url.ts";
import type { Terminal } from "../terminal.ts";

/** What VolSync's mover backed up: the volume, as the folder it worked in. */
const VOLSYNC_PATH = "/data";

export interface ResticChoice {
  readonly snapshot?: readonly string[];
  readonly all?: boolean;
  readonly host?: string;
  readonly tag?: readonly string[];
}

/** The password of restic's repository: a file, else what restic's own variables say. Undefined where nothing does. */
export async function resticPasswordOf(file: string | undefined, terminal: Terminal): Promise<string | undefined> {
  if (file !== undefined) return await passwordFromFile(file, terminal);
  const { RESTIC_PASSWORD: password = "", RESTIC_PASSWORD_FILE: ofRestic = "" } = terminal.env;
  if (password !== "") return password;
  return ofRestic === "" ? undefined : await passwordFromFile(ofRestic, terminal);
}

/** Opens the repository at a URL without `restic+`, or in a folder below it, runs `work` and closes it again. Throws what opening throws: REPO_NOT_FOUND, REPO_WRONG_PASSWORD, REPO_CORRUPT, BLOB_*. */
export async function withResticAt<T>(
  { url, below }: { readonly url: string; readonly below?: string },
  password: string,
  terminal: Terminal,
  work: (repository: ResticRepository) => Promise<T>,
): Promise<T> {
  const store = await objectStoreFromUrl(url, terminal, below === undefined ? {} : { below });
  try {
    const { openResticRepository } = await import("@drayage/restic");
    const repository = await openResticRepository(store, { password, signal: terminal.signal });
    try {
      return await work(repository);
    } finally {
      await repository.close();
    }
  } finally {
    await store.close();
  }
}

/** The snapshots that are meant, the oldest first: named ones, all of a host and with tags, or the newest. Throws REPO_CORRUPT when the newest may be one that cannot be read. */
export async function chooseSnapshots(repository: ResticRepository, choice: ResticChoice, signal: AbortSignal): Promise<readonly ResticSnapshot[]> {
  const { snapshot: ids = [], all, host, tag: tags = [] } = choice;
  if (ids.length > 0) {
    const named: ResticSnapshot[] = [];
    for (const id of ids) named.push(await repository.findSnapshot(id, signal));
    return [...new Map(named.map((one) => [one.id, one])).values()];
  }
  const { snapshots, unreadable } = await repository.listSnapshots(signal);
  const [damaged] = unreadable;
  // An older one would be taken for it without a word.
  if (damaged !== undefined) throw damaged.error;
  const wanted = snapshots.filter((one) => (host === undefined || one.hostName === host) && tags.every((tag) => one.tags.includes(tag)));
  if (all === true || host !== undefined || tags.length > 0) {
    if (wanted.length > 0) return wanted;
    throw new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot import from ${repository.description}: none of its ${snapshots.length} snapshots fits`);
  }
  const newest = newestOfVolume(wanted);
  if (newest === undefined) throw new DrayError("REPO_MANIFEST_NOT_FOUND", `Cannot import from ${repository.description}: it has no snapshot`);
  return [newest];
}

/** The newest of what VolSync backed up, else the newest of all. */
export function newestOfVolume(snapshots: readonly ResticSnapshot[]): ResticSnapshot | undefined {
  return snapshots.findLast(({ paths }) => paths.includes(VOLSYNC_PATH)) ?? snapshots.at(-1);
}
