import * as bucketOps from "./bucket-operations.ts";
import * as multipartOps from "./multipart-operations.ts";
import * as objectOps from "./object-operations.ts";
import { S3Error } from "./s3-error.ts";
import type { Operation } from "./store-request.ts";

/** An operation with S3's name of it, which is what faults and the log know it by. */
export interface Route {
  readonly name: string;
  readonly run: Operation;
}

/** Settings of buckets and objects that exist at S3 and not here: asking for one must not be taken for a listing or a read. */
const SETTINGS = new Set(
  [
    "accelerate",
    "acl",
    "analytics",
    "attributes",
    "cors",
    "encryption",
    "inventory",
    "legal-hold",
    "lifecycle",
    "logging",
    "metrics",
    "notification",
    "object-lock",
  ].concat([
    "ownershipControls",
    "policy",
    "policyStatus",
    "publicAccessBlock",
    "replication",
    "requestPayment",
    "restore",
    "retention",
    "select",
    "tagging",
    "torrent",
    "versionId",
    "versions",
    "website",
  ]),
);

/** Finds the operation of a request. Throws NotImplemented, MethodNotAllowed. */
export function routeOf(method: string, bucket: string, key: string, query: ReadonlyMap<string, string>, headers: Readonly<Record<string, string>>): Route {
  const setting = [...query.keys()].find((name) => SETTINGS.has(name));
  if (setting !== undefined) throw new S3Error("NotImplemented", `A header or query you provided implies functionality that is not implemented: ${setting}`);
  const route = bucket === "" ? serviceRoute(method) : key === "" ? bucketRoute(method, query) : objectRoute(method, query, headers);
  if (route === undefined) throw new S3Error("MethodNotAllowed", "The specified method is not allowed against this resource.");
  return route;
}

function serviceRoute(method: string): Route | undefined {
  return method === "GET" ? { name: "ListBuckets", run: bucketOps.listBuckets } : undefined;
}

function bucketRoute(method: string, query: ReadonlyMap<string, string>): Route | undefined {
  switch (method) {
    case "GET":
      if (query.has("location")) return { name: "GetBucketLocation", run: bucketOps.getBucketLocation };
      if (query.has("versioning")) return { name: "GetBucketVersioning", run: bucketOps.getBucketVersioning };
      if (query.has("uploads")) return { name: "ListMultipartUploads", run: multipartOps.listMultipartUploads };
      return query.get("list-type") === "2" ? { name: "ListObjectsV2", run: bucketOps.listObjectsV2 } : { name: "ListObjects", run: bucketOps.listObjects };
    case "HEAD":
      return { name: "HeadBucket", run: bucketOps.headBucket };
    case "PUT":
      return { name: "CreateBucket", run: bucketOps.createBucket };
    case "DELETE":
      return { name: "DeleteBucket", run: bucketOps.deleteBucket };
    case "POST":
      return query.has("delete") ? { name: "DeleteObjects", run: bucketOps.deleteObjects } : undefined;
    default:
      return undefined;
  }
}

function objectRoute(method: string, query: ReadonlyMap<string, string>, headers: Readonly<Record<string, string>>): Route | undefined {
  const upload = query.has("uploadId");
  const copy = headers["x-amz-copy-source"] !== undefined;
  switch (method) {
    case "GET":
      return upload ? { name: "ListParts", run: multipartOps.listParts } : { name: "GetObject", run: objectOps.getObject };
    case "HEAD":
      return { name: "HeadObject", run: objectOps.headObject };
    case "PUT":
      if (upload && copy) throw new S3Error("NotImplemented", "UploadPartCopy is not implemented");
      if (upload) return { name: "UploadPart", run: multipartOps.uploadPart };
      return copy ? { name: "CopyObject", run: objectOps.copyObject } : { name: "PutObject", run: objectOps.putObject };
    case "POST":
      if (query.has("uploads")) return { name: "CreateMultipartUpload", run: multipartOps.createMultipartUpload };
      return upload ? { name: "CompleteMultipartUpload", run: multipartOps.completeMultipartUpload } : undefined;
    case "DELETE":
      return upload ? { name: "AbortMultipartUpload", run: multipartOps.abortMultipartUpload } : { name: "DeleteObject", run: objectOps.deleteObject };
    default:
      return undefined;
  }
}
