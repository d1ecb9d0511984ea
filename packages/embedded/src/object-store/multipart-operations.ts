import { isoTime } from "./bucket-operations.ts";
import { S3Error } from "./s3-error.ts";
import { childText, parseXml, type XmlNode, xmlDocument, xmlNodes } from "./s3-xml.ts";
import { uriEncode } from "./signature-v4.ts";
import { keptHeaders, type Operation, putConditions, type StoreRequest, xmlAnswer } from "./store-request.ts";

const PAGE_MAX = 1000;

export const createMultipartUpload: Operation = async (request) => {
  const { store, bucket, key, headers } = request;
  const upload = await store.multipart.create(bucket, key, keptHeaders(headers));
  return xmlAnswer(
    xmlDocument([
      "InitiateMultipartUploadResult",
      [
        ["Bucket", bucket],
        ["Key", key],
        ["UploadId", upload.id],
      ],
    ]),
  );
};

export const uploadPart: Operation = async (request) => {
  const { store, bucket, key, query } = request;
  const upload = await store.multipart.find(bucket, key, query.get("uploadId") ?? "");
  const body = await request.receive();
  const part = await store.multipart.putPart(bucket, upload, Number(query.get("partNumber")), body);
  return { status: 200, headers: { etag: `"${part.etag}"`, ...part.checksums } };
};

export const completeMultipartUpload: Operation = async (request) => {
  const { store, bucket, key, query } = request;
  const upload = await store.multipart.find(bucket, key, query.get("uploadId") ?? "");
  const document = parseXml(await request.text());
  const parts = document.children
    .filter(({ name }) => name === "Part")
    .map((part) => ({ number: Number(childText(part, "PartNumber")), etag: (childText(part, "ETag") ?? "").replace(/^"|"$/g, "") }));
  const info = await store.multipart.complete(bucket, upload, parts, putConditions(request));
  const location = `/${bucket}/${uriEncode(key, false)}`;
  return xmlAnswer(
    xmlDocument([
      "CompleteMultipartUploadResult",
      [
        ["Location", location],
        ["Bucket", bucket],
        ["Key", key],
        ["ETag", `"${info.etag}"`],
      ],
    ]),
  );
};

export const abortMultipartUpload: Operation = async ({ store, bucket, key, query }) => {
  await store.multipart.abort(bucket, await store.multipart.find(bucket, key, query.get("uploadId") ?? ""));
  return { status: 204 };
};

export const listParts: Operation = async (request) => {
  const { store, bucket, key, query } = request;
  const upload = await store.multipart.find(bucket, key, query.get("uploadId") ?? "");
  const max = pageSize(query.get("max-parts"));
  const after = Number(query.get("part-number-marker") ?? 0);
  const parts = (await store.multipart.parts(bucket, upload)).filter((part) => part.number > after);
  const page = parts.slice(0, max);
  return xmlAnswer(
    xmlDocument([
      "ListPartsResult",
      xmlNodes(
        ["Bucket", bucket],
        ["Key", key],
        ["UploadId", upload.id],
        ["PartNumberMarker", after],
        parts.length > max ? ["NextPartNumberMarker", page.at(-1)?.number ?? 0] : undefined,
        ["MaxParts", max],
        ["IsTruncated", parts.length > max],
        ...page.map(
          (part): XmlNode => [
            "Part",
            [
              ["PartNumber", part.number],
              ["LastModified", isoTime(part.modifiedMs)],
              ["ETag", `"${part.etag}"`],
              ["Size", part.size],
            ],
          ],
        ),
      ),
    ]),
  );
};

export const listMultipartUploads: Operation = async (request: StoreRequest) => {
  const { store, bucket, query } = request;
  const prefix = query.get("prefix") ?? "";
  const max = pageSize(query.get("max-uploads"));
  const keyMarker = query.get("key-marker") ?? "";
  const idMarker = query.get("upload-id-marker") ?? "";
  const all = (await store.multipart.uploads(bucket)).filter(({ key }) => key.startsWith(prefix));
  // Without an upload's id the marker passes over all uploads of its key; with one it goes on behind that upload.
  const marked = idMarker === "" ? -1 : all.findIndex(({ key, id }) => key === keyMarker && id === idMarker);
  const left = marked >= 0 ? all.slice(marked + 1) : all.filter(({ key }) => Buffer.compare(Buffer.from(key), Buffer.from(keyMarker)) > 0);
  const page = left.slice(0, max);
  const last = page.at(-1);
  const more = left.length > max && last !== undefined;
  return xmlAnswer(
    xmlDocument([
      "ListMultipartUploadsResult",
      xmlNodes(
        ["Bucket", bucket],
        ["KeyMarker", keyMarker],
        ["UploadIdMarker", idMarker],
        more ? ["NextKeyMarker", last.key] : undefined,
        more ? ["NextUploadIdMarker", last.id] : undefined,
        ["MaxUploads", max],
        ["IsTruncated", more],
        ["Prefix", prefix],
        ...page.map(
          ({ key, id, initiatedMs }): XmlNode => [
            "Upload",
            [
              ["Key", key],
              ["UploadId", id],
              ["StorageClass", "STANDARD"],
              ["Initiated", isoTime(initiatedMs)],
            ],
          ],
        ),
      ),
    ]),
  );
};

function pageSize(text: string | undefined): number {
  if (text === undefined) return PAGE_MAX;
  if (!/^\d{1,9}$/.test(text)) throw new S3Error("InvalidArgument", "The page size is not an integer");
  return Math.min(Number(text), PAGE_MAX);
}
