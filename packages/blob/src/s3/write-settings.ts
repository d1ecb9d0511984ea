/** What requests on objects carry beside key and body: encryption, class, tags, owner. In one place, so that no kind of request forgets one. */
import { createHash } from "node:crypto";
import type * as Sdk from "@aws-sdk/client-s3";
import type { S3Options } from "./s3-options.ts";

type OwnerSetting = Pick<Sdk.GetObjectCommandInput, "ExpectedBucketOwner">;
export type ReadSettings = OwnerSetting & Pick<Sdk.GetObjectCommandInput, "SSECustomerAlgorithm" | "SSECustomerKey" | "SSECustomerKeyMD5">;
export type WriteSettings = ReadSettings &
  Pick<Sdk.PutObjectCommandInput, "ServerSideEncryption" | "SSEKMSKeyId" | "StorageClass" | "Tagging" | "ChecksumAlgorithm">;

/** Of every request on the bucket. */
export function ownerSetting({ expectedBucketOwner }: S3Options): OwnerSetting {
  return expectedBucketOwner === undefined ? {} : { ExpectedBucketOwner: expectedBucketOwner };
}

/** Of requests that read an object, and of the parts of an upload. */
export function readSettings(options: S3Options): ReadSettings {
  const { customerKey } = options;
  if (customerKey === undefined) return ownerSetting(options);
  return {
    ...ownerSetting(options),
    SSECustomerAlgorithm: "AES256",
    SSECustomerKey: Buffer.from(customerKey).toString("base64"),
    SSECustomerKeyMD5: createHash("md5").update(customerKey).digest("base64"),
  };
}

/** Of requests that make an object. */
export function writeSettings(options: S3Options): WriteSettings {
  const { serverSideEncryption, kmsKeyId, storageClass, tagging, checksumAlgorithm } = options;
  const encryption = kmsKeyId !== undefined ? (serverSideEncryption ?? "aws:kms") : serverSideEncryption;
  return {
    ...readSettings(options),
    ...(encryption === undefined ? {} : { ServerSideEncryption: encryption }),
    ...(kmsKeyId === undefined ? {} : { SSEKMSKeyId: kmsKeyId }),
    ...(storageClass === undefined ? {} : { StorageClass: storageClass }),
    ...(tagging === undefined ? {} : { Tagging: tagging }),
    ...(checksumAlgorithm === undefined || checksumAlgorithm === "" ? {} : { ChecksumAlgorithm: checksumAlgorithm }),
  };
}
