/** Multipart uploads on disk: a folder an upload, with `upload.json` and for each part `00001.data` and `00001.json`. They survive a restart like everything else. */
import { createHash } from "node:crypto";
import { mkdir, open, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, type RandomSource, randomHex } from "@drayage/base";
import type { ObjectFiles, ObjectInfo, PutConditions } from "./object-files.ts";
import type { ReceivedBody } from "./receive-body.ts";
import { S3Error } from "./s3-error.ts";

export interface Upload {
  readonly id: string;
  readonly key: string;
  readonly initiatedMs: number;
  readonly headers: Readonly<Record<string, string>>;
}

export interface Part {
  readonly number: number;
  readonly etag: string;
  readonly size: number;
  readonly modifiedMs: number;
  readonly checksums: Readonly<Record<string, string>>;
}

const PART_NUMBER_MAX = 10_000;
const COPY_BYTES = 1 << 20;

export class MultipartFiles {
  readonly #files: ObjectFiles;
  readonly #clock: Clock;
  readonly #random: RandomSource;
  /** Parts but the last must have this many bytes. */
  readonly #partBytesMin: number;

  constructor(files: ObjectFiles, clock: Clock, random: RandomSource, partBytesMin: number) {
    this.#files = files;
    this.#clock = clock;
    this.#random = random;
    this.#partBytesMin = partBytesMin;
  }

  async create(bucket: string, key: string, headers: Readonly<Record<string, string>>): Promise<Upload> {
    await this.#files.checkBucket(bucket);
    const upload: Upload = { id: randomHex(this.#random, 16), key, initiatedMs: this.#clock.nowMs(), headers };
    const folder = join(this.#files.uploadsFolder(bucket), upload.id);
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await writeFile(join(folder, "upload.json"), JSON.stringify(upload), { mode: 0o600 });
    return upload;
  }

  /** Throws NoSuchUpload, also for an upload of another key. */
  async find(bucket: string, key: string, id: string): Promise<Upload> {
    const upload = /^[0-9a-f]{32}$/.test(id) ? await this.#load(bucket, id) : undefined;
    if (upload?.key !== key) {
      throw new S3Error("NoSuchUpload", "The specified upload does not exist. The upload ID may be invalid, or the upload may have been aborted or completed.");
    }
    return upload;
  }

  async putPart(bucket: string, upload: Upload, number: number, body: ReceivedBody): Promise<Part> {
    if (!Number.isInteger(number) || number < 1 || number > PART_NUMBER_MAX) {
      await rm(body.path, { force: true });
      throw new S3Error("InvalidArgument", `Part number must be an integer between 1 and ${PART_NUMBER_MAX}, inclusive`);
    }
    const part: Part = { number, etag: body.md5, size: body.size, modifiedMs: this.#clock.nowMs(), checksums: body.checksums };
    const base = join(this.#files.uploadsFolder(bucket), upload.id, partName(number));
    await rename(body.path, `${base}.data`);
    await writeFile(`${base}.json`, JSON.stringify(part), { mode: 0o600 });
    return part;
  }

  /** In the order of their numbers. */
  async parts(bucket: string, upload: Upload): Promise<Part[]> {
    const folder = join(this.#files.uploadsFolder(bucket), upload.id);
    const names = (await readdir(folder)).filter((name) => /^\d{5}\.json$/.test(name)).sort();
    const parts: Part[] = [];
    for (const name of names) parts.push(JSON.parse(await readFile(join(folder, name), "utf8")) as Part);
    return parts;
  }

  /** Of a bucket, by key and then by time. */
  async uploads(bucket: string): Promise<Upload[]> {
    await this.#files.checkBucket(bucket);
    const ids = await readdir(this.#files.uploadsFolder(bucket)).catch(() => []);
    const uploads: Upload[] = [];
    for (const id of ids) {
      const upload = await this.#load(bucket, id);
      if (upload !== undefined) uploads.push(upload);
    }
    return uploads.sort((a, b) => Buffer.compare(Buffer.from(a.key), Buffer.from(b.key)) || a.initiatedMs - b.initiatedMs);
  }

  /** Joins the named parts into the object. Throws InvalidPart, InvalidPartOrder, EntityTooSmall, PreconditionFailed; the upload stays then. */
  async complete(
    bucket: string,
    upload: Upload,
    wanted: readonly { readonly number: number; readonly etag: string }[],
    conditions: PutConditions,
  ): Promise<ObjectInfo> {
    if (wanted.length === 0) throw new S3Error("MalformedXML", "You must specify at least one part");
    const stored = new Map((await this.parts(bucket, upload)).map((part) => [part.number, part]));
    const parts = wanted.map(({ number, etag }, index) => {
      if (index > 0 && number <= (wanted[index - 1]?.number ?? 0)) throw new S3Error("InvalidPartOrder", "The list of parts was not in ascending order.");
      const part = stored.get(number);
      if (part === undefined || part.etag !== etag) throw new S3Error("InvalidPart", "One or more of the specified parts could not be found.");
      return part;
    });
    if (parts.slice(0, -1).some((part) => part.size < this.#partBytesMin)) {
      throw new S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size");
    }
    const incoming = this.#files.incomingPath();
    const target = await open(incoming, "wx", 0o600);
    try {
      for (const part of parts) await append(target, join(this.#files.uploadsFolder(bucket), upload.id, `${partName(part.number)}.data`));
    } finally {
      await target.close();
    }
    const md5s = createHash("md5");
    for (const part of parts) md5s.update(Buffer.from(part.etag, "hex"));
    const record = { etag: `${md5s.digest("hex")}-${parts.length}`, headers: upload.headers, checksums: {} };
    const info = await this.#files.commit(bucket, upload.key, incoming, record, conditions);
    await this.abort(bucket, upload);
    return info;
  }

  async abort(bucket: string, upload: Upload): Promise<void> {
    await rm(join(this.#files.uploadsFolder(bucket), upload.id), { recursive: true, force: true });
  }

  async #load(bucket: string, id: string): Promise<Upload | undefined> {
    const text = await readFile(join(this.#files.uploadsFolder(bucket), id, "upload.json"), "utf8").catch(() => undefined);
    return text === undefined ? undefined : (JSON.parse(text) as Upload);
  }
}

function partName(number: number): string {
  return number.toString().padStart(5, "0");
}

async function append(target: Awaited<ReturnType<typeof open>>, path: string): Promise<void> {
  const source = await open(path, "r");
  const buffer = new Uint8Array(COPY_BYTES);
  try {
    for (;;) {
      const { bytesRead } = await source.read(buffer, 0, buffer.length, null);
      if (bytesRead === 0) return;
      for (let at = 0; at < bytesRead; ) at += (await target.write(buffer, at, bytesRead - at)).bytesWritten;
    }
  } finally {
    await source.close();
  }
}
