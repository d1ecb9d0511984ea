/** What S3 keeps of an object beside its bytes, as a JSON file. It names the size and time of the file it is about; when they do not fit, the file was changed by hand and the record is made from it. */
import { createHash } from "node:crypto";
import { createReadStream, type Stats } from "node:fs";
import { mkdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";

export interface ObjectRecord {
  /** Without quotes. */
  readonly etag: string;
  /** Headers to give back: `content-type`, `content-encoding`, `x-amz-meta-…`. */
  readonly headers: Readonly<Record<string, string>>;
  /** `x-amz-checksum-…` to its value. */
  readonly checksums: Readonly<Record<string, string>>;
}

interface StoredRecord extends ObjectRecord {
  readonly size: number;
  readonly modifiedMs: number;
}

/** Writes the record about `data` to `path`, whole or not at all. */
export async function saveRecord(path: string, record: ObjectRecord, data: string, temporary: string): Promise<void> {
  const { size, mtimeMs } = await stat(data);
  const stored: StoredRecord = { ...record, size, modifiedMs: Math.round(mtimeMs) };
  await writeFile(temporary, JSON.stringify(stored), { mode: 0o600 });
  await mkdir(dirname(path), { recursive: true, mode: 0o700 });
  await rename(temporary, path);
}

export async function loadRecord(path: string, data: string, found: Stats): Promise<ObjectRecord> {
  try {
    const stored = JSON.parse(await readFile(path, "utf8")) as StoredRecord;
    if (stored.size === found.size && stored.modifiedMs === Math.round(found.mtimeMs))
      return { etag: stored.etag, headers: stored.headers, checksums: stored.checksums };
  } catch {
    // No record, or a torn one: the file itself says all that is needed.
  }
  const md5 = createHash("md5");
  for await (const chunk of createReadStream(data)) md5.update(chunk as Buffer);
  return { etag: md5.digest("hex"), headers: {}, checksums: {} };
}
