/** The requests on objects that blob storage and object store share. */
import { DrayError, hasCode, randomHex, systemRandom } from "@drayage/base";
import type { GcsAnswer, GcsConnection } from "./gcs-connection.ts";

/** An object as the JSON interface describes it: the fields that are asked for. */
export interface GcsObject {
  readonly name?: string;
  /** Decimal. */
  readonly size?: string;
  readonly timeCreated?: string;
  readonly updated?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

const FIELDS = "name,size,timeCreated,updated,metadata";

/** Throws BLOB_NOT_FOUND. */
export function getObjectFacts(gcs: GcsConnection, name: string, action: string, signal: AbortSignal | undefined): Promise<GcsObject> {
  return gcs.json<GcsObject>({ method: "GET", path: gcs.objectPath(name), query: { fields: FIELDS } }, action, signal);
}

/** The object's bytes, or those of a range. Throws BLOB_NOT_FOUND, BLOB_INVALID_RANGE. */
export function openObject(gcs: GcsConnection, name: string, range: string | undefined, action: string, signal: AbortSignal | undefined): Promise<GcsAnswer> {
  return gcs.send(
    // Who takes gzip gets an object that is stored compressed as it is stored; the service would unpack it otherwise, to another length.
    { method: "GET", path: gcs.objectPath(name), query: { alt: "media" }, headers: { "accept-encoding": "gzip", ...(range === undefined ? {} : { range }) } },
    action,
    signal,
  );
}

export interface InsertOptions {
  readonly contentType: string;
  readonly ifAbsent?: boolean;
  readonly retention?: { readonly mode: "Locked"; readonly retainUntilTime: string };
}

/** Stores an object in one request: its description as JSON, then its bytes (multipart upload). Throws BLOB_ALREADY_EXISTS. */
export async function insertObject(
  gcs: GcsConnection,
  name: string,
  parts: readonly Uint8Array[],
  options: InsertOptions,
  action: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  // Random, since no data may hold it.
  const boundary = `drayage-${randomHex(systemRandom, 16)}`;
  const description = objectDescription(gcs, name, options);
  const head = Buffer.from(
    `--${boundary}\r\ncontent-type: application/json; charset=utf-8\r\n\r\n${JSON.stringify(description)}\r\n--${boundary}\r\ncontent-type: ${options.contentType}\r\n\r\n`,
  );
  const tail = Buffer.from(`\r\n--${boundary}--\r\n`);
  const body = [head, ...parts.filter((part) => part.length > 0), tail];
  await drained(
    gcs,
    await gcs.send(
      {
        method: "POST",
        path: `/upload/storage/v1/b/${encodeURIComponent(gcs.options.bucket)}/o`,
        query: { uploadType: "multipart", fields: "name", ...uploadQuery(gcs, options) },
        headers: { "content-type": `multipart/related; boundary=${boundary}`, "content-length": String(body.reduce((sum, part) => sum + part.length, 0)) },
        body,
        missing: "bucket",
      },
      action,
      signal,
    ),
    action,
    signal,
  );
}

/** What is not there counts as deleted. */
export async function deleteObject(gcs: GcsConnection, name: string, action: string, signal: AbortSignal | undefined): Promise<void> {
  try {
    await drained(gcs, await gcs.send({ method: "DELETE", path: gcs.objectPath(name) }, action, signal), action, signal);
  } catch (error) {
    if (!hasCode(error, "BLOB_NOT_FOUND")) throw error;
  }
}

/** The pages of a listing, in byte order of names. */
export async function* listObjects(
  gcs: GcsConnection,
  wanted: { readonly prefix: string; readonly delimiter?: string; readonly maxResults?: number },
  action: string,
  signal: AbortSignal | undefined,
): AsyncIterable<{ readonly items: readonly GcsObject[]; readonly prefixes: readonly string[] }> {
  let pageToken: string | undefined;
  do {
    const page: { readonly items?: readonly GcsObject[]; readonly prefixes?: readonly string[]; readonly nextPageToken?: string } = await gcs.json(
      {
        method: "GET",
        path: gcs.objectPath(),
        missing: "bucket",
        query: {
          prefix: wanted.prefix,
          delimiter: wanted.delimiter,
          maxResults: wanted.maxResults === undefined ? undefined : String(wanted.maxResults),
          pageToken,
          fields: `nextPageToken,prefixes,items(${FIELDS})`,
        },
      },
      action,
      signal,
    );
    yield { items: page.items ?? [], prefixes: page.prefixes ?? [] };
    pageToken = page.nextPageToken === "" ? undefined : page.nextPageToken;
  } while (pageToken !== undefined);
}

/** Stores a large object in steps of `chunk` bytes, a multiple of 256 KiB (resumable upload). What does not complete is forgotten by the service after a week. */
export async function insertInSteps(
  gcs: GcsConnection,
  name: string,
  source: { readonly size: number; readonly chunkBytes: number; read(offset: number, length: number): Promise<Uint8Array> },
  options: InsertOptions,
  action: string,
  signal: AbortSignal | undefined,
): Promise<void> {
  const started = await gcs.send(
    {
      method: "POST",
      path: `/upload/storage/v1/b/${encodeURIComponent(gcs.options.bucket)}/o`,
      query: { uploadType: "resumable", name, ...uploadQuery(gcs, options) },
      headers: { "content-type": "application/json; charset=utf-8", "x-upload-content-type": options.contentType },
      body: JSON.stringify(objectDescription(gcs, name, options)),
      missing: "bucket",
    },
    action,
    signal,
  );
  await drained(gcs, started, action, signal);
  const session = started.headers["location"];
  if (typeof session !== "string") throw new DrayError("BLOB_UNAVAILABLE", `${action}: the answer names no upload session`);
  // The session's address is the service's own word; a path of it is used, so that credentials go nowhere but to the endpoint.
  const { pathname, search } = new URL(session, gcs.endpoint);
  for (let offset = 0; offset < source.size; offset += source.chunkBytes) {
    const length = Math.min(source.chunkBytes, source.size - offset);
    const last = offset + length === source.size;
    const answer = await gcs.send(
      {
        method: "PUT",
        path: pathname + search,
        headers: { "content-range": `bytes ${offset}-${offset + length - 1}/${source.size}`, "content-type": options.contentType },
        body: await source.read(offset, length),
        accepted: last ? [] : [308],
      },
      action,
      signal,
    );
    await drained(gcs, answer, action, signal);
  }
}

function objectDescription(gcs: GcsConnection, name: string, { contentType, retention }: InsertOptions): object {
  const { storageClass } = gcs.options;
  return { name, contentType, ...(storageClass === undefined ? {} : { storageClass }), ...(retention === undefined ? {} : { retention }) };
}

function uploadQuery(gcs: GcsConnection, { ifAbsent }: InsertOptions): Record<string, string | undefined> {
  return { kmsKeyName: gcs.options.kmsKeyName, ifGenerationMatch: ifAbsent === true ? "0" : undefined };
}

/** Reads an answer that says nothing of use to its end, so that its connection serves the next request. */
async function drained(gcs: GcsConnection, answer: GcsAnswer, action: string, signal: AbortSignal | undefined): Promise<void> {
  await gcs.guard(action, signal, async () => {
    for await (const _chunk of answer.body);
  });
}
