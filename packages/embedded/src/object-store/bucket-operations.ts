import { fromUtf8, utf8 } from "@drayage/base";
import type { ObjectInfo } from "./object-files.ts";
import { S3Error } from "./s3-error.ts";
import { childText, parseXml, type XmlNode, xmlDocument, xmlNodes } from "./s3-xml.ts";
import { uriEncode } from "./signature-v4.ts";
import { type Operation, type StoreAnswer, type StoreRequest, xmlAnswer } from "./store-request.ts";

const PAGE_MAX = 1000;
const OWNER: XmlNode = [
  "Owner",
  [
    ["ID", "drayage"],
    ["DisplayName", "drayage"],
  ],
];

export const listBuckets: Operation = async ({ store }) => {
  const buckets = (await store.files.buckets()).map(
    ({ name, createdMs }): XmlNode => [
      "Bucket",
      [
        ["Name", name],
        ["CreationDate", isoTime(createdMs)],
      ],
    ],
  );
  return xmlAnswer(xmlDocument(["ListAllMyBucketsResult", [OWNER, ["Buckets", buckets]]]));
};

export const createBucket: Operation = async (request) => {
  await request.text();
  await request.store.files.createBucket(request.bucket);
  return { status: 200, headers: { location: `/${request.bucket}` } };
};

export const headBucket: Operation = async ({ store, bucket }) => {
  await store.files.checkBucket(bucket);
  return { status: 200, headers: { "x-amz-bucket-region": store.region } };
};

export const deleteBucket: Operation = async ({ store, bucket }) => {
  await store.files.deleteBucket(bucket);
  return { status: 204 };
};

/** The region of old, us-east-1, has an empty name here. */
export const getBucketLocation: Operation = async ({ store, bucket }) => {
  await store.files.checkBucket(bucket);
  return xmlAnswer(xmlDocument(["LocationConstraint", store.region === "us-east-1" ? "" : store.region]));
};

/** Versioning has never been enabled on these buckets. */
export const getBucketVersioning: Operation = async ({ store, bucket }) => {
  await store.files.checkBucket(bucket);
  return xmlAnswer(xmlDocument(["VersioningConfiguration", ""]));
};

export const listObjectsV2: Operation = async (request) => {
  const { query } = request;
  const token = query.get("continuation-token");
  const startAfter = query.get("start-after") ?? "";
  const { page, maxKeys, text } = await listPage(request, token === undefined ? startAfter : decodeToken(token));
  return listAnswer(request, page, text, [
    ["KeyCount", page.objects.length + page.prefixes.length],
    ["MaxKeys", maxKeys],
    ...(token === undefined ? [] : [["ContinuationToken", token] as const]),
    ...(startAfter === "" ? [] : [["StartAfter", text(startAfter)] as const]),
    ...(page.nextAfter === undefined ? [] : [["NextContinuationToken", encodeToken(page.nextAfter)] as const]),
  ]);
};

export const listObjects: Operation = async (request) => {
  const marker = request.query.get("marker") ?? "";
  const { page, maxKeys, text } = await listPage(request, marker);
  return listAnswer(request, page, text, [
    ["Marker", text(marker)],
    ["MaxKeys", maxKeys],
    ...(page.nextAfter === undefined ? [] : [["NextMarker", text(page.nextAfter)] as const]),
  ]);
};

/** Deletes what can be deleted and says of each other key why not. */
export const deleteObjects: Operation = async (request) => {
  await request.store.files.checkBucket(request.bucket);
  const document = parseXml(await request.text());
  const keys = document.children.filter(({ name }) => name === "Object").map((object) => childText(object, "Key") ?? "");
  if (document.name !== "Delete" || keys.length === 0 || keys.length > PAGE_MAX || keys.includes("")) {
    throw new S3Error("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema");
  }
  const quiet = childText(document, "Quiet") === "true";
  const results: XmlNode[] = [];
  for (const key of keys) {
    try {
      await request.store.files.delete(request.bucket, key);
      if (!quiet) results.push(["Deleted", [["Key", key]]]);
    } catch (error) {
      results.push([
        "Error",
        [
          ["Key", key],
          ["Code", error instanceof S3Error ? error.code : "InternalError"],
          ["Message", String(error)],
        ],
      ]);
    }
  }
  return xmlAnswer(xmlDocument(["DeleteResult", results]));
};

type Page = Awaited<ReturnType<StoreRequest["store"]["files"]["list"]>>;

async function listPage(request: StoreRequest, after: string): Promise<{ page: Page; maxKeys: number; text: (value: string) => string }> {
  const { query, bucket, store } = request;
  const asked = query.get("max-keys") ?? String(PAGE_MAX);
  if (!/^\d{1,9}$/.test(asked)) throw new S3Error("InvalidArgument", "Provided max-keys not an integer or within integer range");
  const maxKeys = Math.min(Number(asked), PAGE_MAX);
  const encoding = query.get("encoding-type");
  if (encoding !== undefined && encoding !== "url") throw new S3Error("InvalidArgument", "Invalid Encoding Method specified in Request");
  const options = { prefix: query.get("prefix") ?? "", delimiter: query.get("delimiter") ?? "", after };
  // Nothing at all may be asked for; then there is nothing more either.
  const page = maxKeys === 0 ? { objects: [], prefixes: [], nextAfter: undefined } : await store.files.list(bucket, options, maxKeys);
  return { page, maxKeys, text: (value) => (encoding === "url" ? uriEncode(value, false) : value) };
}

function listAnswer(request: StoreRequest, page: Page, text: (value: string) => string, own: readonly XmlNode[]): StoreAnswer {
  const { query, bucket } = request;
  const delimiter = query.get("delimiter");
  const encoding = query.get("encoding-type");
  return xmlAnswer(
    xmlDocument([
      "ListBucketResult",
      xmlNodes(
        ["Name", bucket],
        ["Prefix", text(query.get("prefix") ?? "")],
        delimiter === undefined ? undefined : ["Delimiter", text(delimiter)],
        encoding === undefined ? undefined : ["EncodingType", encoding],
        ...own,
        ["IsTruncated", page.nextAfter !== undefined],
        ...page.objects.map((info): XmlNode => ["Contents", objectNodes(info, text)]),
        ...page.prefixes.map((prefix): XmlNode => ["CommonPrefixes", [["Prefix", text(prefix)]]]),
      ),
    ]),
  );
}

function objectNodes(info: ObjectInfo, text: (value: string) => string): readonly XmlNode[] {
  return [
    ["Key", text(info.key)],
    ["LastModified", isoTime(info.modifiedMs)],
    ["ETag", `"${info.etag}"`],
    ["Size", info.size],
    ["StorageClass", "STANDARD"],
  ];
}

/** Opaque to clients, so that nobody builds one. */
function encodeToken(after: string): string {
  return Buffer.from(utf8(after)).toString("base64url");
}

function decodeToken(token: string): string {
  if (!/^[A-Za-z0-9_-]+$/.test(token)) throw new S3Error("InvalidArgument", "The continuation token provided is incorrect");
  return fromUtf8(Buffer.from(token, "base64url"));
}

/** Whole seconds, as in the Last-Modified of the object itself: the two must agree. */
export function isoTime(ms: number): string {
  return new Date(Math.floor(ms / 1000) * 1000).toISOString();
}
