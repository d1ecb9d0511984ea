/**
 * Buckets and objects as folders and files, so that a person can look at them and a kill at any moment loses nothing that was answered:
 *
 *   DIR/BUCKET/…                          the data, one file an object (`key-path.ts`)
 *   DIR/.store/objects/BUCKET/…           what S3 keeps beside the data, as JSON (`object-record.ts`)
 *   DIR/.store/uploads/BUCKET/ID/…        multipart uploads (`multipart-files.ts`)
 *   DIR/.store/incoming/…                 bodies being received; emptied at the start
 *
 * Invariants: an object's file appears by a rename of a complete file; all changes to the names of one bucket, and each look-up, run one at a time under its lock,
 * which is what makes conditional puts decide a race; the folder of data is the truth, and a record that does not match its file is made again from it.
 */
import { type FileHandle, mkdir, open, readdir, rename, rm, rmdir, stat, unlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type Clock, mapLimit, type RandomSource, randomHex, Semaphore } from "@drayage/base";
import { besideFolder, keyPath } from "./key-path.ts";
import { loadRecord, type ObjectRecord, saveRecord } from "./object-record.ts";
import { S3Error } from "./s3-error.ts";
import { type WalkOptions, walkKeys } from "./walk-keys.ts";

export interface ObjectInfo extends ObjectRecord {
  readonly key: string;
  readonly size: number;
  readonly modifiedMs: number;
}

/** What must hold of the object in place for a put to take effect. */
export interface PutConditions {
  /** `If-None-Match: *`. */
  readonly absent?: boolean;
  /** `If-Match`: one of these ETags. */
  readonly etags?: readonly string[];
}

export interface ObjectPage {
  readonly objects: readonly ObjectInfo[];
  readonly prefixes: readonly string[];
  /** The last entry of this page when there are more. */
  readonly nextAfter: string | undefined;
}

const STORE = ".store";
const RECORD_SUFFIX = "%r";
const KEY_BYTES_MAX = 1024;
const RECORDS_AT_ONCE = 16;

export class ObjectFiles {
  readonly #directory: string;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  readonly #locks = new Map<string, Semaphore>();

  private constructor(directory: string, clock: Clock, random: RandomSource) {
    this.#directory = directory;
    this.#clock = clock;
    this.#random = random;
  }

  static async open(directory: string, clock: Clock, random: RandomSource): Promise<ObjectFiles> {
    const files = new ObjectFiles(directory, clock, random);
    await rm(join(directory, STORE, "incoming"), { recursive: true, force: true });
    await mkdir(join(directory, STORE, "incoming"), { recursive: true, mode: 0o700 });
    return files;
  }

  // Buckets

