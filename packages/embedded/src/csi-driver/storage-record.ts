/**
 * Everything the driver remembers, as one JSON file that all nodes share.
 *
 * Invariants:
 * - The file is replaced by rename, so a reader sees one state or the next, never half of one, however a writer ends.
 * - It is changed only under a lock (flock(2)) that the kernel frees when its holder dies.
 * - A volume or snapshot is in it only while its data are in place: data come before the record, and leave after it.
 */
import { spawn } from "node:child_process";
import { access, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DrayError, type RandomSource, randomHex } from "@drayage/base";
import { csiError } from "@drayage/protocols/csi";

export type VolumeMode = "Filesystem" | "Block";

/** `directory`: a folder of the host. `image`: a file behind a loop device, with an ext4 of its own when the mode is Filesystem. */
export type Backing = "directory" | "image";

export interface ContentOrigin {
  readonly kind: "snapshot" | "volume";
  readonly id: string;
}

export interface VolumeRecord {
  readonly id: string;
  readonly name: string;
  readonly mode: VolumeMode;
  readonly backing: Backing;
  readonly capacityBytes: number;
  /** The only node that reaches it; every node when left out. */
  readonly node?: string;
  readonly origin?: ContentOrigin;
  /** It has no data of its own and shows those of its snapshot, read-only. */
  readonly shallow?: true;
  readonly createdAt: string;
  /** Where each node has staged it. */
  readonly staged: Readonly<Record<string, string>>;
}

export interface SnapshotRecord {
  readonly id: string;
  readonly name: string;
  readonly volumeId: string;
  readonly mode: VolumeMode;
  readonly backing: Backing;
  readonly sizeBytes: number;
  /** Nanoseconds since 1970. */
  readonly createdNs: string;
  /** Milliseconds since 1970 from which on it may be used. */
  readonly readyAtMs: number;
  /** The group that it was cut with; a group is there while one of its members is. */
  readonly groupId?: string;
  /** Deleted for its users; the data stay until the last shallow volume goes. */
  readonly deleted?: true;
}

export interface StorageRecord {
  readonly schema: 1;
  readonly volumes: Readonly<Record<string, VolumeRecord>>;
  readonly snapshots: Readonly<Record<string, SnapshotRecord>>;
}

/** Reads the state and gives back the next one with its result; without a next one nothing is saved. May do the file work that must go with the change. */
export type RecordChange<T> = (record: StorageRecord) => Promise<{ readonly record?: StorageRecord; readonly result: T }>;

const LOCK_SECONDS_MAX = 60;
const EMPTY: StorageRecord = { schema: 1, volumes: {}, snapshots: {} };

export class RecordFile {
  readonly #folder: string;
  readonly #random: RandomSource;
  /** Changes of this process wait here for each other, so that the file's lock is asked for once at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string, random: RandomSource) {
    this.#folder = folder;
    this.#random = random;
  }

  /** The state as it is. Throws PATH_IO when the file cannot be understood: storage whose record is lost must not be written to. */
  async load(): Promise<StorageRecord> {
    const path = join(this.#folder, "state.json");
    const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT") return undefined;
      throw new DrayError("PATH_IO", `Cannot read storage record "${path}": ${cause.message}`, { cause });
    });
    if (text === undefined) return EMPTY;
    const record = parseRecord(text);
    if (record === undefined) throw new DrayError("PATH_IO", `Cannot read storage record "${path}": it is not a record of schema 1`);
    return record;
  }

  /** Whether anything was ever saved. */
  async exists(): Promise<boolean> {
    return access(join(this.#folder, "state.json")).then(
      () => true,
      () => false,
    );
  }

  /** Reads, changes and saves under the lock. Throws ABORTED when another process keeps the lock for a minute. */
  async update<T>(change: RecordChange<T>): Promise<T> {
    const turn = this.#last.then(() => this.#locked(change));
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  async #locked<T>(change: RecordChange<T>): Promise<T> {
    const unlock = await lockFile(join(this.#folder, "lock"));
    try {
      const { record, result } = await change(await this.load());
      if (record !== undefined) await this.#save(record);
      return result;
    } finally {
      await unlock();
    }
  }

  async #save(record: StorageRecord): Promise<void> {
    const path = join(this.#folder, "state.json");
    const temporary = `${path}.${randomHex(this.#random, 6)}`;
    await writeFile(temporary, `${JSON.stringify(record, null, 1)}\n`, { mode: 0o600 });
    await rename(temporary, path);
  }
}

function parseRecord(text: string): StorageRecord | undefined {
  try {
    const value = JSON.parse(text) as Partial<StorageRecord> | null;
    return value?.schema === 1 && typeof value.volumes === "object" && typeof value.snapshots === "object" ? (value as StorageRecord) : undefined;
  } catch {
    return undefined;
  }
}

/**
 * Waits for the exclusive lock on a file and returns what frees it. Node has no flock(2), so a child holds it (flock(1) of util-linux) until its input ends,
 * which also happens when this process dies.
 */
async function lockFile(path: string): Promise<() => Promise<void>> {
  const child = spawn("flock", ["--exclusive", "--timeout", String(LOCK_SECONDS_MAX), path, "sh", "-c", "echo held; read -r _; true"], {
    stdio: ["pipe", "pipe", "ignore"],
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  child.stdin.on("error", () => undefined);
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("error", (cause) =>
      reject(new DrayError("NOT_SUPPORTED", 'Cannot run "flock": it is not installed', { cause, hint: "Install the package util-linux." })),
    );
    child.once("close", () => reject(csiError("ABORTED", `Cannot lock "${path}": another process has held it for ${LOCK_SECONDS_MAX} s`)));
  });
  return () => {
    child.stdin.end();
    return ended;
  };
}
