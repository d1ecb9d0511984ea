/** What the Ceph drivers remember beside volumes and snapshots: copies under way, the keys of what is encrypted, and how often it was copied in full or shown in place. */
import { readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { DrayError, type RandomSource, randomHex } from "@drayage/base";

export interface CephRecord {
  readonly schema: 1;
  /** When the copy of a volume's name began, in milliseconds since 1970. */
  readonly clones: Readonly<Record<string, number>>;
  /** Digest of the token that opens a volume or a snapshot, by its id; what is not in it is not encrypted. */
  readonly keys: Readonly<Record<string, string>>;
  /** Volumes that were made from a snapshot since the cluster is there. */
  readonly fullClones: number;
  readonly shallowVolumes: number;
  /** Those of the latter that are there, by id: a volume may be asked for more than once. */
  readonly shown?: readonly string[];
}

const EMPTY: CephRecord = { schema: 1, clones: {}, keys: {}, fullClones: 0, shallowVolumes: 0 };
const FILE = "ceph.json";

/** One process writes it, the control plane's; nodes read it. Replaced by rename, so nobody sees half of it. */
export class CephRecordFile {
  readonly #folder: string;
  readonly #random: RandomSource;
  #last: Promise<unknown> = Promise.resolve();

  constructor(folder: string, random: RandomSource) {
    this.#folder = folder;
    this.#random = random;
  }

  /** Throws PATH_IO when it cannot be understood. */
  async load(): Promise<CephRecord> {
    const path = join(this.#folder, FILE);
    const text = await readFile(path, "utf8").catch((cause: NodeJS.ErrnoException) => {
      if (cause.code === "ENOENT") return undefined;
      throw new DrayError("PATH_IO", `Cannot read storage record "${path}": ${cause.message}`, { cause });
    });
    if (text === undefined) return EMPTY;
    try {
      const record = JSON.parse(text) as CephRecord;
      if (record.schema === 1 && typeof record.clones === "object" && typeof record.keys === "object") return record;
    } catch {
      // The same as a file of another making.
    }
    throw new DrayError("PATH_IO", `Cannot read storage record "${path}": it is not a record of schema 1`);
  }

  /** Changes are made one after the other. */
  async update(change: (record: CephRecord) => CephRecord): Promise<CephRecord> {
    const turn = this.#last.then(async () => {
      const next = change(await this.load());
      const path = join(this.#folder, FILE);
      const temporary = `${path}.${randomHex(this.#random, 6)}`;
      await writeFile(temporary, `${JSON.stringify(next, null, 1)}\n`, { mode: 0o600 });
      await rename(temporary, path);
      return next;
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }
}
