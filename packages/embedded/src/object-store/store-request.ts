import type { FileHandle } from "node:fs/promises";
import type { MultipartFiles } from "./multipart-files.ts";
import type { ObjectFiles, PutConditions } from "./object-files.ts";
import type { ReceivedBody } from "./receive-body.ts";
import type { StoreFaults } from "./store-faults.ts";

/** The parts of the store that the operations work on. */
export interface Store {
  readonly files: ObjectFiles;
  readonly multipart: MultipartFiles;
  readonly faults: StoreFaults;
  readonly region: string;
}

/** A verified request. */
export interface StoreRequest {
  readonly store: Store;
  readonly bucket: string;
  readonly key: string;
  readonly query: ReadonlyMap<string, string>;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  /** The body, received and checked; the caller owns the file. */
  receive(): Promise<ReceivedBody>;
  /** The body as text, for the small documents of S3. */
  text(): Promise<string>;
}

export interface StoreAnswer {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | FileRange;
}

/** A part of an open file; whoever sends the answer closes it. */
export interface FileRange {
  readonly file: FileHandle;
  readonly offset: number;
  readonly length: number;
}

export type Operation = (request: StoreRequest) => Promise<StoreAnswer>;

export function xmlAnswer(body: string): StoreAnswer {
  return { status: 200, headers: { "content-type": "application/xml" }, body };
}

/** What `If-None-Match` and `If-Match` of a put ask for. */
export function putConditions(request: StoreRequest): PutConditions {
  if (request.store.faults.ignoreConditionalHeaders) return {};
  const match = request.headers["if-match"];
  return {
    ...(request.headers["if-none-match"]?.trim() === "*" ? { absent: true } : {}),
    ...(match === undefined ? {} : { etags: parseEtags(match) }),
  };
}

export function parseEtags(header: string): string[] {
  return header.split(",").map((etag) => etag.trim().replace(/^W\//, "").replace(/^"|"$/g, ""));
}

const KEPT_HEADERS = new Set(["content-type", "content-encoding", "content-disposition", "content-language", "cache-control", "expires"]);

/** The headers of a put that are given back with the object. `aws-chunked` is how it was sent, not what it is. */
export function keptHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  const kept = Object.entries(headers).filter(([name]) => KEPT_HEADERS.has(name) || name.startsWith("x-amz-meta-"));
  return Object.fromEntries(
    kept.flatMap(([name, value]) => {
      if (name !== "content-encoding") return [[name, value]];
      const encodings = value.split(",").map((item) => item.trim());
      const own = encodings.filter((item) => item !== "aws-chunked" && item !== "");
      return own.length === 0 ? [] : [[name, own.join(",")]];
    }),
  );
}
