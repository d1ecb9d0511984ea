import { constants, copyFile } from "node:fs/promises";
import { isoTime } from "./bucket-operations.ts";
import type { ObjectInfo } from "./object-files.ts";
import { S3Error } from "./s3-error.ts";
import { xmlDocument } from "./s3-xml.ts";
import { keptHeaders, type Operation, parseEtags, putConditions, type StoreRequest, xmlAnswer } from "./store-request.ts";

export const putObject: Operation = async (request) => {
  const { store, bucket, key } = request;
  await store.files.checkBucket(bucket);
  if (request.headers["content-length"] === undefined && request.headers["x-amz-decoded-content-length"] === undefined) {
    throw new S3Error("MissingContentLength", "You must provide the Content-Length HTTP header.");
  }
  const body = await request.receive();
  const record = { etag: body.md5, headers: keptHeaders(request.headers), checksums: body.checksums };
  const info = await store.files.commit(bucket, key, body.path, record, putConditions(request));
  return { status: 200, headers: { etag: `"${info.etag}"`, ...body.checksums } };
};

export const getObject: Operation = async (request) => {
  const { file, info } = await request.store.files.read(request.bucket, request.key);
  try {
    checkReadConditions(request, info);
    const range = parseRange(request.headers["range"], info.size);
    const headers = { ...objectHeaders(request, info), ...responseOverrides(request) };
    if (range === undefined) return { status: 200, headers: { ...headers, "content-length": String(info.size) }, body: { file, offset: 0, length: info.size } };
    return {
      status: 206,
      headers: { ...headers, "content-length": String(range.length), "content-range": `bytes ${range.offset}-${range.offset + range.length - 1}/${info.size}` },
      body: { file, ...range },
    };
  } catch (error) {
    await file.close();
    throw error;
  }
};

export const headObject: Operation = async (request) => {
  const { body, ...answer } = await getObject(request);
  if (typeof body === "object") await body.file.close();
  return answer;
};

export const deleteObject: Operation = async ({ store, bucket, key }) => {
  await store.files.delete(bucket, key);
  return { status: 204 };
};

export const copyObject: Operation = async (request) => {
  const { store, bucket, key, headers } = request;
  await store.files.checkBucket(bucket);
  const [sourceBucket, sourceKey] = parseCopySource(headers["x-amz-copy-source"] ?? "");
  const replace = headers["x-amz-metadata-directive"]?.toUpperCase() === "REPLACE";
  if (sourceBucket === bucket && sourceKey === key && !replace) {
    throw new S3Error(
      "InvalidRequest",
      "This copy request is illegal because it is trying to copy an object to itself without changing the object's metadata.",
    );
  }
  const { file, info: source } = await store.files.read(sourceBucket, sourceKey);
  const incoming = store.files.incomingPath();
  try {
    // By its descriptor: the name may mean another object by now.
    await copyFile(`/proc/self/fd/${file.fd}`, incoming, constants.COPYFILE_FICLONE);
  } finally {
    await file.close();
  }
  const record = { etag: source.etag, headers: replace ? keptHeaders(headers) : source.headers, checksums: source.checksums };
  const info = await store.files.commit(bucket, key, incoming, record, putConditions(request));
  return xmlAnswer(
    xmlDocument([
      "CopyObjectResult",
      [
        ["LastModified", isoTime(info.modifiedMs)],
        ["ETag", `"${info.etag}"`],
      ],
    ]),
  );
};

function parseCopySource(header: string): readonly [bucket: string, key: string] {
  const [path = ""] = header.replace(/^\//, "").split("?");
  const slash = path.indexOf("/");
  if (slash < 1) throw new S3Error("InvalidArgument", "Copy Source must mention the source bucket and key: sourcebucket/sourcekey");
  try {
    return [decodeURIComponent(path.slice(0, slash)), decodeURIComponent(path.slice(slash + 1))];
  } catch {
    throw new S3Error("InvalidArgument", "Copy Source is not URL-encoded");
  }
}

function objectHeaders(request: StoreRequest, info: ObjectInfo): Record<string, string> {
  return {
    "content-type": "binary/octet-stream",
    ...info.headers,
    etag: `"${info.etag}"`,
    "last-modified": new Date(info.modifiedMs).toUTCString(),
    "accept-ranges": "bytes",
    ...(request.headers["x-amz-checksum-mode"]?.toUpperCase() === "ENABLED" && request.headers["range"] === undefined ? info.checksums : {}),
  };
}

/** `response-content-disposition=…` and its like in a signed address. */
function responseOverrides(request: StoreRequest): Record<string, string> {
  return Object.fromEntries(
    [...request.query].flatMap(([name, value]) => (/^response-(content-|cache-control$|expires$)/.test(name) ? [[name.slice("response-".length), value]] : [])),
  );
}

/** RFC 9110's order: the ETag conditions win over those of time. */
function checkReadConditions(request: StoreRequest, info: ObjectInfo): void {
  const { "if-match": match, "if-none-match": noneMatch, "if-modified-since": modifiedSince, "if-unmodified-since": unmodifiedSince } = request.headers;
  const names = (header: string): boolean => parseEtags(header).some((etag) => etag === "*" || etag === info.etag);
  const modifiedS = Math.floor(info.modifiedMs / 1000);
  const seconds = (header: string): number => Math.floor(Date.parse(header) / 1000);
  if (match !== undefined ? !names(match) : unmodifiedSince !== undefined && modifiedS > seconds(unmodifiedSince)) {
    throw new S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold");
  }
  if (noneMatch !== undefined ? names(noneMatch) : modifiedSince !== undefined && modifiedS <= seconds(modifiedSince)) {
    throw new S3Error("NotModified", "Not Modified", { etag: `"${info.etag}"` });
  }
}

/** A range as bytes of an object of this size; undefined for the whole. What is not one range of bytes is passed over, as RFC 9110 says. */
export function parseRange(header: string | undefined, size: number): { readonly offset: number; readonly length: number } | undefined {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? "");
  const [, from = "", to = ""] = match ?? [];
  if (match === null || (from === "" && to === "") || (from !== "" && to !== "" && Number(from) > Number(to))) return undefined;
  const offset = from === "" ? Math.max(0, size - Number(to)) : Number(from);
  const end = from === "" || to === "" ? size : Math.min(size, Number(to) + 1);
  if (offset >= size || end <= offset) throw new S3Error("InvalidRange", "The requested range is not satisfiable", { "content-range": `bytes */${size}` });
  return { offset, length: end - offset };
}