  async buckets(): Promise<{ readonly name: string; readonly createdMs: number }[]> {
    const entries = await readdir(this.#directory, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isDirectory() && isBucketName(entry.name)).map((entry) => entry.name);
    return await mapLimit(names.sort(), RECORDS_AT_ONCE, async (name) => ({
      name,
      createdMs: Math.round((await stat(join(this.#directory, name))).birthtimeMs),
    }));
  }

  /** Throws InvalidBucketName, BucketAlreadyOwnedByYou. */
  async createBucket(bucket: string): Promise<void> {
    if (!isBucketName(bucket)) throw new S3Error("InvalidBucketName", "The specified bucket is not valid.");
    try {
      await mkdir(join(this.#directory, bucket), { mode: 0o700 });
    } catch (error) {
      if ((error as { code?: unknown }).code !== "EEXIST") throw error;
      throw new S3Error("BucketAlreadyOwnedByYou", "The bucket you tried to create already exists, and you own it.");
    }
  }

  /** Throws BucketNotEmpty. */
  async deleteBucket(bucket: string): Promise<void> {
    await this.checkBucket(bucket);
    await this.#locked(bucket, async () => {
      const page = await this.#page(bucket, { prefix: "", delimiter: "", after: "" }, 1);
      if (page.objects.length > 0) throw new S3Error("BucketNotEmpty", "The bucket you tried to delete is not empty.");
      for (const folder of [join(this.#directory, bucket), this.#records(bucket), this.uploadsFolder(bucket)])
        await rm(folder, { recursive: true, force: true });
    });
  }

  /** Throws NoSuchBucket. */
  async checkBucket(bucket: string): Promise<void> {
    const found = isBucketName(bucket) ? await stat(join(this.#directory, bucket)).catch(() => undefined) : undefined;
    if (found?.isDirectory() !== true) throw new S3Error("NoSuchBucket", "The specified bucket does not exist");
  }

  // Objects

  /** A fresh path for a body that is being received. */
  incomingPath(): string {
    return join(this.#directory, STORE, "incoming", randomHex(this.#random, 12));
  }

  uploadsFolder(bucket: string): string {
    return join(this.#directory, STORE, "uploads", bucket);
  }

  /** Makes a received file the object. Throws PreconditionFailed, NoSuchKey (for If-Match of nothing); the file is gone afterwards in any case. */
  async commit(bucket: string, key: string, incoming: string, record: ObjectRecord, conditions: PutConditions = {}): Promise<ObjectInfo> {
    try {
      if (Buffer.byteLength(key) > KEY_BYTES_MAX) throw new S3Error("KeyTooLongError", "Your key is too long");
      return await this.#locked(bucket, async () => {
        await this.checkBucket(bucket);
        const present = await this.#find(bucket, key);
        if (conditions.absent === true || conditions.etags !== undefined) await this.#checkConditions(present, conditions);
        const path = present ?? (await this.#newPath(bucket, key));
        const modifiedMs = this.#clock.nowMs();
        await utimes(incoming, modifiedMs / 1000, modifiedMs / 1000);
        await saveRecord(path.record, record, incoming, this.incomingPath());
        await rename(incoming, path.data);
        return { ...record, key, size: (await stat(path.data)).size, modifiedMs };
      });
    } catch (error) {
      await unlink(incoming).catch(() => undefined);
      throw error;
    }
  }

  /** Throws NoSuchKey. */
  async info(bucket: string, key: string): Promise<ObjectInfo> {
    const { file, info } = await this.read(bucket, key);
    await file.close();
    return info;
  }

  /** The object as it is now, open for reading: what replaces it later does not change what is read. Throws NoSuchKey. */
  async read(bucket: string, key: string): Promise<{ readonly file: FileHandle; readonly info: ObjectInfo }> {
    await this.checkBucket(bucket);
    return await this.#locked(bucket, async () => {
      const path = await this.#find(bucket, key);
      if (path === undefined) throw new S3Error("NoSuchKey", "The specified key does not exist.");
      const file = await open(path.data, "r");
      const info = await this.#infoOf(key, path).catch(async (error: unknown) => {
        await file.close();
        throw error;
      });
      return { file, info };
    });
  }

  async delete(bucket: string, key: string): Promise<void> {
    await this.checkBucket(bucket);
    await this.#locked(bucket, async () => {
      const path = await this.#find(bucket, key);
      if (path === undefined) return;
      await unlink(path.data);
      await unlink(path.record).catch(() => undefined);
      await pruneFolders(dirname(path.data), join(this.#directory, bucket));
      await pruneFolders(dirname(path.record), this.#records(bucket));
    });
  }

  /** At most `max` keys and common prefixes together, in byte order, after `options.after`. */
  async list(bucket: string, options: WalkOptions, max: number): Promise<ObjectPage> {
    await this.checkBucket(bucket);
    return await this.#page(bucket, options, max);
  }

  async #page(bucket: string, options: WalkOptions, max: number): Promise<ObjectPage> {
    const keys: string[] = [];
    const prefixes: string[] = [];
    let last: string | undefined;
    let more = false;
    for await (const entry of walkKeys(join(this.#directory, bucket), options)) {
      if (keys.length + prefixes.length >= max) {
        more = true;
        break;
      }
      (entry.kind === "prefix" ? prefixes : keys).push(entry.text);
      last = entry.text;
    }
    const infos = await mapLimit(keys, RECORDS_AT_ONCE, async (key) => {
      const path = await this.#find(bucket, key);
      // Deleted between the walk and now: left out, as if the listing had come later.
      return path === undefined ? undefined : await this.#infoOf(key, path).catch(() => undefined);
    });
    return { objects: infos.filter((info) => info !== undefined), prefixes, nextAfter: more ? last : undefined };
  }

  async #infoOf(key: string, path: ObjectPath): Promise<ObjectInfo> {
    const found = await stat(path.data);
    return { ...(await loadRecord(path.record, path.data, found)), key, size: found.size, modifiedMs: Math.round(found.mtimeMs) };
  }

  async #checkConditions(present: ObjectPath | undefined, conditions: PutConditions): Promise<void> {
    const failed = new S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
    if (conditions.absent === true && present !== undefined) throw failed;
    if (conditions.etags === undefined) return;
    if (present === undefined) throw new S3Error("NoSuchKey", "The specified key does not exist.");
    const { etag } = await this.#infoOf("", present);
    if (!conditions.etags.includes("*") && !conditions.etags.includes(etag)) throw failed;
  }

  /** Where an object lies, or undefined when there is none of that key. */
  async #find(bucket: string, key: string): Promise<ObjectPath | undefined> {
    for (const path of this.#candidates(bucket, key)) {
      const found = await stat(path.data).catch(() => undefined);
      if (found?.isFile() === true) return path;
    }
    return undefined;
  }

  /** A place for an object that is not there yet: its folders are made, and an object that bears the name of one of them steps aside. */
  async #newPath(bucket: string, key: string): Promise<ObjectPath> {
    const folders = keyPath(key).slice(0, -1);
    for (let depth = 1; depth <= folders.length; depth++) {
      const path = join(this.#directory, bucket, ...folders.slice(0, depth));
      const found = await stat(path).catch(() => undefined);
      if (found?.isFile() === true) {
        await rename(path, besideFolder(path));
        const record = join(this.#records(bucket), ...folders.slice(0, depth));
        await rename(record + RECORD_SUFFIX, besideFolder(record) + RECORD_SUFFIX).catch(() => undefined);
      }
      if (found?.isDirectory() !== true) await mkdir(path, { mode: 0o700 });
    }
    const [plain, beside] = this.#candidates(bucket, key);
    await mkdir(dirname(plain.record), { recursive: true, mode: 0o700 });
    return (await stat(plain.data).catch(() => undefined)) === undefined ? plain : beside;
  }

  #candidates(bucket: string, key: string): readonly [plain: ObjectPath, beside: ObjectPath] {
    const parts = keyPath(key);
    const data = join(this.#directory, bucket, ...parts);
    const record = join(this.#records(bucket), ...parts);
    return [
      { data, record: record + RECORD_SUFFIX },
      { data: besideFolder(data), record: besideFolder(record) + RECORD_SUFFIX },
    ];
  }

  #records(bucket: string): string {
    return join(this.#directory, STORE, "objects", bucket);
  }

  async #locked<T>(bucket: string, work: () => Promise<T>): Promise<T> {
    const lock = this.#locks.get(bucket) ?? new Semaphore(1);
    this.#locks.set(bucket, lock);
    return await lock.run(work);
  }
}

interface ObjectPath {
  readonly data: string;
  readonly record: string;
}

/** A prefix without objects does not exist: empty folders go, up to the bucket's own. */
async function pruneFolders(folder: string, root: string): Promise<void> {
  for (let path = folder; path !== root && path.startsWith(root); path = dirname(path)) {
    try {
      await rmdir(path);
    } catch {
      return;
    }
  }
}

function isBucketName(name: string): boolean {
  return /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/.test(name) && !name.includes("..");
}
